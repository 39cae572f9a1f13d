"""What this processor cannot beat: the division and the square root of Adam, and nothing else of the work.

Adam needs one of each a weight and step, and in float64 both occupy the one divider for many cycles. The loop below keeps
its block of weights in the first-level cache and does them on one weight after another as vectors, which the compiler can,
since nothing depends on what was just computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import cast

import numpy as np

from bench.agreement import Weights
from bench.work import Work
from dynamics.simulate.kernel import compiled

_BLOCK = 128


def divide_and_root(cores: int, case: Work) -> Callable[[], Weights]:
    """A run of as many divisions and roots as the case has weight-steps, a thread a core; what it returns means nothing."""
    times = -(-case.updates // (_BLOCK * cores))

    def run() -> Weights:
        with ThreadPoolExecutor(cores) as pool:
            return np.concatenate(list(pool.map(_loop(), [times] * cores)))

    return run


def _divided(times: int) -> Weights:
    w = np.empty(_BLOCK)
    m = np.ones(_BLOCK)
    v = np.ones(_BLOCK)
    for _ in range(times):
        for i in range(_BLOCK):
            w[i] = m[i] / (math.sqrt(v[i]) + 1e-8)
            v[i] += 1e-9
    return w


@cache
def _loop() -> Callable[[int], Weights]:
    return cast(Callable[[int], Weights], compiled(_divided))
