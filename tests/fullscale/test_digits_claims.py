"""Every claim on the CNN can come out each of three ways, and a diverged seed decides nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from console import run

from evidence.claim import judge
from evidence.registry import find_claims
from evidence.store import Store
from fullscale import claims
from fullscale.digits_study import CURVES, OPTIMIZERS, STRENGTH, STUDY
from fullscale.lr_grid import kept, rates
from fullscale.studies.conduct import planned
from fullscale.studies.images import keep

CLAIM = {claim.id: claim for claim in find_claims(experiments=("pocket", "grid", "thresholds"))}
SEEDS = 5
# Shares a seed: close together, or on both sides of any threshold in between.
STEADY, NOISY = 1e-4 * np.arange(SEEDS), np.array([0.0, 0.3, 0.0, 0.35, 0.0])


def end(strength: float, *optimizers: str) -> dict[str, Any]:
    """Where these optimizers' networks stand after training."""
    return {"optimizer": list(optimizers), "strength": strength, "epoch": 2}


def cnn(*, adaptive: Any = 0.2, plain: Any = 0.0, unregularized: Any = 0.0, change: Any = 0.0) -> xr.Dataset:
    """Inactive shares at the end of training, and by how much removal changes the error."""
    axes = ("optimizer", "strength", "seed")
    coords = {"optimizer": list(OPTIMIZERS), "strength": [0.0, STRENGTH], "seed": range(SEEDS)}
    # Only the end of training counts: what was before says something else.
    inactive = xr.DataArray(np.full((4, 2, SEEDS, 3), 0.9), coords | {"epoch": range(3)}, (*axes, "epoch"))
    inactive.loc[end(STRENGTH, "adam", "rmsprop")] = STEADY + adaptive
    inactive.loc[end(STRENGTH, "sgd", "momentum")] = STEADY + plain
    inactive.loc[end(0.0, *OPTIMIZERS)] = STEADY + unregularized
    before = xr.DataArray(np.full((4, 2, SEEDS), 0.05), coords, axes)
    lost = xr.where(inactive.strength > 0, 0.2, 0.0) + xr.zeros_like(before)
    data = {"inactive_by_activation": inactive, "error_before": before, "error_after": before + change}
    return xr.Dataset(data | {"removed": lost})


def grid(adaptive: float | np.ndarray, plain: float, worse: float = 0.0) -> dict[str, Any]:
    """A learning-rate grid with two rates an optimizer; the second has an accuracy lower by `worse` and no sparsity."""
    cells = []
    for name in OPTIMIZERS:
        share = adaptive if name in ("adam", "rmsprop") else plain
        for lr, accuracy, inactive in ((1e-2, 0.98, share), (1e-3, 0.98 - worse, 0.0)):
            each = {"accuracy": list(accuracy + STEADY), "inactive_by_activation": list(STEADY + inactive)}
            cells.append({"optimizer": name, "lr": lr, "status": "done", "accuracy": accuracy, "each": each})
    return {"cells": cells, "chosen": {c["optimizer"]: c for c in cells if c["lr"] == 1e-2}}


def swept(activation: list[float], scale: list[float]) -> xr.Dataset:
    """Decades over which a share is flat, one a seed."""
    return xr.Dataset({"flat": (("measure", "seed"), [activation, scale])}, {"measure": ["activation", "scale"]})


# By verdict: holds, fails, undecided.
CASES: dict[str, list[Callable[[], Any]]] = {
    "S1": [
        lambda: cnn(adaptive=0.2),
        lambda: cnn(adaptive=0.001, plain=0.5, unregularized=0.5),
        lambda: cnn(adaptive=NOISY, plain=0.5),
    ],
    "S2": [
        lambda: cnn(unregularized=-STEADY),
        lambda: cnn(unregularized=-STEADY + np.array([0, 0, 1 / 232, 0, 0])),
    ],
    "S3": [
        lambda: cnn(adaptive=0.2, plain=0.1, unregularized=0.5),
        lambda: cnn(adaptive=0.2, plain=0.3),
        lambda: cnn(adaptive=NOISY, plain=0.1),
    ],
    "S3 any lr": [
        lambda: grid(0.3, 0.1, worse=0.01),
        lambda: grid(0.3, 0.1),  # validation cannot tell the second rate from the first
        lambda: grid(NOISY, 0.1, worse=0.01),
    ],
    "S9": [
        lambda: cnn(change=0.0),
        lambda: cnn(change=0.02),
        lambda: cnn(change=np.array([0.0, 0.0, 0.02, 0.0, -0.01])),
    ],
}
# Decades of the measure that the claim is on, and of the other one, which has no say.
FLAT = (([9.0, 10.0, 11.0], [0.0] * 3), ([1.0, 2.0, 1.0], [9.0] * 3), ([1.0, 9.0, 2.0], [9.0] * 3))
CASES["S9 thresholds activation"] = [partial(swept, own, other) for own, other in FLAT]
CASES["S9 thresholds scale"] = [partial(swept, other, own) for own, other in FLAT]


@pytest.mark.parametrize("claim", CLAIM)
def test_every_claim_can_come_out_each_way(claim: str) -> None:
    found = [judge(CLAIM[claim], data()).verdict for data in CASES[claim]]
    assert found == ["holds", "fails", "undecided"][: len(found)]


