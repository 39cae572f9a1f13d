"""Many runs through the store: what is stored is not run again, and nothing that ended is lost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evidence.executors.local import processes
from evidence.store import Row, Store
from evidence.study import Run, other_versions, run_all

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
    return {"summary": {"square": number**2}, "curves": {}}


def quiet(done: int, total: int, text: str) -> None:
    """A notify that keeps nothing."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "results.sqlite") as store:
        yield store


@pytest.fixture
def worked() -> Worked:
    return Worked()


def numbers(rows: list[Row]) -> list[int]:
    return [row.spec["n"] for row in rows]


def test_rows_come_in_order_and_each_run_is_stored_as_it_ends(tmp_path: Path, store: Store, worked: Worked) -> None:
    seen = []

    def notify(done: int, total: int, text: str) -> None:
        with Store(tmp_path / "results.sqlite") as other:
            seen.append((done, len(other.rows(KIND))))

    rows = run_all(worked.runs(), store, Inline(), notify)
    assert seen == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    assert numbers(rows) == worked == [1, 2, 3, 4]
    assert [row.summary["square"] for row in rows] == [1, 4, 9, 16]
    assert rows == [store.get(KIND, {"n": n}) for n in NUMBERS]


def test_what_is_stored_is_run_again_only_on_request(store: Store, worked: Worked) -> None:
    run_all(worked.runs(2, 3), store, Inline(), quiet)
    worked.clear()
    heard: list[tuple[int, int, str]] = []
    words = lambda row: f"square {row.summary['square']}"  # noqa: E731
    rows = run_all(worked.runs(), store, Inline(), lambda *news: heard.append(news), words)
    assert sorted(worked) == [1, 4]
    assert numbers(rows) == [1, 2, 3, 4]
    assert heard[:2] == [
        (2, 4, "2 of 4 runs are stored already"),
        (2, 4, "running, in this order: number 1; number 4"),
    ]
    assert [news[:2] for news in heard[2:]] == [(3, 4), (4, 4)]
    assert {news[2] for news in heard[2:]} == {"number 1: square 1", "number 4: square 16"}
    worked.clear()
    assert run_all(worked.runs(), store, Inline(), quiet) == rows
    assert worked == []
    run_all(worked.runs(), store, Inline(), quiet, fresh=True)
    assert sorted(worked) == [1, 2, 3, 4]
    assert len(store.rows(KIND)) == 4


def test_an_interrupted_study_goes_on_where_it_was(store: Store, worked: Worked) -> None:
    def interrupted(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(worked.runs(), store, Inline(), interrupted)
    kept = set(numbers(store.rows(KIND)))
    assert len(kept) == 2
    worked.clear()
    assert numbers(run_all(worked.runs(), store, Inline(), quiet)) == [1, 2, 3, 4]
    assert set(worked) == set(NUMBERS) - kept


class Dying(Inline):
    """Gives up after two tasks, as a pool does whose process was killed."""

    left = 2

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        self.left -= 1
        if self.left >= 0:
            return super().submit(function, *arguments, **options)
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor("a worker was killed"))
        return future


def test_what_a_dying_executor_finished_is_kept(store: Store, worked: Worked) -> None:
    with pytest.raises(BrokenExecutor, match="a worker was killed"):
        run_all(worked.runs(), store, Dying(), quiet)
    # No run is blamed for a killed worker.
    assert {row.spec["n"]: row.status for row in store.rows(KIND)} == {1: "done", 2: "done"}
    worked.clear()
    assert numbers(run_all(worked.runs(), store, Inline(), quiet)) == [1, 2, 3, 4]
    assert worked == [3, 4]


def test_a_failing_run_is_stored_and_raised_once_all_others_are_stored(store: Store, worked: Worked) -> None:
    worked.failing = (2,)
    heard: list[str] = []
    with pytest.raises(MemoryError, match="no room at 2"):
        run_all(worked.runs(), store, Inline(), lambda done, total, text: heard.append(text))
    status = {row.spec["n"]: (row.status, row.error) for row in store.rows(KIND)}
    assert status == dict.fromkeys((1, 3, 4), ("done", "")) | {2: ("failed", "MemoryError('no room at 2')")}
    assert "number 2: failed, no room at 2" in heard
    # What failed is tried again; what diverged is not.
    worked.failing = ()
    worked.clear()
    store.put(KIND, {"n": 1}, status="diverged", error="nan", summary={}, curves={})
    rows = run_all(worked.runs(), store, Inline(), quiet)
    assert [(row.status, row.error) for row in rows] == [("diverged", "nan")] + 3 * [("done", "")]
    assert worked == [2]


def test_runs_of_a_group_are_one_task_and_come_first(store: Store, worked: Worked) -> None:
    tasks: list[int] = []

    class Counting(Inline):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            tasks.append(len(arguments[0]))
            return super().submit(function, *arguments, **options)

    rows = run_all([*worked.runs(1, 2), *worked.runs(3, 4, group="slow start")], store, Counting(), quiet)
    assert (tasks, worked, numbers(rows)) == ([2, 1, 1], [3, 4, 1, 2], [1, 2, 3, 4])


def prepared(name: str, value: str) -> None:
    os.environ[name] = value


def in_worker(number: int) -> dict[str, Any]:
    rule = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    return {"summary": {"told": os.environ.get("UNDERTOW_TEST"), "quiet": rule, "pid": os.getpid()}, "curves": {}}


def test_worker_processes_are_prepared_once_and_end_quietly_on_ctrl_c(store: Store) -> None:
    with processes([partial(prepared, "UNDERTOW_TEST", "yes")], workers=2) as pool:
        rows = run_all([Run(KIND, {"n": n}, "", partial(in_worker, n)) for n in range(4)], store, pool, quiet)
    assert {(row.summary["told"], row.summary["quiet"]) for row in rows} == {("yes", True)}
    assert os.getpid() not in {row.summary["pid"] for row in rows}
    assert "UNDERTOW_TEST" not in os.environ


def test_stored_results_of_other_versions_are_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    [row] = run_all(Worked().runs(1), store, Inline(), quiet)
    assert other_versions([row]) == []
    monkeypatch.setattr("evidence.study.environment", lambda: row.environment | {"python": "9.9.9"})
    [line] = other_versions([row])
    here = ".".join(map(str, sys.version_info[:3]))
    assert line == f"some stored results were made with python {here}; here is 9.9.9: --fresh runs them again"
