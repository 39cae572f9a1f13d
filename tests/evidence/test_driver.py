"""What can happen to a study: dying workers, runs that raise, a full disk, an interrupt, another driver."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squares import KIND, Inline, Turns, Worked, numbers, quiet

from dynamics.errors import InputError
from evidence.driver import ATTEMPTS
from evidence.executors import WorkerLost
from evidence.store import Row, Store
from evidence.study import Run, run_all


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


class Ill:
    """Work that kills its worker the first `deaths` times, then raises if it is to raise."""

    def __init__(self, number: int, deaths: int, raises: bool) -> None:
        self.number, self.deaths, self.raises = number, deaths, raises
        self.calls = 0

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        if self.calls <= self.deaths:
            raise WorkerLost("killed")
        if self.raises:
            raise ValueError(f"no {self.number}")
        return {"summary": {"square": self.number**2}, "curves": {}}


ills = st.lists(
    st.tuples(st.integers(0, ATTEMPTS + 1), st.booleans(), st.sampled_from(["", "", "a", "b"])), min_size=1, max_size=12
)


def ends(works: Sequence[Ill]) -> list[str]:
    """How the runs of one task end, told from what a task is: one call of its works, in order."""
    deaths = [work.deaths for work in works]
    for _ in range(ATTEMPTS):
        for place, work in enumerate(works):
            if deaths[place]:
                deaths[place] -= 1
                break
            if work.raises:
                alone = [Ill(w.number, d, w.raises) for w, d in zip(works, deaths, strict=True)]
                return ["failed"] if len(works) == 1 else [end for w in alone for end in ends([w])]
        else:
            return ["done"] * len(works)
    alone = [Ill(w.number, d, w.raises) for w, d in zip(works, deaths, strict=True)]
    return ["lost"] if len(works) == 1 else [end for w in alone for end in ends([w])]


@given(ills, st.booleans())
def test_whatever_runs_do_each_has_one_row(drawn: list[tuple[int, bool, str]], in_turns: bool) -> None:
    works = [Ill(n, deaths, raises) for n, (deaths, raises, _) in enumerate(drawn)]
    groups = [group for *_, group in drawn]
    expected = {}
    for group in dict.fromkeys(groups):
        members = [n for n, g in enumerate(groups) if g == group]
        for task in [members] if group else [[n] for n in members]:
            expected |= dict(zip(task, ends([works[n] for n in task]), strict=True))
    runs = [Run(KIND, {"n": n}, f"{n}", work, groups[n]) for n, work in enumerate(works)]
    executor = Turns() if in_turns else Inline()
    with Store(Path(":memory:")) as store:
        rows = run_all(runs, store, executor, executor.hearing() if isinstance(executor, Turns) else quiet)
        assert sorted(store.rows(KIND), key=lambda row: row.spec["n"]) == rows
    errors = {"done": "", "failed": "ValueError: no {}", "lost": f"its worker died {ATTEMPTS} times (killed)"}
    assert numbers(rows) == list(range(len(works)))
    for n, row in enumerate(rows):
        assert (row.status == "done") == (expected[n] == "done")
        assert row.error == errors[expected[n]].format(n)


def all_at_once(heard: list[list[int]], broken: Sequence[int], works: Sequence[Any]) -> list[Mapping[str, Any]]:
    heard.append([work.args[0] for work in works])
    if set(heard[-1]) & set(broken):
        raise RuntimeError("these do not go together")
    return [work() for work in works]


def test_a_group_that_fails_together_is_tried_one_by_one(path: Path) -> None:
    worked, calls = Worked(), []
    worked.failing = (2,)
    together = partial(all_at_once, calls, [2])
    groups = {1: "a", 2: "a", 3: "a", 4: "b", 5: "b", 6: "c"}
    runs = [Run(KIND, {"n": n}, f"{n}", partial(worked, n), group, together) for n, group in groups.items()]
    with Store(path) as store:
        rows = run_all(runs, store, Inline(), quiet)
    assert calls == [[1, 2, 3], [4, 5]]
    assert {row.spec["n"]: row.status for row in rows} == dict.fromkeys((1, 3, 4, 5, 6), "done") | {2: "failed"}
    assert rows[1].error == "MemoryError: no room at 2"


def test_a_run_that_kills_its_worker_costs_its_group_nothing(path: Path) -> None:
    works = [Ill(1, 0, False), Ill(2, 99, False), Ill(3, 0, False)]
    runs = [Run(KIND, {"n": work.number}, f"{work.number}", work, "a") for work in works]
    with Store(path) as store:
        rows = run_all(runs, store, Inline(), quiet)
    assert [row.status for row in rows] == ["done", "failed", "done"]
    assert works[1].calls == 2 * ATTEMPTS


def test_a_group_that_gives_too_little_is_tried_one_by_one(path: Path) -> None:
    runs = [Run(KIND, {"n": n}, "", partial(Worked(), n), "a", lambda works: [works[0]()]) for n in (1, 2, 3)]
    with Store(path) as store:
        rows = run_all(runs, store, Inline(), quiet)
    assert [row.summary["square"] for row in rows] == [1, 4, 9]


@given(
    st.integers(0, 11), st.sampled_from(["interrupt", "executor", "error"]), st.lists(st.sampled_from(["", "a", "b"]))
)
def test_a_study_resumed_after_any_part_of_it_ends_alike(cut: int, how: str, groups: list[str]) -> None:
    groups = [*groups, *[""] * 12][:12]
    worked, executor = Worked(), Turns()
    runs = [Run(KIND, {"n": n}, f"{n}", partial(worked, n), groups[n]) for n in range(12)]
    stops = {"interrupt": KeyboardInterrupt, "executor": BrokenExecutor("all dead"), "error": OSError("pipe is broken")}

    def notify(done: int, total: int, text: str) -> None:
        if done >= cut:
            raise stops[how]

    with Store(Path(":memory:")) as store, Store(Path(":memory:")) as undisturbed:
        with pytest.raises((KeyboardInterrupt, BrokenExecutor, OSError)):
            run_all(runs, store, executor, executor.hearing(notify))
        stored = numbers(store.rows(KIND))
        assert set(stored) == set(worked)  # what had ended is stored, and nothing else
        for group in {groups[n] for n in stored if groups[n]}:
            assert {n for n in range(12) if groups[n] == group} <= set(stored)
        rows = run_all(runs, store, Inline(), quiet)
        assert sorted(worked) == list(range(12))  # nothing ran twice
        assert results(rows) == results(run_all(runs, undisturbed, Inline(), quiet))
        assert results(store.rows(KIND)) == results(undisturbed.rows(KIND))


def results(rows: Sequence[Row]) -> dict[str, Any]:
    return {row.key: (row.spec, row.status, row.summary, row.curves, row.error) for row in rows}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_is_an_interrupt_while_a_study_runs(path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    executor, worked = Turns(), Worked()

    def told(done: int, total: int, text: str) -> None:
        if done == 2:
            assert signal.getsignal(number) is signal.default_int_handler
            os.kill(os.getpid(), number)

    with Store(path) as store, pytest.raises(KeyboardInterrupt):
        run_all(worked.runs(), store, executor, executor.hearing(told))
    assert signal.getsignal(number) is before
    with Store(path, reading=True) as store:
        assert set(numbers(store.rows(KIND))) == set(worked)
    assert 2 <= len(worked) < 4


def large(number: int) -> dict[str, Any]:
    return {"summary": {"square": number**2}, "curves": {"loss": [number / 7] * 300}}


@given(st.integers(4, 30), st.integers(1, 5), st.booleans())
def test_a_full_disk_keeps_what_it_has_room_for(pages: int, size: int, in_turns: bool) -> None:
    runs = [Run(KIND, {"n": n}, f"{n}", partial(large, n), f"group {n // size}") for n in range(20)]
    executor = Turns() if in_turns else Inline()
    notify = executor.hearing() if isinstance(executor, Turns) else quiet
    with Store(Path(":memory:")) as store:
        store.write([])  # which makes the file
        store._db.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(InputError, match=r"is full.*the same command goes on from there") as said:
            run_all(runs, store, executor, notify)
        kept = numbers(store.rows(KIND))
        assert f"; {len(kept)} of 20 runs are stored" in str(said.value)
        assert pages < 12 or len(kept) >= size
        assert all(kept.count(n // size * size) for n in kept)  # groups are whole
        assert len(kept) == len({m for n in kept for m in range(n // size * size, min(20, n // size * size + size))})
        assert isinstance(executor, Inline) or all(future.cancelled() for future, _ in executor.given)
        store._db.execute("pragma max_page_count = 100000")
        assert [row.summary["square"] for row in run_all(runs, store, Inline(), quiet)] == [n**2 for n in range(20)]
        assert store._db.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_disk_that_is_full_for_a_worker_blames_no_run(path: Path) -> None:
    def full() -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    worked = Worked()
    with Store(path) as store:
        with pytest.raises(InputError, match="No space left on device; 2 of 3 runs are stored"):
            run_all([*worked.runs(1, 2), Run(KIND, {"n": 0}, "", full)], store, Inline(), quiet)
        assert {row.spec["n"]: row.status for row in store.rows(KIND)} == {1: "done", 2: "done"}


def test_what_another_driver_stores_meanwhile_is_left_to_it(path: Path) -> None:
    worked, executor, heard = Worked(), Turns(), []

    def notify(done: int, total: int, text: str) -> None:
        heard.append((done, text))
        if text == "number 1: done":
            with Store(path) as other:
                for n in (2, 8, 10):
                    other.put(KIND, {"n": n}, summary={"square": n**2}, curves={})

    runs = [*worked.runs(*range(1, 10)), *worked.runs(10, 11, group="both")]
    with Store(path) as store:
        rows = run_all(runs, store, executor, executor.hearing(notify))
        assert numbers(rows) == list(range(1, 12))
        assert len(store.rows(KIND)) == 11
    assert [row.summary["square"] for row in rows] == [n**2 for n in range(1, 12)]
    assert sorted(worked) == [n for n in range(1, 12) if n != 8]
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert "number 8: stored by another driver meanwhile" in [text for _, text in heard]


def test_two_drivers_on_one_store_both_finish(path: Path) -> None:
    def drive(executor: Executor, order: Callable[[Any], Any]) -> list[Row]:
        runs = list(order([Run(KIND, {"n": n}, f"{n}", partial(large, n), f"{n // 3}" * (n < 60)) for n in range(150)]))
        with Store(path) as store:
            return run_all(runs, store, executor, quiet)

    with ThreadPoolExecutor(2) as drivers, ThreadPoolExecutor(2) as one, ThreadPoolExecutor(2) as other:
        both = [drivers.submit(drive, one, list), drivers.submit(drive, other, reversed)]
        for future in both:
            assert sorted(numbers(future.result())) == list(range(150))
    db = sqlite3.connect(path)
    assert db.execute("select count(*), count(distinct key) from runs").fetchone() == (150, 150)
    db.close()
    assert list(path.parent.iterdir()) == [path]
