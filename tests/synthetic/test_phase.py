"""Phase diagrams: lanes as the simulator runs them, the boundary against an independent computation, the claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

import synthetic.claims  # noqa: F401
from dynamics.errors import InputError
from dynamics.simulate.gradients import mortal
from dynamics.simulate.lanes import simulate
from evidence.claim import judge
from evidence.registry import find_claims
from synthetic.phase import Phase, crossing

CLAIM = {claim.id: claim for claim in find_claims() if claim.experiment.startswith("phase_")}
SMALL = Phase(cells=5, seeds=3, steps=3_000)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_a_cell_is_what_the_simulator_says_of_its_lanes(data: xr.Dataset) -> None:
    row, column = 3, 1
    lanes = {
        "lr": SMALL.lr,
        "strength": float(data.y[row]),
        "beta2": SMALL.beta2,
        "arrival": float(data.x[column]),
        "pull": SMALL.pull,
        "target": 1.0,
        "sigma": SMALL.sigma,
        "floor": SMALL.floor,
    }
    left = SMALL.sigma**2 * (1 - SMALL.beta2 + SMALL.beta2 * lanes["arrival"])
    found = simulate(
        "adam",
        "l2",
        mortal,
        record=range(SMALL.steps + 1),
        lanes=lanes,
        state={"v": left, "power1": 0.0, "power2": 0.0},
        seed=[0, 1, 2],
        stream=row * 5 + column,
    ).w
    died = np.abs(found) <= SMALL.floor
    assert float(data["dead"][row, column]) == died.any(axis=0).mean()
    np.testing.assert_allclose(data["size"][row, column], np.abs(found[-1]).mean(), rtol=1e-9)
    if died.any(axis=0).sum() >= 2:
        assert float(data["time"][row, column]) == np.median(np.where(died.any(axis=0), died.argmax(axis=0), math.inf))


def test_selective_features_die_and_others_live() -> None:
    found = Phase(cells=6, seeds=4).run()
    assert (found["dead"][-1, 0], found["dead"][-1, -1]) == (1, 0)
    assert found["dead"][0].max() == 0
    assert found["time"][-1, 0] < 10_000
    assert np.isnan(found["time"][0, -1])


def test_the_boundary_is_where_killing_silences_are_as_likely_as_not(data: xr.Dataset) -> None:
    known = data["boundary"].dropna("y")
    assert known.size >= 2
    for strength, p in zip(known.y.values, known.values, strict=True):
        # By hand: the weight that the mean pull leaves, the steps that kill it, the expected number of such silences.
        beta2, lr, h, sigma, n = SMALL.beta2, SMALL.lr, SMALL.pull, SMALL.sigma, SMALL.steps
        root = sigma * math.sqrt(p * (1 - beta2 + beta2 * p) / p)
        ages = np.arange(n)
        growth = p * float(np.sum((1 - p) ** ages * beta2 ** (-ages / 2)))
        rest = p * h / (p * h + strength * growth)
        w = rest + (1 - rest) * math.exp(-n * lr * (p * h + strength * growth) / root)
        memory = -2 / math.log(beta2)
        taken = memory * math.log1p(math.log(w / SMALL.floor) * root / (memory * lr * strength))
        assert ((n - taken) * p + 1) * (1 - p) ** taken == pytest.approx(math.log(2), rel=1e-6)


def test_rows_in_parts_and_threads_change_nothing(data: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr("synthetic.phase._PART", 2 * 5 * 3 * SMALL.steps)
    again = SMALL.run(threads=2, notify=lambda done, total, text: told.append((done, total)))
    assert again.identical(data)
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="diagram 'nowhere'"):
        Phase("nowhere")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seeds 0"):
        Phase(seeds=0)


def shares(ratio: float, rows: int = 6) -> xr.Dataset:
    """A diagram whose lanes die at `ratio` times the boundary, which moves with y; falling with x."""
    x, boundary = np.geomspace(1e-4, 1e-1, 61), np.geomspace(8e-4, 1.2e-2, rows)
    dead = (x < ratio * boundary[:, None]).astype(np.float64)
    attrs = {"forgetting": 1e-3}
    return xr.Dataset(
        {"dead": (("y", "x"), dead), "boundary": (("y",), boundary)}, {"x": x, "y": np.arange(rows)}, attrs
    )


def test_crossing_finds_where_half_are_dead() -> None:
    found = crossing(shares(1.3))
    np.testing.assert_allclose(found, 1.3 * shares(1.3).boundary, rtol=0.1)
    mirrored = shares(1.3)
    mirrored["dead"] = 1 - mirrored["dead"]
    np.testing.assert_allclose(crossing(mirrored), found)
    incomplete = shares(1.3)
    incomplete["dead"][0] = 0.0
    assert np.isnan(crossing(incomplete)[0])


@pytest.mark.parametrize("name", ["E8 strength", "E8 lr", "E8 batch", "E8 epoch"])
def test_the_boundary_claims_can_come_out_each_way(name: str) -> None:
    assert judge(CLAIM[name], shares(1.2)).verdict == "holds"
    assert judge(CLAIM[name], shares(3.0)).verdict == "fails"
    mixed = xr.concat([shares(1.0, 3), shares(3.0, 3)], "y", combine_attrs="override")
    assert judge(CLAIM[name], mixed).verdict == "undecided"


def test_the_critical_selectivity_alone_is_refuted_by_one_strength_away_from_it() -> None:
    data = shares(1.0)
    assert judge(CLAIM["B5 death"], data).verdict == "fails"
    at = data.x.values < 1.02 * 5e-4
    data["dead"] = data["dead"] * 0 + at
    assert judge(CLAIM["B5 death"], data).verdict == "holds"
