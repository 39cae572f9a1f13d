"""Every claim on the worlds of a BatchNorm + ReLU feature can come out either way, and reads only what bears on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtr

import synthetic.claims  # noqa: F401
from evidence.claim import judge
from evidence.registry import find_claims

CLAIM = {claim.id: claim for claim in find_claims(experiments=("feature", "compete", "cone", "residue", "walk"))}
RULES = ["sgd", "momentum", "adam", "rmsprop"]
PLAIN, ADAPTIVE = RULES[:2], RULES[2:]
SEEDS = 6
STEADY = 1e-3 * np.arange(SEEDS)
NOISY = np.array([-0.4, 0.5, -0.3, 0.4, -0.45, 0.35])
STRENGTHS, REFERENCE = [1e-3, 1e-2], 1e-2


def zeros(dims: dict[str, Any], names: list[str]) -> xr.Dataset:
    shape = [len(values) for values in dims.values()]
    data = xr.Dataset({name: (tuple(dims), np.zeros(shape)) for name in names}, dims)
    return data.assign_attrs(reference=REFERENCE)


def cells(couplings: list[str]) -> dict[str, Any]:
    return {"optimizer": RULES, "coupling": couplings, "strength": STRENGTHS}


def feature() -> xr.Dataset:
    """gamma = 1 and beta = -1 with the normal law's share of silent images; nothing certified, nothing inactive."""
    dims = cells(["none", "l2", "decoupled_lr", "decoupled_schedule"]) | {
        "selectivity": [0.5, 0.9],
        "seed": range(SEEDS),
    }
    names = ["inactive", "silent_images", "gamma", "beta", "certified_steps", "violations", "reborn"]
    data = zeros(dims, names)
    data["gamma"] += 1
    data["beta"] -= 1
    data["silent_images"] += ndtr(1.0) + STEADY
    data["bound"] = (("law", "other"), np.array([[0.9, 1.0]]))
    return data


def compete() -> xr.Dataset:
    """Nothing inactive anywhere, all costs alike, live features half selective."""
    network = cells(["none", "l2", "decoupled_lr"])
    single = network | {"selectivity": [0.5, 0.9], "copy": [0, 1], "seed": range(SEEDS)}
    data = zeros(single, ["inactive", "small", "selective"])
    data["selective"] += 0.5
    orders = ["most selective first", "random", "least selective first"]
    data = data.merge(zeros(network | {"seed": range(SEEDS)}, ["without_inactive", "without_small"]))
    data = data.merge(zeros(network | {"order": orders, "removed": [0.25, 0.5], "seed": range(SEEDS)}, ["cost"]))
    data["rate_inactive"] = (("optimizer", "candidate", "tuning_seed"), np.zeros((4, 3, 4)))
    return data.assign_attrs(reference=REFERENCE)


def cone() -> xr.Dataset:
    data = xr.Dataset(
        {
            "drift": (("update", "start"), np.array([[0, 1e-14], [1e-15, 0], [3.0, 9.0]])),
            "death": (("beta2", "ratio"), np.array([[101.0, 200.0], [900.0, 901.0]])),
            "predicted": (("beta2", "ratio"), np.array([[100.0, 201.0], [np.nan, np.nan]])),
            "passage": (("share", "target"), np.array([[100.0, 400.0], [50.0, 199.0]])),
        }
    )
    return data.assign_coords(update=["sgd", "adamw", "adam_l2"])


def residue() -> xr.Dataset:
    return xr.Dataset({"revival": ("residue", np.array([0.9, 1.1])), "predicted": ("residue", np.array([0.92, 1.09]))})


def walk() -> xr.Dataset:
    collapsed = (("size", "seed"), 0.5 + np.stack([STEADY, -STEADY]))
    return xr.Dataset({"collapsed": collapsed, "predicted": ("size", np.array([0.5, 0.5]))})


def changed(make: Callable[[], xr.Dataset], name: str, where: dict[str, Any], values: Any) -> Callable[[], xr.Dataset]:
    """`make` with `values` added to `name` at `where`; a vector runs over the last dimension, the seed."""

    def build() -> xr.Dataset:
        data = make()
        data[name].loc[where] = data[name].loc[where] + values
        return data

    return build


def both(
    *changes: tuple[str, dict[str, Any], Any], make: Callable[[], xr.Dataset] = compete
) -> Callable[[], xr.Dataset]:
    for name, where, values in changes:
        make = changed(make, name, where, values)
    return make


