"""Valid calls of the public functions, each with one value put wrong: refused in one line, or right.

`cases` draws them, `judge` says what is wrong with one. What is called stands in `fuzz.calls`.
"""

from __future__ import annotations

import collections.abc
import contextlib
import inspect
import io
import math
import random
import signal
import tempfile
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from dynamics.errors import InputError
from fuzz.calls import CALLS, MEANT

LONGEST, SECONDS = 600, 60
# Where in a call a value stands: the argument's name, then keys and indices within it.
Place = tuple[Any, ...]


class Awkward:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


BAD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "-1": lambda: -1,
    "0": lambda: 0,
    "1.5": lambda: 1.5,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "-inf": lambda: -math.inf,
    "10**400": lambda: 10**400,
    "10**5000": lambda: 10**5000,  # more digits than Python writes
    "1e308": lambda: 1e308,
    "empty text": lambda: "",
    "text": lambda: "x",
    "newline": lambda: "\n",
    "long text": lambda: "a" * 100_000,
    "lone surrogate": lambda: "\ud800",
    "null": lambda: "\0",
    "bytes": lambda: b"x",
    "[]": lambda: [],
    "[None]": lambda: [None],
    "['x']": lambda: ["x"],
    "{}": dict,
    "{1: 2}": lambda: {1: 2},
    "set": lambda: {"x"},
    "object": object,
    "awkward": Awkward,
    "lambda": lambda: lambda *given, **named: None,
    "class": lambda: Awkward,
    "complex": lambda: 1j,
    "generator": lambda: (x for x in ("x",)),
    "path": lambda: Path("."),
    "array": lambda: np.array([]),
    "array of text": lambda: np.array(["x"]),
    "array nan": lambda: np.array(np.nan),
    "array of objects": lambda: np.array([None, object()], dtype=object),
    "array 3-D": lambda: np.zeros((2, 2, 2)),
    "tensor of integers": lambda: torch.tensor([1, 2]),
    "tensor nan": lambda: torch.full((2, 3), math.nan),
    "tensor 0-D": lambda: torch.tensor(0.5),
    "tensor sparse": lambda: torch.eye(2).to_sparse(),
    "fraction": lambda: Fraction(1, 2),
    "10**30": lambda: 10**30,
    "tensor meta": lambda: torch.empty(2, 3, device="meta"),
    "tensor empty": lambda: torch.empty(0),
    "tensor complex": lambda: torch.zeros(2, dtype=torch.complex64),
}


@dataclass(frozen=True)
class Case:
    """One call with one value put wrong; run() raises what the call raises, or Passed."""

    name: str
    run: Callable[[], None]


class Passed(Exception):
    """A value was taken that cannot be right, or an argument was changed by a call that was refused."""


class TooLong(BaseException):
    """The call took longer than SECONDS."""


def cases(seed: int, count: int) -> Iterator[Case]:
    """`count` cases, drawn by `seed` from all calls, places and bad values, without repetition."""
    everything = [(name, place, bad) for name in CALLS for place in places(name) for bad in BAD]
    for name, place, bad in random.Random(seed).sample(everything, min(count, len(everything))):
        yield case(name, place, bad)


def case(name: str, place: Place, bad: str) -> Case:
    """The case of that call, place and bad value."""
    shown = str(place[0]) + "".join(f"[{part!r}]" for part in place[1:])
    return Case(f"{name}: {shown} = {bad}", lambda: _run(name, place, BAD[bad]()))


@cache
def places(name: str) -> tuple[Place, ...]:
    """Where a value can be put wrong in the valid call: each argument, and the ends of lists and mappings in it."""
    with _somewhere():
        function, arguments = _valid(name)
    several = {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.VAR_POSITIONAL}
    found = (place for key, value in arguments.items() for place in ((key,), *_inside((key,), value)))
    return tuple(place for place in found if place[0] not in several or len(place) > 1)


def judge(case: Case) -> str:
    """ "" where the call was refused in one line or did what is right; else what is wrong, in one line."""
    said = io.StringIO()
    try:
        with _somewhere(), contextlib.redirect_stderr(said), warnings.catch_warnings(record=True) as warned, _limit():
            warnings.simplefilter("always")
            case.run()
            fault = ""
    except InputError as error:
        fault = _message(str(error))
    except TooLong:
        fault = f"longer than {SECONDS} s"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    if not fault and said.getvalue():
        fault = f"on stderr: {said.getvalue()}"
    if not fault and warned:
        fault = f"warned: {warned[0].category.__name__}: {warned[0].message}"
    return f"{case.name}: {' '.join(fault.split())[:200]}" if fault else ""


def _message(text: str) -> str:
    if len(text.splitlines()) != 1:
        return f"a message of {len(text.splitlines())} lines: {text!r}"
    return f"a message of {len(text)} characters: {text}" if len(text) > LONGEST else ""


