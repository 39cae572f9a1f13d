"""A task and its outcome as bytes, the same whichever way they travel; and what a worker does before its first task."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamics.rules import load_rules, own_files

_prepared: set[str] = set()


class Unprepared(BrokenExecutor):
    """What a worker does before its first task has raised: no task can be done."""


class RemoteTraceback(Exception):
    """The cause of an exception that a task raised elsewhere: the traceback there, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@dataclass(frozen=True)
class Preparation:
    """What each worker does once, before its first task: it loads the user's own rules, then makes these calls."""

    calls: Sequence[Callable[[], object]] = ()
    rules: Sequence[Path] = field(default_factory=own_files)

    def __call__(self) -> None:
        for file in self.rules:
            load_rules(file)
        for call in self.calls:
            call()


def packed(
    function: Callable[..., Any], arguments: Sequence[Any] = (), options: Mapping[str, Any] | None = None
) -> bytes:
    """A call as bytes. What cannot be pickled raises here."""
    return pickle.dumps((function, tuple(arguments), dict(options or {})), pickle.HIGHEST_PROTOCOL)


def performed(task: bytes) -> bytes:
    """The outcome of a packed call, as bytes: what it gave, or what it raised, and the traceback as text."""
    try:
        function, arguments, options = pickle.loads(task)
        return pickle.dumps((True, function(*arguments, **options)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # SystemExit too: a task ends no worker
        text = traceback.format_exc()
        try:
            raised = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
            pickle.loads(raised)  # not every exception that can be written can be read
        except Exception:
            raised = pickle.dumps(RuntimeError("".join(traceback.format_exception_only(error)).strip()))
        return pickle.dumps((False, raised, text), pickle.HIGHEST_PROTOCOL)


def unpacked(outcome: bytes) -> tuple[Any, BaseException | None]:
    """What a task gave, and what it raised if it did; an outcome that cannot be read is an error of its own."""
    try:
        done, *found = pickle.loads(outcome)
        if done:
            return found[0], None
        error: BaseException = pickle.loads(found[0])
    except Exception as unreadable:
        return None, unreadable
    error.__cause__ = RemoteTraceback(found[1])
    return None, error


def settle(future: Future[Any], value: Any, error: BaseException | None) -> None:
    """Give a future the outcome of its task."""
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def luggage(calls: Sequence[Callable[[], object]]) -> bytes:
    """What a process elsewhere needs before its first task: where this one finds its modules, and the preparation."""
    return pickle.dumps((sys.path, packed(Preparation(calls))))


def performed_here(task: bytes, name: str, fetch: Callable[[], bytes]) -> bytes:
    """`performed` in a process that may have done nothing yet: first, and once, it unpacks the luggage of this name."""
    if name not in _prepared:
        path, preparation = pickle.loads(fetch())
        sys.path += [place for place in path if place not in sys.path]
        _, error = unpacked(performed(preparation))
        if error is not None:
            return performed(packed(_refuse, [f"a worker could not be prepared: {type(error).__name__}: {error}"]))
        _prepared.add(name)
    return performed(task)


def _refuse(why: str) -> None:
    raise Unprepared(why)
