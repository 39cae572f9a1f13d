"""Counter-based random numbers: a pure function of seed, stream and step, whatever the block size or thread count.

Philox 2x32 with ten rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
The same code runs over NumPy arrays and inside the compiled kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.errors import InputError

MULTIPLIER = np.uint64(0xD256D193)
WEYL = np.uint64(0x9E3779B9)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(counter: Any, stream: Any, key: Any) -> Any:
    """Two independent 32-bit integers, held in uint64, for a counter (step, stream) under a key (seed)."""
    for _ in range(10):
        product = counter * MULTIPLIER
        counter = (product >> HALF) ^ key ^ stream
        stream = product & LOW
        key = (key + WEYL) & LOW
    return counter, stream


def uniforms(counter: Any, stream: Any, key: Any) -> Any:
    """Two independent uniform numbers in [0, 1), multiples of 2^-32."""
    first, second = philox(counter, stream, key)
    return first * 2.0**-32, second * 2.0**-32


def as_key(values: Any, lanes: int, what: str) -> np.ndarray:
    """Seeds or streams as a uint64 array of shape (lanes,), each in 32 bits; InputError if they do not fit."""
    array = np.broadcast_to(np.asarray(values), (lanes,))
    refused = array[(array < 0) | (array > 0xFFFFFFFF)] if array.dtype.kind in "iu" else array
    if refused.size:
        raise InputError(f"{what} {refused.flat[0]}: whole numbers from 0 to 2^32 - 1 are accepted")
    return np.ascontiguousarray(array, dtype=np.uint64)
