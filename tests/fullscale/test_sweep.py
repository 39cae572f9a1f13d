"""Many runs through the store: what is stored is not run again, and nothing that ended is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence.store import Row, Store
from fullscale import sweep
from fullscale.data import Images, Split
from fullscale.outcome import Outcome
from fullscale.spec import RunSpec
from fullscale.sweep import KIND, as_row, local_executor, run_all, title, told

SPEC = RunSpec("d", 0.02, "sgd", "l2", lr=0.1, strength=1e-3, batch=4, epochs=1, seeds=(0, 1))
SPECS = [replace(SPEC, lr=lr) for lr in (0.1, 0.2, 0.3, 0.4)]


class Inline(Executor):
    """Runs what it is given at once, in this process."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


class Worked(list[float]):
    """In place of a worker: remembers the learning rates it was asked for, and fails at some."""

    failing: tuple[float, ...] = ()

    def __call__(self, spec: RunSpec) -> dict[str, Any]:
        self.append(spec.lr)
        if spec.lr in self.failing:
            raise MemoryError(f"no room at {spec.lr}")
        return {"status": "done", "error": "", "summary": {"seeds": [summary(spec.lr)]}, "curves": {"seeds": [{}]}}


def summary(lr: float) -> dict[str, Any]:
    return {"seed": 0, "status": "done", "inactive_by_activation": lr, "test_error": lr / 2, "seconds": 4.0}


