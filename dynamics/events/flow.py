"""A silent stretch under Adam or RMSprop: the momentum's tail as a sum, the slow rest as an integral."""

from __future__ import annotations

import math

import numpy as np

from dynamics.simulate.kernel import compiled

# Gaps up to here are stepped, and so is whatever cannot be jumped over, in pieces of PIECE steps.
SHORT, PIECE = 16, 32
# Error of an integration step relative to w and v, and of a tail relative to the weight and the learning rate.
_TOLERANCE, TAIL = 1e-6, 1e-6
# An embedded estimate may fall short of the error; this many times it is taken for it.
_SAFE = 4
# A tail's denominator is smooth if it changes by no more than this within 1 / (1 - beta1) steps.
_STEEP = 0.25
# While v changes by more than this a step, as from 0 on, the flow is not smooth.
_CHANGE = 0.04
# The slow rate may be at most this part of the fast one.
_SLOW = 0.06


def tail_rules(beta1: np.ndarray, beta2: np.ndarray) -> np.ndarray:
    """Quadratures of sum over j >= 1 of beta1^j f(j), (lanes, 4, 4): nodes, weights, weights without the last node,
    beta2^node.

    Gauss with four nodes: Golub and Welsch's eigenvalues of the recurrence of Meixner's polynomials.
    """
    k = np.arange(4.0)
    matrix = np.zeros((len(beta1), 4, 4))
    share = beta1[:, None]
    matrix[:, range(4), range(4)] = (k + (k + 1) * share) / (1 - share)
    matrix[:, range(1, 4), range(3)] = matrix[:, range(3), range(1, 4)] = k[1:] * np.sqrt(share) / (1 - share)
    nodes, vectors = np.linalg.eigh(matrix)
    total = (share / (1 - share))[:, 0]
    weights = total[:, None] * vectors[:, 0] ** 2
    lower = np.zeros_like(weights)
    # The three nodes get the moments 0 to 2, in units of the mean so that the equations are well scaled.
    scaled = nodes * (1 - share)
    powers = np.stack([scaled[:, :3] ** m for m in range(3)], axis=1)
    moments = np.stack([(weights * scaled**m).sum(axis=1) for m in range(3)], axis=1)
    some = beta1 > 0
    lower[some, :3] = np.linalg.solve(powers[some], moments[some][..., None])[..., 0]
    return np.stack([nodes + 1, weights, lower, beta2[:, None] ** (nodes + 1)], axis=1)


@compiled
def slow(q, l2, beta1):  # type: ignore[no-untyped-def]
    """Of m' = beta1 m + (1 - beta1) l2 w, w' = w - q m': x, the slow rate being 1 - x; -1 where it is not slow.

    x + the fast rate's distance from 1 is 1 - beta1 + sigma, their product sigma = q (1 - beta1) l2.
    """
    sigma = q * (1 - beta1) * l2
    both = 1 - beta1 + sigma
    if not sigma < _SLOW * (1 - beta1) * both:
        return -1.0
    return 2 * sigma / (both + math.sqrt(both * both - 4 * sigma))


@compiled
def kick_of(q, x, beta1):  # type: ignore[no-untyped-def]
    """What a unit of m off its slow value takes off w in the end: the slow part of (0, 1) in the eigenvectors."""
    return beta1 * q * (1 - x) / ((1 - x) ** 2 - beta1)


@compiled
def _flow(square, v, power2, lr, l2, beta1, speed, eps):  # type: ignore[no-untyped-def]
    """The slow flow: (d log w / dt, the l2^2 w^2 that v approaches, x, q, behind), x = -1 where it is not slow.

    square: l2^2 w^2; v, power2: half a step later, which is what turns the integral of a smooth function into the sum over
    its steps. lr: over 1 - power1. The slow direction turns as q changes: that adds to log w, and keeps the weight behind the
    slow path, by the part `behind` of it.
    """
    unbiased = 1 / (1 - power2)
    root = math.sqrt(v * unbiased)
    q = lr / (root + eps)
    gone = 1 - beta1
    sigma = q * gone * l2
    both = gone + sigma
    if not sigma < _SLOW * gone * both:
        return 0.0, 0.0, -1.0, q, 0.0
    x = 2 * sigma / (both + math.sqrt(both * both - 4 * sigma))
    rate = -x * (1 + x * (1 / 2 + x * (1 / 3 + x * (1 / 4 + x * (1 / 5 + x / 6)))))
    fed, behind = square * (1 + x * (1 + x * (1 + x * (1 + x)))), 0.0
    if beta1 > 0:
        keeps = (1 - x) * (1 - x)
        apart = 1 / (keeps - beta1)
        turn = speed / 2 * ((v - fed) / v + power2 * unbiased) * root * q / lr
        adds = beta1 * x * x * turn * apart / (gone - 2 * x + sigma)
        behind = -adds * keeps * apart
        rate += adds - behind * turn
        fed *= 1 + 2 * behind
    return rate, fed, x, q, behind


# Dormand, Prince 1980: a rule of order five, and the difference from one of order four.
_AT = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_FROM = (
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (1 / 5, 0.0, 0.0, 0.0, 0.0, 0.0),
    (3 / 40, 9 / 40, 0.0, 0.0, 0.0, 0.0),
    (44 / 45, -56 / 15, 32 / 9, 0.0, 0.0, 0.0),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0.0, 0.0),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0.0),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_OFF = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