AT = {"coupling": "l2", "strength": REFERENCE}
NONE = {"coupling": "none", "strength": REFERENCE}


def inactive(where: dict[str, Any], values: Any, make: Callable[[], xr.Dataset]) -> Callable[[], xr.Dataset]:
    return changed(make, "inactive", where, values)


def cost(order: str, values: Any) -> Callable[[], xr.Dataset]:
    return changed(compete, "cost", AT | {"order": order, "removed": 0.25}, values)


def doses(first: float, second: float, values: Any = 0.0) -> Callable[[], xr.Dataset]:
    low, high = ({"optimizer": ADAPTIVE, "coupling": "l2", "strength": s} for s in STRENGTHS)
    return both(("inactive", low, first), ("inactive", high, second + values))


def rates(*levels: Any) -> Callable[[], xr.Dataset]:
    def build() -> xr.Dataset:
        data = compete()
        data["rate_inactive"][2:] = np.stack([np.broadcast_to(level, 4) for level in levels])
        return data

    return build


CASES: dict[str, dict[str, Callable[[], xr.Dataset]]] = {
    "E1": {
        "holds": feature,
        "fails": changed(feature, "silent_images", {}, 0.1),
        "undecided": changed(feature, "silent_images", {}, NOISY),
    },
    "E2": {
        "holds": changed(feature, "certified_steps", {"optimizer": "adam"}, 7),
        "fails": both(
            ("certified_steps", {"optimizer": "adam"}, 7),
            ("violations", {"optimizer": "adam", "seed": 1, "selectivity": 0.9}, 1),
            make=feature,
        ),
        "undecided": feature,
    },
    "E2 bound": {"holds": feature, "fails": changed(feature, "bound", {}, 1e-6)},
    "E2 for good": {
        "holds": changed(feature, "certified_steps", {"optimizer": "adam"}, 7),
        "fails": both(
            ("certified_steps", {"optimizer": "adam"}, 7), ("reborn", {"optimizer": "adam", "seed": 1}, 1), make=feature
        ),
        "undecided": feature,
    },
    "E4 sgd": {"holds": cone, "fails": changed(cone, "drift", {"update": "adamw"}, 1e-3)},
    "E4 adam": {
        "holds": cone,
        "fails": changed(cone, "death", {}, 50.0),
        "fails in one sample": changed(cone, "death", {}, np.array([0.0, 50.0])),
    },
    "E5": {
        "holds": residue,
        "fails": changed(residue, "revival", {}, np.array([0.3, -0.3])),
        "fails in one sample": changed(residue, "revival", {}, np.array([0.3, 0.0])),
    },
    "E6": {
        "holds": cone,
        "fails": changed(cone, "passage", {}, np.array([0.0, 90.0])),
        "fails in one sample": changed(cone, "passage", {}, np.array([[0.0, 90.0], [0.0, 0.0]])),
    },
    "E10": {
        "holds": walk,
        "fails": changed(walk, "collapsed", {}, 0.1),
        "undecided": changed(walk, "collapsed", {}, NOISY),
    },
    "S1 toy": {
        "holds": inactive(AT | {"optimizer": "adam"}, 0.5 + STEADY, compete),
        "fails": compete,
        "undecided": inactive(AT | {"optimizer": "adam"}, np.array([0, 0, 0, 0, 0, 1.0]), compete),
    },
    "S2 toy": {"holds": compete, "fails": inactive(NONE | {"optimizer": "sgd", "seed": 3, "copy": 1}, 1.0, compete)},
    "S2 alone": {"holds": feature, "fails": inactive(NONE | {"optimizer": "sgd", "seed": 3}, 1.0, feature)},
    "S4 schedule alone": {
        "holds": inactive(AT | {"optimizer": ADAPTIVE}, 0.5 + STEADY, feature),
        "fails": inactive({"coupling": "decoupled_schedule", "optimizer": ADAPTIVE}, 0.5 + STEADY, feature),
        "undecided": inactive(AT | {"optimizer": ADAPTIVE}, NOISY, feature),
    },
    "S4 toy": {
        "holds": inactive(AT | {"optimizer": ADAPTIVE}, 0.5 + STEADY, compete),
        "fails": inactive({"coupling": "decoupled_lr", "optimizer": ADAPTIVE}, 0.5 + STEADY, compete),
        "undecided": inactive(AT | {"optimizer": ADAPTIVE}, NOISY, compete),
    },
    "S9 toy": {
        "holds": compete,
        "fails": changed(compete, "small", AT | {"optimizer": ADAPTIVE}, 0.5),
        "undecided": changed(compete, "small", AT | {"optimizer": ADAPTIVE}, NOISY),
    },
    "S9 outputs": {
        "holds": compete,
        "fails": changed(compete, "without_inactive", {"optimizer": "sgd", "seed": 0}, 1e-6),
    },
    "S9 scale": {"holds": compete, "fails": changed(compete, "without_small", {"optimizer": "sgd", "seed": 0}, 1e-2)},
    "S11 toy": {"holds": doses(0.1, 0.2), "fails": doses(0.0, 0.0), "undecided": doses(0.0, 0.0, NOISY)},
    "S11 lr": {
        "holds": rates(0.1, 0.2, 0.3),
        "fails": rates(0.3, 0.2, 0.1),
        "undecided": rates(0.0, NOISY[:4], NOISY[:4]),
    },
    "S12 toy": {
        "holds": cost("random", 0.2 + STEADY),
        "fails": cost("random", -0.2),
        "undecided": cost("random", NOISY),
    },
    "S12 least": {
        "holds": cost("least selective first", 0.2 + STEADY),
        "fails": cost("most selective first", 0.2),
        "undecided": cost("least selective first", NOISY),
    },
}
for _claim, _make in (("S3 toy", compete), ("S3 alone", feature)):
    CASES[_claim] = {
        "holds": inactive(AT | {"optimizer": ADAPTIVE}, 0.5 + STEADY, _make),
        "fails": inactive(AT | {"optimizer": PLAIN}, 0.5 + STEADY, _make),
        "undecided": inactive(AT | {"optimizer": ADAPTIVE}, NOISY, _make),
    }
