"""Training runs as a study: what a worker gives back, and how runs and outcomes are said in a few words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shades import shades

from evidence.store import Store
from fullscale.outcome import Outcome
from fullscale.spec import RunSpec
from fullscale.sweep import KIND, as_row, local_executor, outcome, run_all, title

SPEC = RunSpec("d", 0.02, "sgd", "l2", lr=0.1, strength=1e-3, batch=4, epochs=1, seeds=(0, 1))


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


def test_runs_and_outcomes_in_words(tmp_path: Path) -> None:
    assert title(SPEC) == "sgd, l2 0.001, lr 0.1"
    assert title(replace(SPEC, coupling="none", strength=0.0)) == "sgd, no regularizer, lr 0.1"
    seed = {"seed": 0, "status": "done", "inactive_by_activation": 0.1, "test_error": 0.05, "seconds": 4.0}
    with Store(tmp_path / "results.sqlite") as store:
        done = store.put(KIND, {}, summary={"seeds": [seed]}, curves={})
        diverged = store.put(KIND, {}, status="diverged", error="seed 0: nan", summary={}, curves={})
    assert outcome(done) == "10.0 to 10.0% of filters inactive, test error 5.0%, 1 seeds, 4 s"
    assert outcome(diverged) == "diverged, seed 0: nan"


def test_processes_train_and_a_diverged_run_is_stored(tmp_path: Path) -> None:
    images = shades(8)
    spec = replace(SPEC, digest=images.digest)
    heard: list[str] = []
    with Store(tmp_path / "results.sqlite") as store, local_executor(images, workers=1) as executor:
        specs = [spec, replace(spec, lr=1e30)]
        done, diverged = run_all(specs, store, executor, lambda done, total, text: heard.append(text))
        assert store.get(KIND, spec.as_dict()) == done
    assert heard[0] == "running, in this order: sgd, l2 0.001, lr 0.1; sgd, l2 0.001, lr 1e+30"
    assert (done.status, diverged.status) == ("done", "diverged")
    assert diverged.summary["seeds"][0]["status"] == "diverged"
    assert [s["seed"] for s in done.summary["seeds"]] == [0, 1]
    assert all(s["certificate"]["held_out_images"] == 8 for s in done.summary["seeds"])
