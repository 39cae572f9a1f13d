"""The driver of a study: hands tasks to an executor and alone writes what they give, each as it ends.

Whatever stops it, an interrupt, a full disk, an executor that can run no more: what has not begun is not begun any more,
and what has ended is stored.
"""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from evidence.store import NoRoomError, Record, Row, Store, record

if TYPE_CHECKING:
    from evidence.study import Notify, Run

# What a worker calls for one run; it gives what `Store.put` takes beside kind and spec.
Work = Callable[[], Mapping[str, Any]]
# What a worker calls for a group of runs; it gives their outcomes in the same order.
Together = Callable[[Sequence[Work]], Sequence[Mapping[str, Any]]]
Outcomes = Future[list[Mapping[str, Any]]]

ATTEMPTS = 3  # at a task whose worker dies
_NAMED = 10  # runs named in one line, at most
_SECONDS = 1.0  # between looks at what has ended, while tasks are still being handed out


def one_after_another(works: Sequence[Work]) -> list[Mapping[str, Any]]:
    """The outcomes of these works, each done by itself: how a group is run unless it is told otherwise."""
    return [work() for work in works]


@dataclass
class Task:
    """What goes to a worker in one piece: runs by their keys. attempts: how often it was handed out."""

    runs: Mapping[str, Run]
    attempts: int = 0


@dataclass
class Driver:
    """What is done of a study, and what is under way.

    asked: all runs by key; rows: of those that are stored. curves: whether rows have theirs. shared: what another driver
    stores meanwhile is left to it. failures: what was raised by runs that are stored as failed.
    """

    asked: Mapping[str, Run]
    rows: dict[str, Row]
    store: Store
    executor: Executor
    notify: Notify
    in_words: Callable[[Row], str]
    curves: bool = True
    shared: bool = True
    failures: list[BaseException] = field(default_factory=list)
    _pending: dict[Outcomes, Task] = field(default_factory=dict)
    _where: dict[str, Outcomes] = field(default_factory=dict)
    _elsewhere: set[str] = field(default_factory=set)
    _ended: SimpleQueue[Outcomes] = field(default_factory=SimpleQueue)

    def go_through(self, tasks: Sequence[Task]) -> None:
        """Run all of them; every run then has its row. Raises InputError where the store cannot be written or a disk is full,
        BrokenExecutor where the executor can run no more."""
        if not tasks:
            return
        self._tell(f"running, in this order: {_some([run.title for task in tasks for run in task.runs.values()])}")
        try:
            with _ending_interrupts():
                self._run(tasks)
        except BaseException as stop:
            for future in self._pending:
                future.cancel()
            if not isinstance(stop, InputError):  # which is the store's own
                self._save()
            if isinstance(stop, NoRoomError) or _no_room(stop):
                kept = f"{len(self.rows)} of {len(self.asked)} runs are stored, and the same command goes on from there"
                raise InputError(f"{' '.join(str(stop).split())}; {kept}") from stop
            raise

    def _run(self, tasks: Sequence[Task]) -> None:
        looked = time.monotonic()
        for task in tasks:
            self._hand_out(task)
            # An executor may take minutes to be given thousands of tasks, while the first of them end.
            if time.monotonic() - looked > _SECONDS:
                self._settle(self._batch(wait=False))
                looked = time.monotonic()
        while self._pending:
            self._settle(self._batch())
            self._leave_to_others()

    def _hand_out(self, task: Task) -> None:
        works = [run.work for run in task.runs.values()]
        how = next(iter(task.runs.values())).together if len(works) > 1 else one_after_another
        future = self.executor.submit(_worked, how, works)
        task.attempts += 1
        self._pending[future] = task
        self._where |= dict.fromkeys(task.runs, future)
        future.add_done_callback(self._ended.put)

    def _batch(self, wait: bool = True) -> list[Outcomes]:
        """What has ended; at least one, if told to wait. What ends while one batch is stored makes up the next."""
        ended = [self._ended.get()] if wait else []
        while True:
            try:
                ended.append(self._ended.get_nowait())
            except Empty:
                return [future for future in ended if future in self._pending]

    def _settle(self, ended: Sequence[Outcomes]) -> None:
        """Store what these tasks gave, in one transaction, and hand out again what a dead worker or a neighbour has cost."""
        parts: list[list[Record]] = []
        again: list[Task] = []
        for future in ended:
            task, failure = self._pending[future], _failure(future)
            lost = isinstance(failure, BrokenExecutor)
            if failure is not None and _no_room(failure):
                raise failure
            if lost and task.attempts < ATTEMPTS:
                again.append(task)
                self._tell(f"{_titles(task)}: its worker died, attempt {task.attempts + 1} of {ATTEMPTS} follows")
            elif failure is not None and len(task.runs) > 1:  # one of them may cost all others theirs
                again += [Task({key: run}) for key, run in task.runs.items()]
                self._tell(f"{_titles(task)}: {_reason(failure)}; each is tried alone")
            elif failure is not None:
                died = f"its worker died {ATTEMPTS} times ({_one_line(failure)})" if lost else ""
                self.failures.append(failure)
                parts.append([_failed(run, died or _reason(failure)) for run in task.runs.values()])
            else:
                parts.append(self._records(task, future.result()))
        done = len(self.rows)
        for place, row in enumerate(self._store(parts) if parts else (), 1):
            said = f"failed, {row.error}" if row.status == "failed" else self.in_words(row)
            self.notify(done + place, len(self.asked), f"{self.asked[row.key].title}: {said}")
        for future in ended:
            del self._pending[future]
        for task in again:
            self._hand_out(task)

    def _records(self, task: Task, outcomes: Sequence[Mapping[str, Any]]) -> list[Record]:
        made = []
        for run, outcome in zip(task.runs.values(), outcomes, strict=True):
            try:
                made.append(record(run.kind, run.spec, **outcome))
            except (TypeError, ValueError) as error:  # no plain data: this run's own fault
                self.failures.append(error)
                made.append(_failed(run, _reason(error)))
        return made

    def _store(self, parts: Sequence[Sequence[Record]]) -> list[Row]:
        """Store what tasks gave: all at once, or as many tasks as there is room for."""
        try:
            self.store.write(made for part in parts for made in part)
        except NoRoomError:
            if len(parts) == 1:
                raise
            return [row for part in parts for row in self._store([part])]
        stored = [(made if self.curves else made._replace(curves="")).row() for part in parts for made in part]
        self.rows |= {row.key: row for row in stored}
        return stored

    def _save(self) -> None:
        """Store what has ended by itself and is not stored yet."""
        for future, task in self._pending.items():
            if future.done() and _failure(future) is None and not self.rows.keys() >= task.runs.keys():
                self._store([self._records(task, future.result())])

    def _leave_to_others(self) -> None:
        """Do not run what another driver has stored meanwhile, if it has not begun."""
        news = [key for key in self.store.news() if key in self._where and key not in self.rows] if self.shared else []
        self._elsewhere |= set(news)
        for future in {self._where[key] for key in news}:
            task = self._pending.get(future)
            if task is not None and self._elsewhere.issuperset(task.runs) and future.cancel():
                del self._pending[future]
                self.rows |= self.store.find(list(task.runs), self.curves, lambda row: self.asked[row.key].look(row))
                self._tell(f"{_titles(task)}: stored by another driver meanwhile")

    def _tell(self, line: str) -> None:
        self.notify(len(self.rows), len(self.asked), line)


