"""Live progress: a bar on a terminal, plain lines elsewhere. Both say what runs, what is done and what is left."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dynamics.errors import on_one_line


def messages() -> Console:
    """Standard error as rich writes to it: without colours where NO_COLOR is not empty (https://no-color.org)."""
    return Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))


def moves(console: Console) -> bool:
    """Whether a line can be written over: on a terminal, unless TERM says that it is a dumb one."""
    return console.is_terminal and not console.is_dumb_terminal


class Live:
    """Progress of a few tasks, on standard error so that results stay alone on standard output."""

    def __init__(self) -> None:
        console = messages()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=console) if moves(console) else None
        self._started = time.monotonic()

    def __enter__(self) -> Live:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def task(self, name: str, total: int) -> Task:
        """A task of `total` steps, shown from now on."""
        if self._bars is None:
            self.line(f"{name}: 0 of {total} done")
            return Task(self, name, None)
        return Task(self, name, self._bars.add_task(on_one_line(name), total=total))

    def line(self, text: str) -> None:
        """A line that stays, its control characters written out."""
        text = on_one_line(text)
        seconds = time.monotonic() - self._started
        if self._bars is None:
            try:
                print(f"[{seconds:6.1f} s] {text}", file=sys.stderr, flush=True)
            except BrokenPipeError:  # whoever looked on has left
                raise
            except OSError:  # a full disk that takes no more lines is no reason to end what they tell of
                return
        else:
            self._bars.console.print(text, markup=False, highlight=False)

    def advance(self, bar: int | None, done: int) -> None:
        """Move a task's bar to `done`."""
        if self._bars is not None and bar is not None:
            self._bars.update(bar, completed=done)  # type: ignore[arg-type]


class Task:
    """One task; call it with (done, total, what just happened)."""

    def __init__(self, live: Live, name: str, bar: int | None) -> None:
        self._live, self._name, self._bar = live, name, bar

    def __call__(self, done: int, total: int, text: str) -> None:
        """Report that `done` of `total` are done, `total - done` left, and what happened."""
        self._live.advance(self._bar, done)
        self._live.line(f"{self._name}: {done} of {total} done, {total - done} left: {text}")
