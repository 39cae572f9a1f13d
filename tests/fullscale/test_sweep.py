"""Training runs as a study: what a worker gives back, and how runs and outcomes are said in a few words."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from dynamics.errors import InputError
from evidence.store import Store
from fullscale.data import load, prepared
from fullscale.outcome import Outcome
from fullscale.spec import RunSpec
from fullscale.sweep import KIND, as_row, outcome, runs_of, title

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


def test_a_worker_reads_the_images_by_itself_and_refuses_others() -> None:
    images = prepared(load("digits"), ("0", "1"), 4)
    spec = replace(SPEC, digest=images.digest, classes=("0", "1"), size=4, batch=64)
    [run] = runs_of([spec], ["digits"])
    row = pickle.loads(pickle.dumps(run.work))()
    assert (run.kind, run.spec, row["status"]) == (KIND, spec.as_dict(), "done")
    assert row["summary"]["certificate"]["held_out_images"] == len(images.test.labels)
    with pytest.raises(InputError, match="digest d of the spec is not that of the images"):
        runs_of([replace(spec, digest="d")], ["digits"])[0].work()
