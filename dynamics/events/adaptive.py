"""Adam and RMSprop from arrival to arrival: jumps over silence where they are smooth, steps of the rule elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from dynamics.events.flow import PIECE, SHORT
from dynamics.events.jump import jump
from dynamics.events.parts import gap, parts
from dynamics.events.spread import ROUND, follow
from dynamics.rule import Rule
from dynamics.simulate.kernel import compiled

# Adam's beta1^t from which on 1 - beta1^t is taken for constant over a gap.
_YOUNG = 1e-8
# Relative size of an error, of v or in the gradient, from which on first order is too little.
_PARTED = 0.1


@cache
def adaptive_loop(rule: Rule) -> Callable[..., None]:
    advance, gradient = parts(rule, ("m", "v", "power1", "power2"), ("beta1", "beta2", "eps"))
    next_gap, adam = gap(), "beta1" in rule.defaults

    def stepped(n, x, z, lane, hyper):  # type: ignore[no-untyped-def]
        """n steps by the rule: silent ones, or with z >= 0 the one of an arrival. Its Jacobian from three paths beside it."""
        w, m, v, power1, power2 = x[0], x[1], x[2], x[3], x[4]
        lr, l2, before, after, arrival, pull, target, sigma, _log = lane
        beta1, beta2, eps = hyper
        u = -1.0 if z >= 0 else 2.0
        apart_w = 1e-6 * abs(w) + 1e-100
        apart_v = 1e-6 * max(v, 1e-30)
        apart_m = 1e-6 * max(abs(m), abs(w) * (math.sqrt(v) + eps) / max(lr, 1e-100)) + 1e-100
        w0, m0, v0, w1, m1, v1, w2, m2, v2 = w + apart_w, m, v, w, m + apart_m, v, w, m, v + apart_v
        apart_w, apart_m, apart_v = w0 - w, m1 - m, v2 - v
        start, top = abs(w), v
        for _ in range(n):
            g = gradient(w, 0, u, z, arrival, pull, target, sigma)
            p, r = power1, power2
            w, m, v, power1, power2 = advance(w, m, v, p, r, g, lr, l2, before, after, beta1, beta2, eps)
            top = max(top, v)
            g = gradient(w0, 0, u, z, arrival, pull, target, sigma)
            w0, m0, v0, _a, _b = advance(w0, m0, v0, p, r, g, lr, l2, before, after, beta1, beta2, eps)
            g = gradient(w1, 0, u, z, arrival, pull, target, sigma)
            w1, m1, v1, _a, _b = advance(w1, m1, v1, p, r, g, lr, l2, before, after, beta1, beta2, eps)
            g = gradient(w2, 0, u, z, arrival, pull, target, sigma)
            w2, m2, v2, _a, _b = advance(w2, m2, v2, p, r, g, lr, l2, before, after, beta1, beta2, eps)
        by_w, by_m, by_v = 1 / apart_w, 1 / apart_m, 1 / apart_v
        jacobian = (
            *((w0 - w) * by_w, (w1 - w) * by_m, (w2 - w) * by_v),
            *((m0 - m) * by_w, (m1 - m) * by_m, (m2 - m) * by_v),
            *((v0 - v) * by_w, (v1 - v) * by_m, (v2 - v) * by_v),
        )
        x[0], x[1], x[2], x[3], x[4] = w, m, v, power1, power2
        size = (max(start, abs(w)) + 1e-100, math.sqrt(top) + eps, top + 1e-100)
        # The same operations on either way, but not on the same numbers.
        return jacobian, (n * ROUND * max(start, abs(w)), n * ROUND * abs(m), n * ROUND * v), size

    stepped = compiled(stepped)

    def loop(steps, cells, table, tails, keys, streams, bound, evaluations, came, first, last):  # type: ignore[no-untyped-def]
        ky, ku, x = np.empty(7), np.empty(7), np.empty(5)
        for i in range(first, last):
            lr, l2, before, after, arrival, pull, target, sigma, log_silent = table[:9, i]
            lane = (lr, l2, before, after, arrival, pull, target, sigma, log_silent)
            hyper = (table[9, i], table[10, i], table[11, i]) if adam else (0.0, table[9, i], table[10, i])
            x[0] = cells[0, i]
            if adam:
                x[1:] = cells[1:, i]
            else:
                x[1], x[2], x[3], x[4] = 0.0, cells[1, i], 0.0, 0.0
            left, number, cost, parted = steps, 0, 0, False
            spread = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            while True:
                quiet, z = next_gap(number, keys[i], streams[i], log_silent)
                n = left if quiet >= left else int(quiet)
                left -= n
                while n > 0:
                    done = 0
                    if (l2 == 0 and x[1] == 0) or (n > SHORT and x[3] < _YOUNG):
                        done, more, jacobian, add, size = jump(n, x, lane, hyper, tails[i], ky, ku)
                        cost += more
                    if done == 0:
                        done = min(n, PIECE)
                        jacobian, add, size = stepped(done, x, -1.0, lane, hyper)
                        cost += 4 * done
                    spread = follow(spread, jacobian, add, size)
                    n -= done
                    parted = parted or spread[0] == 0 < size[0] - 1e-100
                if left == 0:
                    break
                jacobian, add, size = stepped(1, x, z, lane, hyper)
                spread = follow(spread, jacobian, add, size)
                left -= 1
                number += 1
                cost += 4
                far = (pull + l2) ** 2 * spread[0] * (1 - hyper[1])
                parted = parted or not (spread[5] <= (_PARTED * x[2]) ** 2 and far <= _PARTED**2 * x[2])
            cells[0, i] = x[0]
            if adam:
                cells[1:, i] = x[1:]
            else:
                cells[1, i] = x[2]
            bound[i] = math.inf if parted else math.sqrt(spread[0])
            evaluations[i], came[i] = cost, number

    return compiled(loop)
