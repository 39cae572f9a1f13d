"""Every claim on L2's pull against decay's can come out each way that its rule allows, and reads only the data that bear on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import synthetic.claims  # noqa: F401
from evidence.claim import judge
from evidence.registry import find_claims
from synthetic.silence import Silence

RULES = Silence().optimizers

CLAIM = {claim.id: claim for claim in find_claims(experiments=("silence", "selective"))}
ADAPTIVE = ["rmsprop", "adam"]
STRENGTHS = [1e-4, 1e-3, 1e-2]
SEEDS = 6
# One sample a seed; in `NOISY` they lie on both sides of 1 by far.
STEADY, NOISY = 1 + 1e-3 * np.arange(SEEDS), np.array([0.2, 6.0, 0.3, 4.0, 0.25, 5.0])


def silence(speedups: list[float], differences: list[float]) -> xr.Dataset:
    """Passages that differ `speedups` times and paths of SGD that differ by `differences`, one a strength."""
    cell = ("optimizer", "coupling", "strength")
    passage = xr.DataArray(np.full((len(RULES), 2, 3), 7.0), dims=cell)
    path = xr.DataArray(np.full((len(RULES), 2, 3, 4), 0.5), dims=(*cell, "step"))
    coords = {"optimizer": list(RULES), "coupling": ["l2", "decoupled_lr"], "strength": STRENGTHS}
    data = xr.Dataset({"passage": passage, "w": path}, coords)
    data["passage"].loc[{"optimizer": ADAPTIVE, "coupling": "decoupled_lr"}] = 7 * np.array(speedups)
    data["w"].loc[{"optimizer": "sgd", "coupling": "l2"}] *= 1 + np.array(differences)[:, None]
    return data


def selective(adaptive: dict[str, np.ndarray], plain: np.ndarray = STEADY) -> xr.Dataset:
    """Ratios of pulls, as multiples of the prediction: of adaptive rules by gradient size, of the others."""
    arrivals, sizes = [0.02, 1.0], [0.1, 0.9, 1.1, 3.0]
    shape = ("optimizer", "arrival", "size", "seed")
    coords = {"optimizer": list(RULES), "arrival": arrivals, "size": sizes, "seed": range(SEEDS)}
    ratio = xr.DataArray(np.ones((len(RULES), 2, 4, SEEDS)), coords, shape)
    ratio.loc[{"optimizer": ["sgd", "momentum", "nesterov"]}] = plain
    for part, samples in adaptive.items():
        within = sizes[:2] if part == "small" else sizes[2:]
        ratio.loc[{"optimizer": ADAPTIVE, "size": within}] = samples
    predicted = xr.ones_like(ratio.isel(seed=0, drop=True))
    # Outside the closed form's regime there is no prediction, as for RMSprop at rare arrivals.
    predicted.loc[{"optimizer": "rmsprop", "arrival": 0.02}] = math.nan
    return xr.Dataset({"ratio": ratio, "predicted": predicted})


def both(samples: np.ndarray) -> xr.Dataset:
    return selective({"small": samples, "large": samples})


CASES: dict[str, dict[str, Callable[[], xr.Dataset]]] = {
    "S8 silent": {
        "holds": lambda: silence([101, 500, 9_000], [0.5] * 3),
        "fails": lambda: silence([1, 50, 100], [0] * 3),
        "fails in one setting": lambda: silence([50, 500, 5_000], [0] * 3),
    },
    "A1": {
        "holds": lambda: silence([1] * 3, [0, 1e-12, -1e-10]),
        "fails": lambda: silence([500] * 3, [1e-3, -1e-3, 2e-9]),
        "fails in one setting": lambda: silence([500] * 3, [0, 0, 1e-3]),
    },
    "S8 selective": {
        "holds": lambda: selective({"small": 3 * STEADY, "large": 0.1 * STEADY}),
        "fails": lambda: selective({"small": 0.9 * STEADY, "large": 3 * STEADY}),
        "undecided": lambda: selective({"small": NOISY, "large": 3 * STEADY}),
    },
    "S8 always": {
        "holds": lambda: selective({"small": 0.1 * STEADY, "large": 3 * STEADY}),
        "fails": lambda: selective({"small": 3 * STEADY, "large": 0.5 * STEADY}),
        "undecided": lambda: selective({"small": 3 * STEADY, "large": NOISY}),
    },
    "B1": {
        "holds": lambda: both(STEADY),
        "fails": lambda: both(1.2 * STEADY),
        "undecided": lambda: both(NOISY),
    },
    "B3": {
        "holds": lambda: selective({"small": NOISY, "large": NOISY}, STEADY),
        "fails": lambda: selective({}, 0.9 * STEADY),
        "undecided": lambda: selective({}, NOISY),
    },
}


@pytest.mark.parametrize(("claim", "verdict"), [(claim, verdict) for claim in CASES for verdict in CASES[claim]])
def test_every_claim_can_come_out_each_way(claim: str, verdict: str) -> None:
    assert judge(CLAIM[claim], CASES[claim][verdict]()).verdict == verdict.split(maxsplit=1)[0]


CELLS = {"S8 selective": 0.1, "S8 always": 3.0, "B1": 3.0, "B3": 3.0}


@pytest.mark.parametrize("claim", CELLS)
def test_one_cell_refutes_a_claim_about_all_and_is_named(claim: str) -> None:
    data, rule = CASES[claim]["holds"](), "momentum" if claim == "B3" else "adam"
    data["ratio"].loc[{"optimizer": rule, "arrival": 1.0, "size": CELLS[claim]}] = 0.5
    found = judge(CLAIM[claim], data)
    assert found.verdict == "fails"
    assert found.estimate.value == pytest.approx(0.5, rel=0.01)
    assert found.estimate.interval.endswith(f"cells at once, the worst: {rule}, arrival 1, size {CELLS[claim]:g}")


def test_no_claim_is_left_out() -> None:
    assert set(CASES) == set(CLAIM)


@pytest.mark.parametrize("claim", CASES)
def test_data_that_bear_on_other_optimizers_change_nothing(claim: str) -> None:
    data = CASES[claim]["holds"]()
    reads = {"A1": ["sgd"], "B3": ["momentum", "nesterov"]}.get(claim, ADAPTIVE)
    others = {"optimizer": [name for name in RULES if name not in reads]}
    before = judge(CLAIM[claim], data)
    for name in ("passage", "w", "ratio"):
        if name in data:
            data[name].loc[others] = math.nan
    assert judge(CLAIM[claim], data) == before


@pytest.mark.parametrize("claim", ["S8 silent"])
def test_a_passage_that_was_not_seen_decides_nothing(claim: str) -> None:
    data = silence([500] * 3, [0] * 3)
    data["passage"].loc[{"optimizer": "adam", "coupling": "decoupled_lr", "strength": 1e-4}] = math.nan
    assert judge(CLAIM[claim], data).verdict == "undecided"


def test_estimates_carry_what_they_are_drawn_from() -> None:
    speedup = judge(CLAIM["S8 silent"], silence([200, 300, 400], [0] * 3)).estimate
    assert (speedup.low, speedup.high, speedup.n) == (200, 400, 6)  # two adaptive rules, three strengths
    pull = judge(CLAIM["S8 selective"], selective({"small": 3 * STEADY})).estimate
    assert pull.n == SEEDS
    assert pull.value == pytest.approx(3 * math.exp(np.log(STEADY).mean()))
