"""Checks of what a user gave, one line each: what comes back has the type that is wanted, or it is an InputError."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dynamics.errors import InputError, on_one_line

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
# What Linux and macOS take: bytes of a name, and of a path with the end mark.
_NAME, _PATH = 255, 4_095


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, and not longer than a line."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # anybody's class, or a whole number too long to write
        text = f"{type(value).__name__} ({type(error).__name__})"
    return text if len(text) <= 80 else f"{text[:80]}..."


def whole(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """`value` as a whole number of Python, from `low` to `high`, both included; True and 2.0 are none.

    Raises InputError, naming it, for anything else.

    Example:
        >>> whole("epochs", 3, 1)
        3
        >>> whole("epochs", 1.5, 1)
        Traceback (most recent call last):
        ...
        dynamics.errors.InputError: epochs 1.5: a whole number from 1 is accepted
    """
    fits = isinstance(value, Integral) and not isinstance(value, bool)
    if not fits or (low is not None and value < low) or (high is not None and value > high):
        raise InputError(f"{name} {shown(value)}: a whole number{_range(low, high)} is accepted")
    return int(value)


def number(name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """`value` as a finite number, from `low` to `high`, both included; a tensor or array of one number is none.

    Raises InputError, naming it, for anything else.
    """
    fits = isinstance(value, Real) and not isinstance(value, bool)
    try:
        found = float(value) if fits else math.nan
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or (low is not None and found < low) or (high is not None and found > high):
        raise InputError(f"{name} {shown(value)}: a finite number{_range(low, high)} is accepted")
    return found


def flag(name: str, value: Any) -> bool:
    """`value`, True or False. Raises InputError, naming it, for anything else."""
    if not isinstance(value, bool):
        raise InputError(f"{name} {shown(value)}: True or False is accepted")
    return value


def text(name: str, value: Any) -> str:
    """`value`, a text. Raises InputError, naming it, for anything else."""
    if not isinstance(value, str):
        raise InputError(f"{name} {shown(value)}: a text is accepted")
    return value


def among(name: str, value: Any, accepted: Sequence[str]) -> str:
    """`value`, one of the texts `accepted`. Raises InputError, naming it and them, for anything else."""
    if not isinstance(value, str) or value not in accepted:
        raise InputError(f"{name} {shown(value)} is unknown: accepted are {', '.join(accepted)}")
    return value


def kind(name: str, value: Any, wanted: type[T] | tuple[type[T], ...], words: str) -> T:
    """`value`, an object of class `wanted`, which `words` say. Raises InputError, naming it, for anything else."""
    if not isinstance(value, wanted):
        raise InputError(f"{name} {shown(value)}: {words} is accepted")
    return value


def function(name: str, value: Any) -> Callable[..., Any]:
    """`value`, something to call, but no class. Raises InputError, naming it, for anything else."""
    if not callable(value) or isinstance(value, type):
        raise InputError(f"{name} {shown(value)}: a function is accepted")
    called: Callable[..., Any] = value
    return called


def items(name: str, value: Any, words: str = "values") -> Sequence[Any]:
    """`value`, a sequence that is no text. Raises InputError, naming it, for anything else."""
    flat = getattr(value, "ndim", 0) == 1 and hasattr(value, "__array_interface__")
    if not flat and (not isinstance(value, Sequence) or isinstance(value, str | bytes)):
        raise InputError(f"{name} {shown(value)}: a sequence of {words} is accepted")
    found: Sequence[Any] = value
    return found


def several(name: str, value: Any, words: str = "a list of values") -> Iterable[Any]:
    """`value`, to be gone through: no text, no mapping, and no array or tensor without a dimension, which only seems to be.

    Raises InputError, naming it, for anything else.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0:
        raise InputError(f"{name} {shown(value)}: {words} is accepted")
    return value


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A copy of `value`, a mapping whose keys are texts. Raises InputError, naming it, for anything else."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{name} {shown(value)}: a mapping from names is accepted")
    return dict(value)


def array(name: str, value: Any) -> np.ndarray:
    """`value`, a number or an array of any shape, as float64; texts, True, None and complex numbers are none.

    Raises InputError, naming it, for anything else. NaN and infinity come through.
    """
    import numpy as np  # what `undertow --help` needs not wait for

    try:
        found = np.asarray(value)
        truths = isinstance(value, list | tuple) and any(isinstance(x, bool) for x in value)
        kinds = "iufb" if found is value and found.ndim else "iuf"  # an array of True and False means 1 and 0
        fits = (not truths and found.dtype.kind in kinds) or (found.size == 0 and found.dtype.kind != "U")
    except Exception:  # of parts that make no array, or whatever another's class raises
        fits = False
    if not fits:
        raise InputError(f"{name} {shown(value)}: a number or an array of numbers is accepted")
    return found.astype(np.float64)


def path(name: str, value: Any) -> Path:
    """`value`, a text or a path, as a Path that a file system can hold. Raises InputError, naming it, for anything else."""
    try:
        found = os.fspath(value)
        size = len(os.fsencode(found)) if isinstance(found, str) and found and "\0" not in found else 0
        fits = 0 < size <= _PATH and all(len(os.fsencode(part)) <= _NAME for part in found.split(os.sep))
    except (TypeError, UnicodeEncodeError):
        fits = False
    if not fits:
        raise InputError(f"{name} {shown(value)}: a path is accepted")
    return Path(found)


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f" up to {high:,}"
    return f" from {low}" if high is None else f" from {low} to {high:,}"


def line(value: Any) -> str:
    """A path or a text as a message shows it: on one line, and not longer than a few."""
    said = on_one_line(str(value)) if isinstance(value, str | os.PathLike) else shown(value)
    return said if len(said) <= 300 else f"{said[:300]}..."


def file(value: Any, accepted: str) -> Path:
    """`value` as the path of a file that can be read; a folder, a pipe or a device is none. Nothing is opened.

    Raises InputError, naming it and saying what is accepted, for anything else.
    """
    try:
        path = Path(value)
        mode = path.stat().st_mode
        reason = "" if os.access(path, os.R_OK) else os.strerror(errno.EACCES)
    except (OSError, TypeError, ValueError) as error:  # ValueError: a zero byte in the name
        raise InputError(
            f"{line(value)} is no file or cannot be read ({getattr(error, 'strerror', None) or error}): {accepted}"
        ) from None
    if not stat.S_ISREG(mode):
        reason = "it is a folder" if stat.S_ISDIR(mode) else "it is no file"
    if reason:
        raise InputError(f"{line(value)} is no file or cannot be read ({reason}): {accepted}")
    return path
