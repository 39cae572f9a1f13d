"""Where a closed form holds: checked before it is computed, and said in one line where it does not."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from dynamics import given
from dynamics.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")
# Numbers in their order, at least one.
Series = ArrayLike
# Up to here every whole number is a float.
_EXACT = 2**53
# The steps that a form goes through one by one: a second or so, and 100 MB.
MOST = 5_000_000


def _some(name: str, value: Any) -> np.ndarray:
    found = given.array(name, value)
    if not found.size:
        raise InputError(f"{name} {given.shown(value)}: at least one number is accepted")
    return found


def _series(name: str, value: Any) -> np.ndarray:
    found = _some(name, value)
    if found.ndim != 1:
        raise InputError(f"{name} {given.shown(value)}: a sequence of numbers is accepted")
    return found


# What an argument of a form must be, by its annotation.
_KINDS: dict[str, Callable[[str, Any], Any]] = {
    "float": given.number,
    "int": functools.partial(given.whole, high=_EXACT),
    "int | None": lambda name, value: value if value is None else given.whole(name, value, high=_EXACT),
    "bool": given.flag,
    "str": given.text,
    "ArrayLike": _some,
    "Series": _series,
}


def form(function: Callable[P, T]) -> Callable[P, T]:
    """The closed form with a check before it: each argument is what its annotation says, and floats hold what comes out."""
    signature = inspect.signature(function)
    kinds = {name: _KINDS[parameter.annotation] for name, parameter in signature.parameters.items()}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            bound.arguments[name] = kinds[name](name, value)
        try:
            with np.errstate(over="raise", divide="raise", invalid="raise"):
                return function(*bound.args, **bound.kwargs)
        except ArithmeticError:
            shown = given.shown(dict(bound.arguments))
            raise InputError(
                f"{function.__name__} of {shown}: values whose result a float holds are accepted"
            ) from None

    return checked


def require(name: str, value: ArrayLike, ok: ArrayLike, accepted: str) -> None:
    """InputError naming the first of `value` for which `ok` is false; `accepted` says in words what would do."""
    values, fine = np.broadcast_arrays(np.asarray(value, dtype=np.float64), ok)
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
