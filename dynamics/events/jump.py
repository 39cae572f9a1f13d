"""One jump over silent steps under Adam or RMSprop: where it ends, its Jacobian and what it may be off by."""

from __future__ import annotations

import math

from dynamics.events.flow import TAIL, integrate, kick_of, slow, tail_sum
from dynamics.events.spread import ROUND
from dynamics.simulate.kernel import compiled


@compiled
def jump(n, x, lane, hyper, rules, ky, ku):  # type: ignore[no-untyped-def]
    """Up to n silent steps at once: (steps, evaluations, Jacobian, errors, sizes); none where the tolerance forbids."""
    no = (0.0, 0.0, 0.0)
    nothing = (*no, *no, *no)
    w, m, v, power1, power2 = x[0], x[1], x[2], x[3], x[4]
    lr, l2, before, after = lane[0], lane[1], lane[2], lane[3]
    beta1, beta2, eps = hyper
    keeps = (1 - before) * (1 - after)
    cost, y, error, error_v, kick, end, slow_m, q0 = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    slow_end, square, off_m = 0.0, (l2 * w) ** 2, 0.0
    if l2 == 0:
        done, to_v, factor = n, v * beta2**n, keeps**n
        share = 0.0
        if m != 0:
            if not keeps > 0:
                return 0, 0, nothing, no, no
            growth = -math.log(keeps)
            kick, error = tail_sum(v, power1, power2, 0.0, growth, rules, lr, beta1, beta2, eps)
            cost += 4
            error *= 2 * abs(m)  # a growth of up to half of 1 - beta1 doubles the largest sum
            if not error <= TAIL * (abs(w) + lr):
                return 0, cost, nothing, no, no
            kick *= 1 - after
            fast = beta1**n
            if fast > 1e-14:
                end = tail_sum(to_v, power1, power2 * beta2**n, 0.0, growth, rules, lr, beta1, beta2, eps)[0] * (
                    1 - after
                )
                cost += 4
        else:
            fast = 0.0
        at = w - kick * m
        to_w = at * factor + end * m * fast
        to_m = m * fast
        error *= abs(factor)
        spin = abs(m)
    else:
        root = math.sqrt(beta2)
        q0 = lr / (1 - power1) / (math.sqrt((root * v + (1 - root) * square) / (1 - root * power2)) + eps)
        x0 = slow(q0, l2, beta1)
        if x0 < 0:
            return 0, 1, nothing, no, no
        at, fast, extra, off, near = w, 0.0, 0.0, 0.0, 1.0
        spin = 0.0
        if beta1 > 0:
            slow_m = (1 - beta1) * l2 / (1 - x0 - beta1)
            spin = m - slow_m * w
            tail, rough = tail_sum(v, power1, power2, square, -2 * math.log1p(-x0), rules, lr, beta1, beta2, eps)
            cost += 4
            if tail == 0:
                return 0, cost, nothing, no, no
            ratio = beta1 / (1 - x0) ** 2
            # Where q changes on the way, the fast part turns too: by q to a power that is 1 but for the regularizer.
            near = tail * (1 - ratio) / ratio / q0 - 1
            to = (1 - beta1 - x0) ** 2 / ((1 - x0) ** 2 - beta1)
            to /= 1 - beta1 - 2 * x0 + q0 * (1 - beta1) * l2
            rough /= tail
            rough += near**2 * (abs(to - 1) + 3 * x0 / (1 - beta1))
            near = 1 + to * near
            kick = kick_of(q0, x0, beta1) * near
            at = w - kick * spin
            lam = beta1 / (1 - x0)
            gone = w - at
            # The weight is `gone` off its slow path at first: so v gets this much more from it.
            one, two = lam * (1 - x0), lam * lam
            extra = 2 * at * gone * (1 - one**n) / (1 - one) + gone * gone * (1 - two**n) / (1 - two)
            extra *= (1 - beta2) * l2 * l2
            feeds = abs(extra) / (v + 1e-100)
            error = abs(kick * spin) * (rough + feeds)
            off = feeds * -math.log(beta2) / (1 - lam)
            if not error <= TAIL * (abs(at) + lr) or not v + extra > 0:
                return 0, cost, nothing, no, no
        done, y, to_v, x_last, q_last, behind, error_y, error_v, more = integrate(
            n, v + extra, power1, power2, (l2 * at) ** 2, lr, l2, beta1, beta2, eps, ky, ku
        )
        cost += more
        if done == 0:
            return 0, cost, nothing, no, no
        error_y += 5 * (behind * (1 - beta1)) ** 2 * done + power1 * abs(y)
        factor = math.exp(y)
        error_v += off
        fast = beta1**done / factor if beta1 > 0 else 0.0
        slow_end = (1 - beta1) * l2 / (1 - x_last - beta1) if beta1 > 0 else 0.0
        to_w, to_m = at * factor, slow_end * at * factor
        if beta1 > 0:
            bent, kick_end = slow_m * kick_of(q0, x0, beta1), kick_of(q_last, x_last, beta1)
            flat, left = kick_end / (1 + kick_end * slow_end), spin * (1 + bent) * fast
            behind *= at * factor * (1 - beta1**done)
            if fast > 1e-10:
                # The tail's rest: as at the start, but not yet in the slow part.
                tail, more_rough = tail_sum(
                    *(to_v, power1, power2 * beta2**done, (l2 * at * factor) ** 2, -2 * math.log1p(-x_last)),
                    *(rules, lr, beta1, beta2, eps),
                )
                cost += 4
                ratio, changed = beta1 / (1 - x_last) ** 2, math.log(q_last / q0)
                left *= 1 + (bent + kick_end * slow_end) / 2 * changed
                end = flat * (1 + to * (tail * (1 - ratio) / ratio / q_last - 1))
                error += abs(left) * more_rough + abs(end * left) * (rough + feeds + bent * changed**2)
                to_m += slow_end * (end - flat) * left
            to_w += end * left + behind
            to_m += left + behind / flat
            off_m = abs(behind / flat) * 5 * abs(math.log(beta2)) / (1 - beta1)
            error += flat * off_m
        error = error * factor + abs(at * factor) * error_y
        share = 1 - beta2**done * v / to_v if to_v > 0 else 0.0
    # Derivatives of w, m, v at the end by those at the start.
    root = math.sqrt(v / (1 - power2)) if power2 < 1 else 0.0
    by_root = root / (root + eps) / (2 * v) if v > 0 else 0.0
    grown = factor * (1 - share * y / 2)
    w_w = grown * (1 + kick * slow_m)
    w_m = end * fast - grown * kick
    w_v = (factor * kick * spin - at * factor * y * (1 - share / 2)) * by_root
    v_at = 2 * share * to_v / at if at != 0 else 0.0
    kept = beta2**done
    jacobian = (
        *(w_w, w_m, w_v),
        *(slow_end * w_w - slow_m * fast, slow_end * w_m + fast, slow_end * w_v),
        *(v_at * (1 + kick * slow_m), -v_at * kick, kept),
    )
    off_w = error + ROUND * done * (max(abs(w), abs(to_w)) + abs(kick * spin))
    off_m += slow_end * off_w + ROUND * done * (abs(to_m) + abs(spin * fast))
    off_v = to_v * (error_v + ROUND * done)
    x[0], x[1], x[2], x[3], x[4] = to_w, to_m, to_v, power1 * beta1**done, power2 * kept
    size = (max(abs(w), abs(to_w)) + 1e-100, math.sqrt(to_v) + eps, to_v + 1e-100)
    return done, cost, jacobian, (off_w, off_m, off_v), size
