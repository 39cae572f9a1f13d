"""Every claim on selectivity, visits and rests can come out each of three ways."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr

import synthetic.claims  # noqa: F401
from dynamics.rules import RULES
from evidence.claim import judge
from evidence.registry import find_claims
from synthetic.visits import ARRIVALS

CLAIM = {claim.id: claim for claim in find_claims(experiments=("selectivity", "visits", "rest"))}
SEEDS, CRITICAL = 6, 0.005
# One sample a seed: all nearly alike, or far apart on both sides.
STEADY, NOISY = 1e-4 * np.arange(SEEDS), np.array([-2.0, 2.0, -1.5, 1.5, -1.8, 1.8])
PLAIN = ("sgd", "momentum", "nesterov")
SQUARES = ("adam", "rmsprop")

Samples = float | np.ndarray


def selectivity(
    l2: dict[str, Samples] | None = None,
    decay: dict[str, Samples] | None = None,
    loss: dict[str, Samples] | None = None,
) -> xr.Dataset:
    """Pulls that are powers of 1/p. Exponents, if not given: of L2 0 under plain rules and 1/2 under adaptive ones, of
    decay 0, of the loss -1 and -1/2."""
    arrivals = np.array([1.0, 0.5, 0.25, 0.12, *(k * CRITICAL for k in (10, 4, 2, 1, 0.5))])
    coords = {"optimizer": list(RULES), "arrival": arrivals, "seed": range(SEEDS)}

    def powers(given: dict[str, Samples] | None, plain: float, adaptive: float) -> xr.DataArray:
        rows = [(given or {}).get(r, plain if r in PLAIN else adaptive) + STEADY for r in RULES]
        values = arrivals[None, :, None] ** -np.array(rows)[:, None, :]
        return xr.DataArray(values, coords, ("optimizer", "arrival", "seed"))

    pull = xr.concat([powers(l2, 0.0, 0.5), powers(decay, 0.0, 0.0)], "coupling")
    pull = pull.assign_coords(coupling=["l2", "decoupled_lr"])
    return xr.Dataset({"pull": pull, "loss": powers(loss, -1.0, -0.5)}).assign_attrs(critical=CRITICAL)


def of(rules: tuple[str, ...], samples: Samples) -> dict[str, Samples]:
    return dict.fromkeys(rules, samples)


ADAPTIVE = tuple(name for name, rule in RULES.items() if rule.adaptive)


def visits(**given: tuple[str, Samples]) -> xr.Dataset:
    """1 / sqrt(v) as predicted, as large in a look as in all, pulls alike; `given` variables of one kind of arrivals are
    multiplied by samples."""
    epochs = [25, 50, 100, 200, 400]
    coords = {"arrivals": list(ARRIVALS), "epoch": epochs, "seed": range(SEEDS)}
    one = xr.DataArray(np.ones((2, 5, SEEDS)), coords, ("arrivals", "epoch", "seed")) * np.exp(STEADY)
    data = xr.Dataset(
        {"inverse_root": 3 * one, "look": xr.full_like(one, 3.0), "on_arrival": 2 * one / one, "pull": 1 * one}
    )
    data["predicted"] = xr.full_like(one.isel(seed=0, drop=True), 1.5)
    data["predicted"].loc[{"arrivals": "independent", "epoch": [200, 400]}] = math.nan
    for name, (kind, samples) in given.items():
        data[name].loc[{"arrivals": kind}] = data[name].sel(arrivals=kind) * xr.DataArray(
            samples * np.ones(SEEDS), dims="seed"
        )
    return data.assign_attrs(critical=CRITICAL, looks=10)


def rests(*given: tuple[tuple[str, ...], str, str, Samples]) -> xr.Dataset:
    """Weights that rest where they are predicted to, at p, sqrt(p) or 1; `given`: (rules, loss, coupling, factor)."""
    rules = ["sgd", "momentum", "adam", "rmsprop", "lion"]
    coords: dict[str, Any] = {
        "optimizer": rules,
        "loss": ["restoring", "constant", "small", "noisy"],
        "coupling": ["l2", "decoupled_lr", "converted"],
        "arrival": [k * CRITICAL for k in (0.5, 1, 2, 4, 10, 20, 40)],
    }
    shape = tuple(len(values) for values in coords.values())
    predicted = xr.DataArray(np.ones(shape), coords, tuple(coords)) * xr.DataArray(coords["arrival"], dims="arrival")
    for rule, power in {"adam": 0.5, "rmsprop": 0.5, "lion": 0.0}.items():
        predicted.loc[{"optimizer": rule, "coupling": "decoupled_lr"}] = np.array(coords["arrival"]) ** power
    predicted.loc[{"loss": "small", "coupling": "l2"}] /= 4
    rest = predicted.expand_dims(seed=SEEDS).transpose(..., "seed") * np.exp(STEADY)
    for names, loss, coupling, factor in given:
        at = {"optimizer": list(names), "loss": loss, "coupling": coupling}
        rest.loc[at] = rest.loc[at] * factor
    return xr.Dataset({"rest": rest, "predicted": predicted}).assign_attrs(critical=CRITICAL)


def over_arrivals(exponent: Samples) -> np.ndarray:
    """p^exponent for each arrival and seed."""
    arrivals = CRITICAL * np.array([0.5, 1, 2, 4, 10, 20, 40])
    return np.asarray(arrivals[:, None] ** (exponent * np.ones(SEEDS)))


WIDE = np.exp(NOISY)
LINEAR = ("sgd", "momentum")
INDEPENDENT, ONCE = ARRIVALS
# Of the pulls: what is changed where the claim holds, fails and is undecided; {} changes nothing. None: a claim about every
# sample is never undecided.
PULLS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]] = {
    "S6": ({}, {"l2": {"adam": 0.0}}, {"l2": {"adam": 0.5 + NOISY}}),
    "S6 sgd": ({"l2": of(ADAPTIVE, NOISY)}, {"l2": of(PLAIN, 0.5)}, None),
    "S6 decay": (
        {"decay": of(ADAPTIVE, 0.2)},
        {"decay": of(("lamb", "schedule_free", "sgd"), 1.0)},
        None,
    ),
    "S6 decay lamb": ({"decay": {"lamb": 1.0}}, {"decay": {"adam": 1.0}}, {"decay": {"lamb": NOISY}}),
    "S6 disproportionate": ({"l2": {"adam": 1.0}}, {"l2": {"adam": 0.4}}, {"l2": {"adam": 0.5 + NOISY}}),
    "S6 half power": ({"l2": of(PLAIN, 0.0)}, {"l2": {"adadelta": 0.1}}, {"l2": {"adadelta": 0.4 + NOISY}}),
    "S6 every adaptive": ({}, {"l2": {"lion": 0.05}}, {"l2": {"lion": 0.1 + NOISY}}),
    "S6 balance": ({"l2": {"adam": 1.0}}, {}, {"loss": {"adam": -0.5 + NOISY}}),
    "S6 balance sgd": ({"loss": {"sgd": 0.0}}, {}, {"loss": {"sgd": NOISY}}),
    "S6 balance decay": ({}, {"loss": {"adam": -1.5}}, {"loss": {"adam": -1.0 + NOISY}}),
    "S6 balance critical": ({"l2": {"adam": 1.0}}, {}, {"l2": {"adam": 0.6 + 0.2 * NOISY}}),
}
# Of visits: the variable and the kind of arrivals, and the factor on the prediction where the claim fails. The factor
# scatters where it is undecided, and it holds as predicted, or where `HOLDS` says otherwise.
VISITS: dict[str, tuple[str, str, float]] = {
    "B5": ("inverse_root", INDEPENDENT, 1.2),
    "B5 critical": ("look", INDEPENDENT, 1.0),
    "B5 bounded": ("look", INDEPENDENT, 0.3),
    "B5 epoch": ("look", ONCE, 0.3),
    "B5 epoch formula": ("inverse_root", ONCE, 1.2),
    "B5 visits": ("pull", ONCE, 0.4),
}
HOLDS: dict[str, Any] = {claim: {"look": (INDEPENDENT, 0.3)} for claim in ("B5 critical", "B5 epoch")}
# Of rests: rules, loss and coupling, and the factor on the prediction, or the exponent of p, where the claim fails.
RESTS: dict[str, tuple[tuple[str, ...], str, str, float]] = {
    "B6": (SQUARES, "restoring", "l2", 0.9),
    "B6 linear": (LINEAR, "restoring", "l2", 0.9),
    "B6 naive": (SQUARES, "restoring", "l2", 0.6),
    "B7 l2": (LINEAR + SQUARES, "constant", "l2", 0.9),
    "B7 l2 lion": (("lion",), "constant", "l2", 0.9),
    "B7 decay slope": (SQUARES, "constant", "decoupled_lr", 0.5),
    "B7 decay slope sgd": (LINEAR, "constant", "decoupled_lr", -0.5),
    "B7 decay slope lion": (("lion",), "constant", "decoupled_lr", 0.5),
    "B9": (("adam",), "small", "decoupled_lr", 0.25),
    "B9 l2": (("adam",), "small", "l2", 4.0),
    "B10": (("adam", "rmsprop", "momentum"), "noisy", "l2", 0.8),
}


def data_of(claim: str, verdict: str) -> xr.Dataset:
    if claim in PULLS:
        return selectivity(**PULLS[claim][["holds", "fails", "undecided"].index(verdict)])
    if claim in VISITS:
        name, kind, wrong = VISITS[claim]
        return visits(
            **HOLDS.get(claim, {}) if verdict == "holds" else {name: (kind, wrong if verdict == "fails" else WIDE)}
        )
    rules, loss, coupling, wrong = RESTS[claim]
    scale = over_arrivals if "slope" in claim else np.asarray
    factor = scale(wrong) if verdict == "fails" else over_arrivals(NOISY) if "slope" in claim else WIDE
    return rests() if verdict == "holds" else rests((rules, loss, coupling, factor))


EACH = [
    (claim, verdict)
    for claim in (*PULLS, *VISITS, *RESTS)
    for verdict in ("holds", "fails", "undecided")
    if verdict != "undecided" or PULLS.get(claim, ({}, {}, {}))[2] is not None
]


@pytest.mark.parametrize(("claim", "verdict"), EACH)
def test_every_claim_can_come_out_each_way(claim: str, verdict: str) -> None:
    assert judge(CLAIM[claim], data_of(claim, verdict)).verdict == verdict


def test_one_sample_refutes_a_claim_about_every_rule() -> None:
    assert judge(CLAIM["S6 sgd"], selectivity({"nesterov": 0.5})).verdict == "fails"
    assert judge(CLAIM["S6 decay"], selectivity(decay=of(ADAPTIVE, 0.2) | {"lion": 0.0})).verdict == "fails"


# Of each claim about every rule and arrival one cell: its coordinates, and its name. The others of that axis hold.
ONE_CELL = {
    "B6": ("restoring", "l2", {"optimizer": "rmsprop", "arrival": 3}, "rmsprop, arrival 0.02"),
    "B6 linear": ("restoring", "l2", {"optimizer": "momentum", "arrival": 0}, "momentum, arrival 0.0025"),
    "B7 l2": ("constant", "l2", {"optimizer": "sgd", "arrival": 6}, "sgd, arrival 0.2"),
    "B7 l2 lion": ("constant", "l2", {"optimizer": "lion", "arrival": 4}, "arrival 0.05"),
    "B9": ("small", "decoupled_lr", {"optimizer": "adam", "arrival": 5}, "arrival 0.1"),
    "B9 l2": ("small", "l2", {"optimizer": "adam", "arrival": 5}, "arrival 0.1"),
    "B10": ("noisy", "l2", {"optimizer": "momentum", "arrival": 6}, "momentum, arrival 0.2"),
}


@pytest.mark.parametrize("claim", ONE_CELL)
def test_one_cell_refutes_a_claim_about_all_and_is_named(claim: str) -> None:
    loss, coupling, cell, name = ONE_CELL[claim]
    data = rests()
    at = {"loss": loss, "coupling": coupling, "optimizer": cell["optimizer"], "arrival": data.arrival[cell["arrival"]]}
    data["rest"].loc[at] = 0.8 * data["rest"].loc[at]
    found = judge(CLAIM[claim], data)
    assert found.verdict == "fails"
    assert found.estimate.interval.endswith(f"at once, the worst: {name}")


def test_no_claim_is_left_out() -> None:
    assert {*PULLS, *VISITS, *RESTS} == set(CLAIM)
    assert all(claim.figure in ("pull", "critical", "rest") for claim in CLAIM.values())


def test_beyond_the_regime_nothing_is_read() -> None:
    data = rests()
    rare = {"arrival": data.arrival[data.arrival < 4 * CRITICAL * 0.99]}
    before = {name: judge(CLAIM[name], data) for name in ("B7 l2", "B7 decay slope", "B9", "B10")}
    data["rest"].loc[rare] = math.nan
    assert {name: judge(CLAIM[name], data) for name in before} == before


def test_a_pull_that_was_not_seen_decides_nothing() -> None:
    data = selectivity()
    data["pull"].loc[{"optimizer": "adam", "seed": 2}] = math.nan
    for name in ("S6", "S6 disproportionate", "S6 balance"):
        assert judge(CLAIM[name], data).verdict == "undecided"


def test_a_rule_whose_pull_is_zero_at_selectivity_0_is_not_the_least() -> None:
    data = selectivity()
    data["pull"].loc[{"optimizer": "lars", "coupling": "l2", "arrival": 1.0}] = 0.0
    for name in ("S6 half power", "S6 every adaptive"):
        finding = judge(CLAIM[name], data)
        assert finding.verdict == "holds"
        assert ", 1 left out (lars), the worst: " in finding.estimate.interval
        assert "lars" not in CLAIM[name].estimate(data)  # type: ignore[operator]


def test_estimates_name_the_rule_and_count_their_samples() -> None:
    least = judge(CLAIM["S6 half power"], selectivity({"adadelta": 0.1})).estimate
    assert least.interval.endswith("the worst: adadelta")
    assert least.n == SEEDS
    assert least.value == pytest.approx(0.12**0.4, rel=1e-3)
    assert judge(CLAIM["S6 sgd"], selectivity()).estimate.n == 3 * SEEDS
    assert judge(CLAIM["S6"], selectivity({"adam": 0.47})).estimate.value == pytest.approx(0.47, abs=1e-3)
