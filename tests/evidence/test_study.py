"""Many runs through the store: what is stored is not run again, and nothing that ended is lost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from squares import KIND, NUMBERS, Inline, Turns, Worked, numbers, quiet

from evidence.executors.local import processes
from evidence.store import Store
from evidence.study import Run, other_versions, run_all


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "results.sqlite") as store:
        yield store


@pytest.fixture
def worked() -> Worked:
    return Worked()


def test_rows_come_in_order_and_each_run_is_stored_as_it_ends(tmp_path: Path, store: Store, worked: Worked) -> None:
    seen, executor = [], Turns()
    store.write([])  # which makes the file

    def notify(done: int, total: int, text: str) -> None:
        with Store(tmp_path / "results.sqlite", reading=True) as other:
            seen.append((done, len(other.rows(KIND))))

    rows = run_all(worked.runs(), store, executor, executor.hearing(notify))
    assert seen == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    assert numbers(rows) == worked == [1, 2, 3, 4]
    assert [row.summary["square"] for row in rows] == [1, 4, 9, 16]
    assert rows == [store.get(KIND, {"n": n}) for n in NUMBERS]


def test_rows_of_many_runs_come_in_few_transactions_and_without_curves(store: Store, worked: Worked) -> None:
    spoken: list[str] = []
    store.write([])  # which makes the file
    store._db.set_trace_callback(spoken.append)
    rows = run_all(worked.runs(*range(2000)), store, Inline(), quiet, curves=False)
    assert [row.summary["square"] for row in rows] == [n**2 for n in range(2000)]
    assert {tuple(row.curves) for row in rows} == {()}
    assert store.get(KIND, {"n": 3}).curves == {"roots": [3, -3]}
    assert 1 <= sum(line.startswith("BEGIN") or line.startswith("begin") for line in spoken) <= 5


def test_thousands_of_titles_are_not_one_line(store: Store, worked: Worked) -> None:
    heard: list[str] = []
    run_all(worked.runs(*range(3000)), store, Inline(), lambda done, total, text: heard.append(text))
    assert heard[0] == f"running, in this order: {'; '.join(f'number {n}' for n in range(10))}; and 2,990 more"


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

    executor = Turns()
    with pytest.raises(KeyboardInterrupt):
        run_all(worked.runs(), store, executor, executor.hearing(interrupted))
    assert [future.cancelled() for future, _ in executor.given] == [True, True]
    kept = set(numbers(store.rows(KIND)))
    assert len(kept) == 2
    worked.clear()
    assert numbers(run_all(worked.runs(), store, Inline(), quiet)) == [1, 2, 3, 4]
    assert set(worked) == set(NUMBERS) - kept


class Dying(Inline):
    """Gives up after two tasks, as a pool does one of whose processes was killed."""

    left = 2

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        self.left -= 1
        if self.left < 0:
            raise BrokenExecutor("a worker was killed")
        return super().submit(function, *arguments, **options)


def test_what_a_dying_executor_finished_is_kept(store: Store, worked: Worked) -> None:
    with pytest.raises(BrokenExecutor, match="a worker was killed"):
        run_all(worked.runs(), store, Dying(), quiet)
    # No run is blamed for a killed worker.
    assert {row.spec["n"]: row.status for row in store.rows(KIND)} == {1: "done", 2: "done"}
    worked.clear()
    assert numbers(run_all(worked.runs(), store, Inline(), quiet)) == [1, 2, 3, 4]
    assert worked == [3, 4]


def test_a_failing_run_is_a_row_that_runs_again_on_request(store: Store, worked: Worked) -> None:
    worked.failing = (2,)
    heard: list[str] = []
    rows = run_all(worked.runs(), store, Inline(), lambda done, total, text: heard.append(text))
    assert [(row.status, row.error) for row in rows] == [
        ("done", ""),
        ("failed", "MemoryError: no room at 2"),
        *2 * [("done", "")],
    ]
    assert rows == sorted(store.rows(KIND), key=lambda row: row.spec["n"])
    assert "number 2: failed, MemoryError: no room at 2" in heard
    store.put(KIND, {"n": 1}, status="diverged", error="nan", summary={}, curves={})
    worked.failing = ()
    for retry, again in (((), []), (("failed",), [2]), (("diverged", "failed"), [1])):
        worked.clear()
        rows = run_all(worked.runs(), store, Inline(), quiet, retry=retry)
        assert (worked, numbers(rows)) == (again, [1, 2, 3, 4])
    assert {row.status for row in rows} == {"done"}


def test_where_every_run_is_needed_a_failing_one_is_raised_once_all_others_are_stored(
    store: Store, worked: Worked
) -> None:
    worked.failing = (2,)
    for calls in ([1, 2, 3, 4], [2]):  # what failed runs again, what is stored does not
        worked.clear()
        with pytest.raises(MemoryError, match="no room at 2"):
            run_all(worked.runs(), store, Inline(), quiet, strict=True)
        assert worked == calls
    assert {row.spec["n"]: row.status for row in store.rows(KIND)} == dict.fromkeys((1, 3, 4), "done") | {2: "failed"}
    worked.failing = ()
    assert {row.status for row in run_all(worked.runs(), store, Inline(), quiet, strict=True)} == {"done"}


def test_an_outcome_that_is_no_plain_data_is_a_failed_row(store: Store, worked: Worked) -> None:
    bad: list[Any] = [
        {"summary": {"x": {1, 2}}, "curves": {}},
        {"summary": {}, "curves": {}, "status": "finished"},
        {"summary": {}},
        None,
    ]
    runs = [Run(KIND, {"bad": k}, f"bad {k}", partial(bad.__getitem__, k), "one") for k in range(len(bad))]
    rows = run_all([*worked.runs(1), *runs], store, Inline(), quiet)
    assert [row.status for row in rows] == ["done", *4 * ["failed"]]
    assert "as JSON holds them" in rows[1].error
    assert "'finished'" in rows[2].error
    message = "caf\udce9\n  on two lines"

    def raising() -> dict[str, Any]:
        raise ValueError(message)

    [row] = run_all([Run(KIND, {"n": 0}, "", raising)], store, Inline(), quiet)
    assert row.error == "ValueError: caf\\udce9 on two lines"


def test_two_runs_of_one_spec_are_one_run(store: Store, worked: Worked) -> None:
    assert numbers(run_all(worked.runs(2, 1, 2), store, Inline(), quiet)) == [2, 1, 2]
    assert worked == [2, 1]


def test_runs_of_a_group_are_one_task_and_come_first(store: Store, worked: Worked) -> None:
    tasks: list[int] = []

    class Counting(Inline):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            tasks.append(len(arguments[-1]))
            return super().submit(function, *arguments, **options)

    rows = run_all([*worked.runs(1, 2), *worked.runs(3, 4, group="slow start")], store, Counting(), quiet)
    assert (tasks, worked, numbers(rows)) == ([2, 1, 1], [3, 4, 1, 2], [1, 2, 3, 4])
    # Of a group that is stored in part, the others run.
    tasks.clear(), worked.clear()
    rows = run_all(worked.runs(3, 4, 5, 6, group="slow start"), store, Counting(), quiet)
    assert (tasks, worked, numbers(rows)) == ([2], [5, 6], [3, 4, 5, 6])


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
