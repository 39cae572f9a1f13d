"""Arguments and fields checked by their own annotations, before anything is done with them.

`checked` decorates a function, `check_fields` stands in a dataclass's __post_init__. What an annotation lets through
that is wrong all the same (a negative count, an unknown name) is for the function to refuse.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from dynamics import given
from dynamics.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")
_PLAIN: dict[Any, Callable[[str, Any], Any]] = {
    int: given.whole,
    float: given.number,
    bool: given.flag,
    str: given.text,
    Path: lambda name, value: given.path(name, given.kind(name, value, Path, "a Path")),
}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The function with a check before it: InputError, naming it, for an argument that its annotation does not let through."""
    signature = inspect.signature(function)
    rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)

    @functools.cache
    def hints() -> dict[str, Any]:
        return _hints(
            {name: p.annotation for name, p in signature.parameters.items() if p.annotation is not p.empty},
            function.__module__,
        )

    @functools.wraps(function)
    def door(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in hints():
                for part, one in value.items() if name == rest else ((name, value),):
                    check(part, one, hints()[name])
        return function(*args, **kwargs)

    return door


def check_fields(made: Any) -> None:
    """InputError, naming it, for a field of a dataclass that its annotation does not let through."""
    kind: Any = type(made)
    for name, hint in _field_hints(kind).items():
        check(name, getattr(made, name), hint)


@functools.cache
def _field_hints(kind: Any) -> dict[str, Any]:
    return _hints({field.name: field.type for field in fields(kind) if field.init}, kind.__module__)


def _hints(annotations: Mapping[str, Any], module: str) -> dict[str, Any]:
    found = {}
    for name, hint in annotations.items():
        try:
            found[name] = eval(hint, vars(sys.modules[module])) if isinstance(hint, str) else hint
        except NameError:  # imported for type checkers alone
            continue
    return found


def check(name: str, value: Any, hint: Any) -> None:
    """InputError, naming it, for a value that an annotation does not let through; one that says nothing lets all."""
    if (
        isinstance(hint, type) and hint in _PLAIN
    ):  # first, since most are: a study has thousands of runs of many numbers
        _PLAIN[hint](name, value)
        return
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return
    if origin in (types.UnionType, typing.Union):
        if not any(_passes(value, one) for one in inner):
            raise InputError(f"{name} {given.shown(value)}: {_words(hint)} is accepted")
    elif origin is Literal:
        given.among(name, value, inner)
    elif origin is collections.abc.Mapping or origin is dict:
        parts = given.mapping(name, value) if inner[0] is str else given.kind(name, value, Mapping, "a mapping")
        for key, part in parts.items():
            check(f"{name} {given.shown(key)}", part, inner[1])
    elif origin in (collections.abc.Sequence, list, tuple):
        row = given.kind(name, value, tuple, "a tuple") if origin is tuple else given.items(name, value)
        each = inner * len(row) if origin is not tuple else inner[:1] * len(row) if Ellipsis in inner else inner
        if len(each) != len(row):
            raise InputError(f"{name} {given.shown(value)}: {len(each)} values are accepted")
        for part, one in zip(row, each, strict=True):
            check(name, part, one)
    elif origin in (collections.abc.Collection, collections.abc.Iterable):
        # What can be gone through once only is left for the function to go through.
        if isinstance(given.kind(name, given.several(name, value), origin, _words(hint)), collections.abc.Collection):
            for part in value:
                check(name, part, inner[0])
    elif origin is collections.abc.Callable:
        given.function(name, value)
    elif inspect.isclass(kind := origin or hint) and kind is not object:
        # Of a protocol that none but type checkers know, by what it has.
        has = [part for part in dir(kind) if part[0] != "_"] if getattr(kind, "_is_protocol", False) else []
        fits = all(hasattr(value, part) for part in has) if has else isinstance(value, kind)
        several = kind in (collections.abc.Iterable, collections.abc.Collection)
        if not fits or (several and isinstance(value, str | bytes | Mapping)):
            raise InputError(f"{name} {given.shown(value)}: {_words(hint)} is accepted")


def _passes(value: Any, hint: Any) -> bool:
    if hint is type(None):
        return value is None
    try:
        check("", value, hint)
    except InputError:
        return False
    return True


def _words(hint: Any) -> str:
    if inspect.isclass(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "").replace("NoneType", "None")
