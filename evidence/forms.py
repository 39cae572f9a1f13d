"""The form of what is stored: looked at when a row is read, so that no reader meets another one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dynamics.given import shown

# As forms.
ABOVE = "a number above 0"
NUMBER = "a number, or NaN"
_DEEPEST = 30  # lists and objects in each other: the deepest that is stored has five
_LARGEST = 10**300  # of whole numbers: beyond it they are no floating-point numbers


def check_plain(name: str, value: Any, depth: int = 0) -> None:
    """ValueError for data that are nested deeper than anybody stores, and for whole numbers too large to calculate with."""
    if isinstance(value, list | dict):
        if depth == _DEEPEST:
            raise ValueError(f"{name} is nested more than {_DEEPEST} deep")
        for part in value.values() if isinstance(value, dict) else value:
            check_plain(name, part, depth + 1)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{name} holds a whole number of more than 300 digits")


def check_form(name: str, value: Any, form: Any) -> None:
    """ValueError for a value of another form.

    form: float, a finite number; int, a whole one; ABOVE and NUMBER; str; None; [form], a list; {name: form}, an object with
    these names and any others, a name that ends in ? where it need not be there; a tuple, one of several.
    """
    if isinstance(form, tuple):
        if not any(_is(value, one) for one in form if not isinstance(one, dict | list)):
            check_form(name, value, form[-1])
    elif isinstance(form, dict):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is {shown(value)}, not an object")
        for key, part in form.items():
            inner = key.rstrip("?")
            if inner in value:
                check_form(f"{name}.{inner}", value[inner], part)
            elif inner == key:
                raise ValueError(f"{name} has no {key}")
    elif isinstance(form, list):
        if not isinstance(value, list):
            raise ValueError(f"{name} is {shown(value)}, not a list")
        for part in value:
            check_form(name, part, form[0])
    elif not _is(value, form):
        said = {float: "a finite number", int: "a whole number", str: "a text", None: "null"}
        raise ValueError(f"{name} is {shown(value)}, not {said.get(form, form)}")


def _is(value: Any, form: Any) -> bool:
    if form is None or isinstance(value, bool):
        return form is None and value is None
    if form is str or form is int:
        return isinstance(value, form)
    if not isinstance(value, int | float):
        return False
    return form == NUMBER or (math.isfinite(value) and (form is float or value > 0))
