"""Runs whose outcome is a square, and executors that run them in this process, for tests of studies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from evidence.store import Row
from evidence.study import Run

KIND = "square"
NUMBERS = (1, 2, 3, 4)


class Inline(Executor):
    """Runs what it is given at once, in this process."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


class Worked(list[int]):
    """In place of a worker: remembers the numbers it was asked for, and fails at some."""

    failing: tuple[int, ...] = ()

    def __call__(self, number: int) -> dict[str, Any]:
        self.append(number)
        if number in self.failing:
            raise MemoryError(f"no room at {number}")
        return squared(number)

    def runs(self, *numbers: int, group: str = "") -> list[Run]:
        return [Run(KIND, {"n": n}, f"number {n}", partial(self, n), group) for n in numbers or NUMBERS]


def squared(number: int) -> dict[str, Any]:
    return {"summary": {"square": number**2}, "curves": {"roots": [number, -number]}}


def quiet(done: int, total: int, text: str) -> None:
    """A notify that keeps nothing."""


class Turns(Inline):
    """Runs one of what it is given whenever the driver tells of something, and one to begin with."""

    def __init__(self) -> None:
        self.given: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.turns = 1

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.given.append((future, partial(function, *arguments, **options)))
        self._go()
        return future

    def _go(self) -> None:
        while self.given and self.turns:
            future, call = self.given.pop(0)
            if future.set_running_or_notify_cancel():
                self.turns = 0
                try:
                    future.set_result(call())
                except Exception as error:
                    future.set_exception(error)

    def hearing(self, notify: Callable[[int, int, str], None] = quiet) -> Callable[[int, int, str], None]:
        def heard(done: int, total: int, text: str) -> None:
            notify(done, total, text)
            self.turns = 1
            self._go()

        return heard


def numbers(rows: list[Row]) -> list[int]:
    return [row.spec["n"] for row in rows]