@pytest.mark.parametrize(
    ("claim", "optimizer", "strength"),
    [("S1", "adam", STRENGTH), ("S2", "sgd", 0.0), ("S3", "rmsprop", STRENGTH), ("S3", "momentum", STRENGTH)],
)
def test_a_diverged_seed_leaves_the_claim_undecided(claim: str, optimizer: str, strength: float) -> None:
    data = CASES[claim][0]()
    data["inactive_by_activation"].loc[end(strength, optimizer) | {"seed": 1}] = math.nan
    assert judge(CLAIM[claim], data).verdict == "undecided"


def test_the_sparsest_of_the_others_stands_against_the_least_sparse_adaptive() -> None:
    data = cnn(adaptive=0.2, plain=0.05)
    data["inactive_by_activation"].loc[end(STRENGTH, "rmsprop")] = 0.5
    data["inactive_by_activation"].loc[end(STRENGTH, "momentum")] = 0.15
    estimate = judge(CLAIM["S3"], data).estimate
    assert estimate.value == pytest.approx(100 * (0.2 + STEADY.mean() - 0.15))
    assert (estimate.n, estimate.unit) == (SEEDS, "percentage points")


def test_the_worst_network_speaks_for_all_without_a_regularizer() -> None:
    data = cnn(unregularized=-STEADY)
    data["inactive_by_activation"].loc[end(0.0, "momentum") | {"seed": 3}] = 0.4
    estimate = judge(CLAIM["S2"], data).estimate
    assert (estimate.low, estimate.high, estimate.n) == (0, pytest.approx(40), 4 * SEEDS)


def test_no_kept_learning_rate_lies_at_an_end_of_its_row() -> None:
    found = kept()
    for name, row in rates().items():
        assert {c["lr"] for c in found["cells"] if c["optimizer"] == name} == set(row)
        assert min(row) < found["chosen"][name]["lr"] < max(row)


def test_only_networks_that_lost_filters_bear_on_what_removal_does() -> None:
    data = cnn(change=0.0)
    data["error_after"].loc[{"strength": 0.0}] = 0.9
    found = judge(CLAIM["S9"], data)
    assert (found.verdict, found.estimate.n) == ("holds", 4 * SEEDS)
    # A network that became worse overturns it, and a diverged one is passed over.
    data["error_after"].loc[{"strength": STRENGTH, "optimizer": "adam", "seed": 0}] = 0.06
    data["error_after"].loc[{"strength": STRENGTH, "optimizer": "adam", "seed": 1}] = math.nan
    found = judge(CLAIM["S9"], data)
    assert (found.verdict, found.estimate.n) == ("undecided", 4 * SEEDS - 1)
    assert found.estimate.high == pytest.approx(1)


def stored_runs(store: Store, left_out: int) -> None:
    """The digits study in a store, but for its last runs; each with the numbers that claims look at."""
    [plan] = planned(STUDY)
    keep(store, STUDY.name, plan.found)
    shares = [0.5, 0.5]
    found = {
        "sparsity": dict.fromkeys(("activation", "scale"), shares),
        "error": dict.fromkeys(("activation", "scale"), shares),
    }
    certificate = {
        "held_out_difference": 0.0, "random_difference": 0.0, "error_before": 0.1, "error_after": 0.1,
        "parameters_before": 2, "parameters_after": 1, "multiply_adds_before": 2, "multiply_adds_after": 1,
    }  # fmt: skip
    facts = {"thresholds": [1e-12, 1e-3], "error_before": 0.0, "filters": 4, "images": 10, "test_images": 10} | found
    summary = {"removal": {"share": 0.5}, "certificate": certificate, "channels": [4]}
    curves = {"epoch": [1.0], **{name: [0.25] for name in CURVES}}
    for spec in plan.specs[: len(plan.specs) - left_out]:
        more = {"thresholds": facts} if spec.thresholds else {}
        store.put("train", spec.as_dict(), summary=summary | more, curves=curves)


def test_an_incomplete_study_has_no_verdict_and_says_why(tmp_path: Path) -> None:
    with Store(tmp_path / "results.sqlite") as store:
        stored_runs(store, left_out=1)
        data, incomplete = claims.stored(store)
        assert not {"pocket", "thresholds"} & set(data)
        assert incomplete == dict.fromkeys(("pocket", "thresholds"), "incomplete: 23 of 24 runs are stored")
    line = (
        "incomplete: 23 of 24 runs are stored; no verdict before undertow reproduce: S9 thresholds activation, S9 thresholds "
        "scale"
    )
    assert run("claims", "S9 thresholds", "--out", tmp_path).out == f"{line}\n"
    said = run("claims", "S9 thresholds", "--json", "--out", tmp_path)
    assert (json.loads(said.out), said.problems) == ([], [line])
    with Store(tmp_path / "results.sqlite") as store:
        stored_runs(store, left_out=0)
        data, incomplete = claims.stored(store)
        assert incomplete == {}
        assert {"pocket", "thresholds"} <= set(data)
    assert "incomplete" not in run("claims", "S9 thresholds", "--out", tmp_path).out
