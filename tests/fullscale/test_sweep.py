"""Training runs as a study: what a worker gives back, and how runs and outcomes are said in a few words."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.errors import InputError
from evidence.store import Store
from fullscale.data import load, prepared
from fullscale.outcome import Outcome
from fullscale.spec import RunSpec, together_key
from fullscale.sweep import KIND, TOGETHER, as_row, check_row, outcome, runs_of, title, together

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
    [run] = runs_of([spec], ["digits"], [1e4])
    row = pickle.loads(pickle.dumps(run.work))()
    assert (run.kind, run.spec, row["status"]) == (KIND, spec.as_dict(), "done")
    assert row["summary"]["certificate"]["held_out_images"] == len(images.test.labels)
    with pytest.raises(InputError, match="digest d of the spec is not that of the images"):
        runs_of([replace(spec, digest="d")], ["digits"], [1e4])[0].work()


@given(st.lists(st.sampled_from([(0.02, "sgd"), (0.02, "adam"), (0.04, "adam"), (0.02, "lars")]), max_size=60))
def test_groups_share_their_shape_and_are_cut_by_what_is_asked_for(kinds: list[tuple[float, str]]) -> None:
    asked = [replace(SPEC, width=w, optimizer=name, seed=k) for k, (w, name) in enumerate(kinds)]
    groups = together(asked, ["digits"] * len(asked), [spec.optimizer != "lars" for spec in asked])
    members: dict[str, list[RunSpec]] = {}
    for spec, group in zip(asked, groups, strict=True):
        members.setdefault(group, []).append(spec)
    alone = members.pop("", [])
    for found in members.values():
        assert len({together_key(spec) for spec in found}) == 1
        assert 1 < len(found) <= TOGETHER
    assert {spec.seed for spec in asked if spec.optimizer == "lars"} <= {spec.seed for spec in alone}
    for width in (0.02, 0.04):
        sizes = [len(found) for found in members.values() if found[0].width == width]
        sizes += [1] * sum(spec.width == width and spec.optimizer != "lars" for spec in alone)
        assert not sizes or (max(sizes) - min(sizes) <= 1 and (len(sizes) % 2 == 0 or sizes == [1]))
    # Other images are another group.
    apart = together(asked, [str(k) for k in range(len(asked))], [True] * len(asked))
    assert set(apart) <= {""}
    # So does what is too large to gain by it.
    assert set(together(asked, ["digits"] * len(asked), [False] * len(asked))) <= {""}


def test_a_group_is_trained_as_one_and_comes_back_in_order() -> None:
    images = prepared(load("digits"), ("0", "1"), 4)
    spec = replace(SPEC, digest=images.digest, classes=("0", "1"), size=4, batch=64)
    specs = [spec, replace(spec, optimizer="adam", lr=1e-3), replace(spec, lr=1e30), replace(spec, seed=1)]
    runs = runs_of(specs, ["digits"] * 4, [1e4] * 4)
    # What pays depends on the device.
    assert {run.group for run in runs_of(specs, ["digits"] * 4, [1e8] * 4)} == {""}
    assert {run.group for run in runs_of(specs, ["digits"] * 4, [1e8] * 4, "cuda:1")} != {""}
    assert len({run.group for run in runs}) == 2
    assert runs[0].group != ""
    rows = runs[0].together([pickle.loads(pickle.dumps(run.work)) for run in runs])
    assert [row["status"] for row in rows] == ["done", "done", "diverged", "done"]
    for run, row in zip(runs, rows, strict=True):
        lone = run.work()  # to the last bit: what else is asked for, or stored, has no say in a run
        for found in (row, lone):
            found["summary"].pop("seconds")
        assert row == lone
    # In batches of other numbers, in bfloat16, and where it does not pay, a run goes as it goes by itself.
    for change in ({"batch": 20}, {"precision": "bf16"}, {"optimizer": "lars"}):
        apart = runs_of([replace(one, **change) for one in specs], ["digits"] * 4, [1e4] * 4)
        assert {(run.group, run.work.args[3]) for run in apart} == {("", False)}


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("spec", {"seed": "0"}),
        ("spec", {"lr": None}),
        ("summary", {"test_error": "x"}),
        ("summary", {"seconds": math.inf}),
        ("summary", {"removal": []}),
        ("summary", {"certificate": {"multiply_adds_before": 0}}),
        ("curves", {"loss": 1}),
        ("curves", {"loss": [1.0, 2.0]}),
        ("curves", {"loss": [None]}),
    ],
)
def test_a_stored_run_of_another_form_is_refused(tmp_path: Path, part: str, change: dict[str, object]) -> None:
    parts = {
        "summary": {"test_error": 0.1, "certificate": {"multiply_adds_before": 10}},
        "curves": {"epoch": [1.0], "loss": [0.5], "filters": {}},
        "spec": SPEC.as_dict(),
    }
    with Store(tmp_path / "results.sqlite") as store:
        store.put(KIND, parts.pop("spec"), **parts)
        assert len(store.rows(KIND, check=check_row)) == 1
        spec = SPEC.as_dict() | (change if part == "spec" else {})
        store.put(KIND, spec, **parts | ({part: parts[part] | change} if part != "spec" else {}))
        with pytest.raises(InputError, match=r"is damaged or locked \((spec|summary|curve)"):
            store.rows(KIND, check=check_row)