_NODES, _MATRIX, _ERROR = np.array(_AT), np.array(_FROM), np.array(_OFF)


@compiled
def _between(x, fed, power2, speed):  # type: ignore[no-untyped-def]
    """What half a step leaves between the sum over steps and the integral, at an end of it: of y, of v relative to v, of y a y.

    fed: the l2^2 w^2 that v approaches, over v. The ends' terms are Euler and Maclaurin's, a 24th of the derivative.
    """
    turn = speed / 2 * (abs(1 - fed) + power2 / (1 - power2))
    return x * turn / 24, speed * (speed + 2 * x) * fed / 24, (x + speed) ** 2 * max(1.0, fed / 8) + turn * turn / 8


@compiled
def integrate(n, v, power1, power2, square, lr, l2, beta1, beta2, eps, ky, ku):  # type: ignore[no-untyped-def]
    """The slow flow over up to n steps, as far as it stays slow: (steps, y, v, x, q, behind, errors, cost).

    y: log of w over its start. Errors of y, and of v relative to it. v is carried as v beta2^-t, which changes by what w
    puts to it alone.
    """
    speed, half, lr = -math.log(beta2), math.sqrt(beta2), lr / (1 - power1)
    # Where v falls by more than this factor e^3, one step of the rule is not enough anyway.
    most = max(PIECE, int(3 / speed))
    done, y, cost, h = 0, 0.0, 0, n
    ky[0], fed, last_x, last_q, last_behind = _flow(
        square, v * half + (1 - half) * square, power2 * half, lr, l2, beta1, speed, eps
    )
    ku[0], last_fed = speed * fed, fed
    if last_x < 0 or v == 0 or not speed * max(fed / v, power2 / (1 - power2)) < _CHANGE:
        return 0, 0.0, v, last_x, last_q, last_behind, 0.0, 0.0, 1
    # Near the start of v or of its correction the flow is a root of time: no more than a few times its age at once.
    h = min(h, max(PIECE, int(2 / (speed * max(fed / v, power2 / (1 - power2)) + 1e-9))))
    error_y, error_v, fastest = _between(last_x, fed / v, power2, speed)
    while done < n:
        h = min(h, n - done, most)
        falls = x = q = behind = to_y = to_u = 0.0
        for k in range(1, 7):
            to_y, to_u = 0.0, 0.0
            for j in range(k):
                to_y += _MATRIX[k, j] * ky[j]
                to_u += _MATRIX[k, j] * ku[j]
            to_y, to_u = y + h * to_y, v + h * to_u
            if k < 6:  # the last two are at the same step
                falls = math.exp(-speed * _NODES[k] * h)
            now = square * math.exp(2 * to_y)
            there = falls * to_u * half + (1 - half) * now
            ky[k], fed, x, q, behind = _flow(now, there, power2 * falls * half, lr, l2, beta1, speed, eps)
            cost += 1
            if x < 0:
                break
            ku[k] = speed * fed / falls
        off_y, off_u = 0.0, 0.0
        for k in range(7):
            off_y += _ERROR[k] * ky[k]
            off_u += _ERROR[k] * ku[k]
        off_y, off_u = _SAFE * abs(h * off_y), _SAFE * abs(h * off_u / to_u)
        off = off_y + off_u
        if x < 0 or not off <= _TOLERANCE:
            h = max(h // 5, int(0.8 * h * (_TOLERANCE / off) ** 0.2)) if x >= 0 and off < 1 else h // 4
            if h < PIECE:
                break
            continue
        y, v, last_x, last_q, last_behind, last_fed = to_y, to_u * falls, x, q, behind, fed
        ky[0], ku[0] = ky[6], ku[6] * falls
        power2 *= falls
        done += h
        error_y += off_y
        error_v += off_u
        h = 4 * h
    off_y, off_v, faster = _between(last_x, last_fed / v, power2, speed)
    error_y += off_y + max(fastest, faster) * abs(y)
    return done, y, v, last_x, last_q, last_behind, error_y, error_v + off_v, cost + 1


@compiled
def tail_sum(v, power1, power2, square, growth, rules, lr, beta1, beta2, eps):  # type: ignore[no-untyped-def]
    """Sum over j >= 1 of beta1^j e^(growth j) q(j), q being lr over the denominator, and its error.

    Where q changes little within 1 / (1 - beta1) steps, the error is judged by what leaving out the last node changes, in units
    of what a rule of half the degree does, and by the slope: Gauss and Laguerre's remainder for e^(slope j) is
    (4!)^2 slope^8. Elsewhere it is the largest sum there can be.
    """
    rate = -math.log(beta2) / 2 * (max(1.0, square / v if v > 0 else math.inf) + power2 / (1 - power2)) + growth
    lr /= 1 - power1
    if not rate < _STEEP * (1 - beta1):
        return 0.0, lr / eps * beta1 / (1 - beta1) if growth < 0.5 * (1 - beta1) else math.inf
    four = three = first = third = 0.0
    for k in range(4):
        falls = rules[3, k]
        there = falls * v + (1 - falls) * square
        q = lr / (math.sqrt(there / (1 - power2 * falls)) + eps)
        if growth != 0:
            q *= math.exp(growth * rules[0, k])
        first, third = q if k == 0 else first, q if k == 2 else third
        four += rules[1, k] * q
        three += rules[2, k] * q
    slope = (third / first - 1) / 4
    return four, four * (10 * (1 - three / four) ** 2 + 600 * slope**8 + power1)