def quiet(done: int, total: int, text: str) -> None:
    """A notify that keeps nothing."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "results.sqlite") as store:
        yield store


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Worked:
    worked = Worked()
    monkeypatch.setattr(sweep, "_work", worked)
    return worked


def rates(rows: list[Row]) -> list[float]:
    return [row.spec["lr"] for row in rows]


def test_rows_come_in_the_order_of_the_specs(store: Store, worked: Worked) -> None:
    rows = run_all(SPECS, store, Inline(), quiet)
    assert rates(rows) == worked == [0.1, 0.2, 0.3, 0.4]
    assert rows == [store.get(KIND, spec.as_dict()) for spec in SPECS]


def test_what_is_stored_is_not_run_again(store: Store, worked: Worked) -> None:
    run_all(SPECS[1:3], store, Inline(), quiet)
    worked.clear()
    heard: list[tuple[int, int, str]] = []
    rows = run_all(SPECS, store, Inline(), lambda *news: heard.append(news))
    assert sorted(worked) == [0.1, 0.4]
    assert rates(rows) == [0.1, 0.2, 0.3, 0.4]
    assert heard[0] == (2, 4, "2 of 4 runs are stored already")
    assert heard[1][:2] == (2, 4)
    assert heard[1][2].startswith("running, in this order: ")
    assert [news[:2] for news in heard[2:]] == [(3, 4), (4, 4)]
    worked.clear()
    assert run_all(SPECS, store, Inline(), quiet) == rows
    assert worked == []


def test_fresh_runs_everything_again(store: Store, worked: Worked) -> None:
    run_all(SPECS, store, Inline(), quiet)
    worked.clear()
    run_all(SPECS, store, Inline(), quiet, fresh=True)
    assert sorted(worked) == [0.1, 0.2, 0.3, 0.4]
    assert len(store.rows(KIND)) == 4


def test_each_run_is_stored_as_it_ends(tmp_path: Path, store: Store, worked: Worked) -> None:
    seen = []

    def notify(done: int, total: int, text: str) -> None:
        with Store(tmp_path / "results.sqlite") as other:
            seen.append((done, len(other.rows(KIND))))

    run_all(SPECS, store, Inline(), notify)
    assert seen == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]


def test_an_interrupted_sweep_goes_on_where_it_was(store: Store, worked: Worked) -> None:
    def interrupted(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(SPECS, store, Inline(), interrupted)
    kept = set(rates(store.rows(KIND)))
    assert len(kept) == 2
    worked.clear()
    assert rates(run_all(SPECS, store, Inline(), quiet)) == [0.1, 0.2, 0.3, 0.4]
    assert set(worked) == {0.1, 0.2, 0.3, 0.4} - kept


class Dying(Inline):
    """Gives up after two runs, as a pool does whose process was killed."""

    def __init__(self) -> None:
        self.left = 2

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        self.left -= 1
        if self.left >= 0:
            return super().submit(function, *arguments, **options)
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor("a worker was killed"))
        return future


def test_what_a_dying_executor_finished_is_kept(store: Store, worked: Worked) -> None:
    with pytest.raises(BrokenExecutor, match="a worker was killed"):
        run_all(SPECS, store, Dying(), quiet)
    assert worked == [0.1, 0.2]
    kept = store.rows(KIND)
    # No run is blamed for a killed worker.
    assert {row.spec["lr"]: row.status for row in kept} == {0.1: "done", 0.2: "done"}
    worked.clear()
    assert rates(run_all(SPECS, store, Inline(), quiet)) == [0.1, 0.2, 0.3, 0.4]
    assert worked == [0.3, 0.4]


def test_a_failing_run_is_stored_and_raised_once_all_others_are_stored(store: Store, worked: Worked) -> None:
    worked.failing = (0.2,)
    heard: list[str] = []
    with pytest.raises(MemoryError, match=r"no room at 0\.2"):
        run_all(SPECS, store, Inline(), lambda done, total, text: heard.append(text))
    assert {row.spec["lr"]: row.status for row in store.rows(KIND)} == {
        0.1: "done",
        0.2: "failed",
        0.3: "done",
        0.4: "done",
    }
    [failed] = [row for row in store.rows(KIND) if row.status == "failed"]
    assert failed.error == "MemoryError('no room at 0.2')"
    assert "sgd, l2 0.001, lr 0.2: failed, no room at 0.2" in heard
    worked.failing = ()
    worked.clear()
    assert {row.status for row in run_all(SPECS, store, Inline(), quiet)} == {"done"}
    assert worked == [0.2]


def test_a_diverged_seed_makes_a_diverged_row_that_keeps_the_others() -> None:
    good = Outcome(0, summary={"test_error": 0.1}, curves={"loss": [1.0]})
    bad = Outcome(1, "diverged", "the loss is nan in epoch 2 of 3", {"steps": 9}, {"loss": [2.0]})
    assert as_row([good])["status"] == "done"
    row = as_row([good, bad])
    assert (row["status"], row["error"]) == ("diverged", "seed 1: the loss is nan in epoch 2 of 3")
    assert row["summary"]["seeds"] == [
        {"seed": 0, "status": "done", "test_error": 0.1},
        {"seed": 1, "status": "diverged", "steps": 9},
    ]
    assert row["curves"]["seeds"] == [{"loss": [1.0]}, {"loss": [2.0]}]


def test_a_diverged_run_is_not_tried_again(store: Store, worked: Worked) -> None:
    store.put(KIND, SPEC.as_dict(), status="diverged", error="seed 0: nan", summary={}, curves={})
    [row] = run_all([SPEC], store, Inline(), quiet)
    assert worked == []
    assert told(row) == "diverged, seed 0: nan"


def test_runs_and_outcomes_in_words(store: Store, worked: Worked) -> None:
    assert title(replace(SPEC, coupling="none", strength=0.0)) == "sgd, no regularizer, lr 0.1"
    [row] = run_all([SPEC], store, Inline(), quiet)
    assert told(row) == "10.0 to 10.0% of filters inactive, test error 5.0%, 1 seeds, 4 s"


def test_processes_give_what_this_process_gives(store: Store) -> None:
    draws = np.random.default_rng(0)
    labels = np.arange(16, dtype=np.int64) % 2
    split = Split(draws.integers(0, 256, (16, 1, 4, 4)).astype(np.uint8), labels)
    images = Images("noise", ("a", "b"), split.take(np.arange(8)), split.take(np.arange(8, 16)))
    spec = replace(SPEC, digest=images.digest)
    with local_executor(images, workers=1) as executor:
        diverging = replace(spec, lr=1e30)
        done, diverged = run_all([spec, diverging], store, executor, quiet)
    assert (done.status, diverged.status) == ("done", "diverged")
    assert diverged.summary["seeds"][0]["status"] == "diverged"
    assert [s["seed"] for s in done.summary["seeds"]] == [0, 1]
    assert all(s["certificate"]["held_out_images"] == 8 for s in done.summary["seeds"])
    assert store.get(KIND, spec.as_dict()) == done
