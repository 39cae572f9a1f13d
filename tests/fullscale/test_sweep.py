"""Training runs as a study: what a worker gives back, and how runs and outcomes are said in a few words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shades import shades

from evidence.store import Store
from fullscale.outcome import Outcome
from fullscale.spec import RunSpec
from fullscale.sweep import KIND, as_row, local_executor, outcome, run_all, title

SPEC = RunSpec("d", 0.02, "sgd", "l2", lr=0.1, strength=1e-3, batch=4, epochs=1, seed=0)


def test_a_run_as_a_row() -> None:
    bad = Outcome("diverged", "the loss is nan in epoch 2 of 3", {"steps": 9}, {"loss": [2.0]})
    told = {"status": "diverged", "error": bad.error, "summary": {"steps": 9}, "curves": {"loss": [2.0]}}
    assert as_row(bad) == told


def test_runs_and_outcomes_in_words(tmp_path: Path) -> None:
    assert title(SPEC) == "sgd, l2 0.001, lr 0.1, seed 0"
    assert title(replace(SPEC, coupling="none", strength=0.0)) == "sgd, no regularizer, lr 0.1, seed 0"
    summary = {"inactive_by_activation": 0.1, "test_error": 0.05, "seconds": 4.0}
    with Store(tmp_path / "results.sqlite") as store:
        done = store.put(KIND, {}, summary=summary, curves={})
        diverged = store.put(KIND, {}, status="diverged", error="nan", summary={}, curves={})
    assert outcome(done) == "10.0% of filters inactive, test error 5.0%, 4 s"
    assert outcome(diverged) == "diverged, nan"


def test_processes_train_and_a_diverged_run_is_stored(tmp_path: Path) -> None:
    images = shades(8)
    spec = replace(SPEC, digest=images.digest)
    heard: list[str] = []
    with Store(tmp_path / "results.sqlite") as store, local_executor(images, workers=1) as executor:
        specs = [spec, replace(spec, lr=1e30)]
        done, diverged = run_all(specs, store, executor, lambda done, total, text: heard.append(text))
        assert store.get(KIND, spec.as_dict()) == done
    assert heard[0] == "running, in this order: sgd, l2 0.001, lr 0.1, seed 0; sgd, l2 0.001, lr 1e+30, seed 0"
    assert (done.status, diverged.status) == ("done", "diverged")
    assert done.summary["certificate"]["held_out_images"] == 8