for _claim, _where in (("S7 toy", NONE), ("S7 toy L2", AT)):
    CASES[_claim] = {
        "holds": changed(compete, "selective", _where | {"optimizer": "adam"}, 0.2 + STEADY),
        "fails": changed(compete, "selective", _where | {"optimizer": "sgd"}, 0.2),
        "undecided": changed(compete, "selective", _where | {"optimizer": "adam"}, NOISY),
    }


@pytest.mark.parametrize(("claim", "verdict"), [(claim, verdict) for claim in CASES for verdict in CASES[claim]])
def test_every_claim_can_come_out_each_way(claim: str, verdict: str) -> None:
    assert judge(CLAIM[claim], CASES[claim][verdict]()).verdict == verdict.split(maxsplit=1)[0]


def test_no_claim_is_left_out_and_ids_are_unique() -> None:
    assert set(CASES) == set(CLAIM)


@pytest.mark.parametrize("claim", ["S1 toy", "S3 toy", "S4 toy", "S9 toy", "S12 toy"])
def test_other_strengths_change_nothing(claim: str) -> None:
    data = CASES[claim]["holds"]()
    before = judge(CLAIM[claim], data)
    for name in ("inactive", "small", "cost"):
        data[name].loc[{"strength": STRENGTHS[0]}] = 0.77
    assert judge(CLAIM[claim], data) == before


def test_dead_features_have_no_selectivity_and_are_left_out() -> None:
    data = CASES["S7 toy"]["holds"]()
    before = judge(CLAIM["S7 toy"], data).estimate.value
    data["selective"].loc[NONE | {"optimizer": "adam", "copy": 0}] = np.nan
    assert judge(CLAIM["S7 toy"], data).estimate.value == pytest.approx(before)


def test_a_feature_without_a_scale_bears_on_no_law() -> None:
    data = feature()
    before = judge(CLAIM["E1"], data).estimate.value
    data["gamma"].loc[{"optimizer": "adam", "seed": 0}] = 0.0
    data["beta"].loc[{"optimizer": "rmsprop", "seed": 1}] = np.nan
    assert judge(CLAIM["E1"], data).estimate.value == pytest.approx(before)


def test_estimates_carry_what_they_are_drawn_from() -> None:
    assert judge(CLAIM["S3 toy"], CASES["S3 toy"]["holds"]()).estimate.n == SEEDS
    certified = judge(CLAIM["E2"], CASES["E2"]["holds"]()).estimate
    assert certified.n == 4 * 2 * 2 * SEEDS  # couplings, strengths, selectivities, of one optimizer
    assert judge(CLAIM["E4 sgd"], cone()).estimate.n == 4
    assert judge(CLAIM["E4 adam"], cone()).estimate.n == 2
