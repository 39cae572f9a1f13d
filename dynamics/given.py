"""Checks of what a user gave, one line each: what comes back has the type that is wanted, or it is an InputError."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from dynamics.errors import InputError


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


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f" up to {high:,}"
    return f" from {low}" if high is None else f" from {low} to {high:,}"


def on_one_line(text: str) -> str:
    """A text with its line ends and other control characters written out, so that a path stays one line, and itself.

    Example:
        >>> on_one_line("a\\nb")
        'a\\\\nb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
