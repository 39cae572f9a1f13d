"""Where a closed form holds: checked before it is computed, and said in one line where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dynamics import given
from dynamics.errors import InputError


def require(name: str, value: ArrayLike, ok: ArrayLike, accepted: str) -> None:
    """InputError naming the first of `value` for which `ok` is false; `accepted` says in words what would do."""
    values, fine = np.broadcast_arrays(array(value, name), ok)
    if not fine.all():
        raise InputError(f"{name} {values[~fine].flat[0]}: {accepted}")


def _checked(fine: Callable[[Any], ArrayLike], accepted: str) -> Callable[..., None]:
    """A check of any number of values, given by their names: each a number, or an array, that is `fine` all over."""

    def check(**values: ArrayLike) -> None:
        for name, value in values.items():
            require(name, value, fine(array(value, name)), accepted)

    return check


positive = _checked(lambda v: (v > 0) & np.isfinite(v), "a positive finite number is accepted")
not_negative = _checked(lambda v: (v >= 0) & np.isfinite(v), "must be a finite number of at least 0")
finite = _checked(np.isfinite, "a finite number is accepted")
below_one = _checked(lambda v: (v >= 0) & (v < 1), "a number in [0, 1) is accepted")
probability = _checked(lambda v: (v > 0) & (v <= 1), "a number in (0, 1] is accepted")
counted = _checked(lambda v: (v >= 1) & (v == np.floor(v)), "must be a whole number of at least 1")


def array(value: ArrayLike, name: str = "value") -> Any:
    """`value` as float64: an array for an array, so that a formula gives back the shape it was asked in."""
    return given.array(name, value)
