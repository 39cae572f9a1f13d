"""What this processor cannot beat: the division and the square root of Adam, and nothing else of the work.

Adam needs one of each a weight and step, and in float64 both occupy the one divider for many cycles. The loop below keeps
its block of weights in the first-level cache and does them on one weight after another as vectors, which the compiler can,
since nothing depends on what was just computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from bench.agreement import Weights
from bench.work import Work

_BLOCK = 128


def divide_and_root(cores: int, case: Work) -> Callable[[], Weights]:
    """A run of as many divisions and roots as the case has weight-steps, a thread a core; what it returns means nothing."""
    times = -(-case.updates // (_BLOCK * cores))

    def run() -> Weights:
        with ThreadPoolExecutor(cores) as pool:
            return np.concatenate(list(pool.map(_loop, [times] * cores)))

    return run


@numba.njit(error_model="numpy", nogil=True)  # type: ignore[misc]
def _loop(times: int) -> Weights:
    w = np.empty(_BLOCK)
    m = np.ones(_BLOCK)
    v = np.ones(_BLOCK)
    for _ in range(times):
        for i in range(_BLOCK):
            w[i] = m[i] / (math.sqrt(v[i]) + 1e-8)
            v[i] += 1e-9
    return w