def _worked(how: Together, works: Sequence[Work]) -> list[Mapping[str, Any]]:
    """In a worker: the outcomes of one task."""
    outcomes = list(how(works))
    if len(outcomes) != len(works):
        raise ValueError(f"{len(outcomes)} outcomes of {len(works)} runs")
    return outcomes


def _failure(future: Outcomes) -> BaseException | None:
    """What a task that has ended raised; one that its executor has cancelled is lost like one whose worker died."""
    return BrokenExecutor("cancelled by its executor") if future.cancelled() else future.exception()


def _failed(run: Run, error: str) -> Record:
    return record(run.kind, run.spec, summary={}, curves={}, status="failed", error=error)


def _reason(error: BaseException) -> str:
    """An error in one line: its type, and what it says if it says anything."""
    return ": ".join(part for part in (type(error).__name__, _one_line(error)) if part)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _no_room(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _titles(task: Task) -> str:
    return _some([run.title for run in task.runs.values()])


def _some(titles: Sequence[str]) -> str:
    more = f"; and {len(titles) - _NAMED:,} more" if len(titles) > _NAMED else ""
    return "; ".join(titles[:_NAMED]) + more


@contextmanager
def _ending_interrupts() -> Iterator[None]:
    """Being asked to end is what Ctrl-C is, as long as there is something to lose, unless the program looks after it itself;
    only the main thread can hear of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
