"""Rules whose silent step is linear: its matrix is read off the rule and raised to the number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from dynamics.events.parts import gap, parts
from dynamics.events.spread import ROUND, follow
from dynamics.rule import Rule
from dynamics.simulate.kernel import compiled


@cache
def linear_loop(rule: Rule) -> Callable[..., None]:
    advance, gradient = parts(rule, ("b",), ("momentum",))
    next_gap, heavy = gap(), "momentum" in rule.defaults

    def loop(steps, cells, table, tails, keys, streams, bound, evaluations, came, first, last):  # type: ignore[no-untyped-def]
        powers = np.empty((32, 4))
        for i in range(first, last):
            lr, l2, before, after, arrival, pull, target, sigma, log_silent = table[:9, i]
            momentum = table[9, i] if heavy else 0.0
            powers[0, 0], powers[0, 2] = advance(1.0, 0.0, 0.0, lr, l2, before, after, momentum)
            powers[0, 1], powers[0, 3] = advance(0.0, 1.0, 0.0, lr, l2, before, after, momentum)
            # What the gradient of an arrival adds that does not hang on the weight is no part of the matrix.
            to_w, to_b = advance(1.0, 0.0, pull, lr, l2, before, after, momentum)
            arriving = (to_w, powers[0, 1], 0.0, to_b, powers[0, 3], 0.0, 0.0, 0.0, 0.0)
            for k in range(1, 32):
                p, q, r, s = powers[k - 1]
                powers[k, 0], powers[k, 1], powers[k, 2], powers[k, 3] = (
                    p * p + q * r,
                    (p + s) * q,
                    (p + s) * r,
                    s * s + q * r,
                )
            w, b, left, number = cells[0, i], cells[1, i] if heavy else 0.0, steps, 0
            spread, reach = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), lr / (1 - momentum)
            size = (1.0, 1 / max(reach, 1e-100), 1.0)
            while True:
                quiet, z = next_gap(number, keys[i], streams[i], log_silent)
                n = left if quiet >= left else int(quiet)
                left -= n
                p, q, r, s = 1.0, 0.0, 0.0, 1.0
                bit, rest = 0, n
                while rest:
                    if rest & 1:
                        c, d, e, f = powers[bit, 0], powers[bit, 1], powers[bit, 2], powers[bit, 3]
                        p, q, r, s = c * p + d * r, c * q + d * s, e * p + f * r, e * q + f * s
                    rest >>= 1
                    bit += 1
                # A rounding error shrinks or grows on the way as what it is a part of.
                off_w, off_b = n * ROUND * (abs(p * w) + abs(q * b)), n * ROUND * (abs(r * w) + abs(s * b))
                w, b = p * w + q * b, r * w + s * b
                if n:
                    silent = (p, q, 0.0, r, s, 0.0, 0.0, 0.0, 0.0)
                    spread = follow(spread, silent, (off_w, off_b if heavy else 0.0, 0.0), size)
                if left == 0:
                    break
                g = gradient(w, 0, -1.0, z, arrival, pull, target, sigma)
                off_w, off_b = ROUND * (abs(w) + reach * (abs(b) + abs(g))), ROUND * (abs(b) + l2 * abs(w) + abs(g))
                w, b = advance(w, b, g, lr, l2, before, after, momentum)
                spread = follow(spread, arriving, (off_w, off_b if heavy else 0.0, 0.0), size)
                left -= 1
                number += 1
            cells[0, i], bound[i] = w, math.sqrt(spread[0])
            if heavy:
                cells[1, i] = b
            evaluations[i], came[i] = number + 3, number

    return compiled(loop)
