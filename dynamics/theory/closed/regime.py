"""Where a closed form holds: checked before it is computed, and said in one line where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dynamics.errors import InputError


def require(name: str, value: ArrayLike, ok: ArrayLike, accepted: str) -> None:
    """InputError naming the first of `value` for which `ok` is false; `accepted` says in words what would do."""
    values, fine = np.broadcast_arrays(np.asarray(value, dtype=np.float64), ok)
    if not fine.all():
        raise InputError(f"{name} {values[~fine].flat[0]}: {accepted}")


def positive(**given: ArrayLike) -> None:
    """Each a positive finite number, or an array of them."""
    for name, value in given.items():
        v = np.asarray(value, dtype=np.float64)
        require(name, v, (v > 0) & np.isfinite(v), "a positive finite number is accepted")


def not_negative(**given: ArrayLike) -> None:
    """Each a finite number >= 0, or an array of them."""
    for name, value in given.items():
        v = np.asarray(value, dtype=np.float64)
        require(name, v, (v >= 0) & np.isfinite(v), "must be a finite number of at least 0")


def finite(**given: ArrayLike) -> None:
    """Each a finite number, or an array of them."""
    for name, value in given.items():
        v = np.asarray(value, dtype=np.float64)
        require(name, v, np.isfinite(v), "a finite number is accepted")


def below_one(**given: ArrayLike) -> None:
    """Each a number in [0, 1), or an array of them."""
    for name, value in given.items():
        v = np.asarray(value, dtype=np.float64)
        require(name, v, (v >= 0) & (v < 1), "a number in [0, 1) is accepted")


def probability(**given: ArrayLike) -> None:
    """Each a number in (0, 1], or an array of them."""
    for name, value in given.items():
        v = np.asarray(value, dtype=np.float64)
        require(name, v, (v > 0) & (v <= 1), "a number in (0, 1] is accepted")


def array(value: ArrayLike) -> Any:
    """`value` as float64: an array for an array, so that a formula gives back the shape it was asked in."""
    return np.asarray(value, dtype=np.float64)