def _valid(name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    function, args, kwargs = CALLS[name]()
    bound = inspect.signature(function).bind(*args, **kwargs).arguments
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            bound |= bound.pop(parameter.name, {})
    return function, bound


def _run(name: str, place: Place, value: Any) -> None:
    function, arguments = _valid(name)
    hint = _hint(_hints(function).get(place[0], Any), place[1:], arguments[place[0]])
    arguments = arguments | {place[0]: _put(arguments[place[0]], place[1:], value)}
    before = {key: _print(x) for key, x in arguments.items()}
    try:
        _use(_call(function, arguments))
    except InputError:
        changed = [key for key, x in arguments.items() if _print(x) != before[key]]
        if changed:
            raise Passed(f"{changed[0]} was changed by a call that was refused") from None
        raise
    if not fits(value, hint) and (name, place[0]) not in MEANT:
        raise Passed(f"it passed, where {hint} is wanted")


def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    args, kwargs = [], dict(arguments)
    parameters = list(inspect.signature(function).parameters.values())
    several = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            args += kwargs.pop(parameter.name, ())
        elif several and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            args.append(kwargs.pop(parameter.name))
    return function(*args, **kwargs)


def _use(result: Any) -> None:
    """What a caller does with it: a generator is gone through, a context entered."""
    if isinstance(result, contextlib.AbstractContextManager) and isinstance(result, contextlib.ContextDecorator):
        with result:
            pass
    elif isinstance(result, Iterator):
        for _ in zip(result, range(1_000), strict=False):
            pass


def _inside(at: Place, value: Any) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield (*at, key)
            yield from _inside((*at, key), part)
    elif isinstance(value, list | tuple) and value and not hasattr(value, "_fields"):
        yield (*at, len(value) - 1)
        yield from _inside((*at, len(value) - 1), value[-1])


def _put(value: Any, at: Place, bad: Any) -> Any:
    """`value` with `bad` at that place of it; what is around is made anew."""
    if not at:
        return bad
    if isinstance(value, dict):
        return value | {at[0]: _put(value[at[0]], at[1:], bad)}
    return type(value)(_put(x, at[1:], bad) if i == at[0] else x for i, x in enumerate(value))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except NameError:  # what is imported for type checkers alone
        return {}


def _hint(hint: Any, at: Place, value: Any) -> Any:
    """The annotation of a part, from that of the whole."""
    for key in at:
        if hint == ArrayLike:
            return float
        args = typing.get_args(hint)
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            args = next((typing.get_args(x) for x in args if typing.get_args(x)), ())
        if not args:
            return Any
        fixed = isinstance(value, tuple) and Ellipsis not in args and len(args) == len(value)
        hint = args[key] if fixed else args[1] if isinstance(value, dict) and len(args) > 1 else args[0]
        value = value[key]
    return hint


def fits(value: Any, hint: Any) -> bool:
    """Whether an annotation lets a value through; True is no number, a text is no sequence, and nan and inf are none."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, str | typing.TypeVar) or hint is inspect.Parameter.empty:
        return True
    if hint is None or hint is type(None):
        return value is None
    if hint == ArrayLike:
        hint = float | np.ndarray | collections.abc.Sequence[float]
        origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, x) for x in args)
    if origin is Literal:
        return any(value is x or (isinstance(value, str) and value == x) for x in args)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool) and _finite(value)
    kind = origin or hint
    if kind in (collections.abc.Sequence, np.ndarray) and isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim > 0 and not value.is_meta if isinstance(value, torch.Tensor) else True
    if kind is collections.abc.Callable:
        return callable(value)
    if not inspect.isclass(kind):
        return True
    if isinstance(value, str | bytes) and kind not in (str, bytes, object):
        return False
    if not isinstance(value, kind):
        return False
    if isinstance(value, list | tuple | set) and args and args[0] is not Ellipsis:
        return all(fits(x, args[0]) for x in value)
    if isinstance(value, dict) and len(args) == 2:
        return all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    return True


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _print(value: Any) -> Any:
    """What of an argument must be the same after a refusal: the numbers in it, and how it is made up."""
    if isinstance(value, torch.Tensor):
        return value.shape, value._version
    if isinstance(value, torch.nn.Module):
        return value.training, {key: (x.shape, x._version) for key, x in value.state_dict(keep_vars=True).items()}
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes() if value.dtype.kind != "O" else None
    if isinstance(value, dict):
        return {key: _print(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_print(part) for part in value]
    if is_dataclass(value) and not inspect.isclass(value):
        return [_print(getattr(value, field.name, None)) for field in fields(value)]
    return id(value)


@contextlib.contextmanager
def _somewhere() -> Iterator[None]:
    """In an empty folder of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    def end(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
