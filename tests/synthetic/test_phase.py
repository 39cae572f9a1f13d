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
from synthetic.phase import Phase, _crossed, crossing

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


def test_progress_is_told_within_a_row_of_many_steps(data: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthetic.phase._PART", 15_000)
    monkeypatch.setattr("dynamics.simulate.lanes._STRETCH", 1_000)
    told: list[tuple[int, int, str]] = []
    xr.testing.assert_identical(SMALL.run(notify=lambda *said: told.append(said)), data)
    assert [done for done, _, _ in told] == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5]
    assert told[0] == (0, 5, "1,000 of 3,000 steps of the next")


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="diagram 'nowhere'"):
        Phase("nowhere")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seeds 0"):
        Phase(seeds=0)


@pytest.mark.parametrize("rises", [True, False])
def test_a_row_crosses_where_as_many_cells_lie_on_the_dead_side_as_died(rises: bool) -> None:
    log_x = np.log(np.geomspace(1e-4, 1e-1, 9))
    lanes = np.random.default_rng(3).random((4, 9, 6)) < np.linspace(0, 1, 9)[:: 1 if rises else -1, None]
    found = np.log(_crossed(lanes, log_x, rises))
    # A row's mean over seeds is the area below the curve of the share that has not died on the way to the border.
    share = 1 - lanes.mean(axis=2) if rises else lanes.mean(axis=2)
    width = log_x[1] - log_x[0]
    np.testing.assert_allclose(found.mean(axis=1), log_x[0] - width / 2 + width * share.sum(axis=1))


def shares(ratio: float | np.ndarray, rows: int = 6, scatter: float = 1e-3) -> xr.Dataset:
    """A diagram whose lanes die at `ratio` times the boundary, which moves with y; falling with x. scatter: of the seeds."""
    x, boundary = np.geomspace(1e-4, 1e-1, 61), np.geomspace(8e-4, 1.2e-2, rows)
    middle = ratio * boundary
    crossed = middle[:, None] * np.exp(scatter * np.array([-2.0, 2.0, -1.5, 1.5, -1.8, 1.8]))
    dead = (x < middle[:, None]).astype(np.float64)
    return xr.Dataset(
        {"dead": (("y", "x"), dead), "boundary": (("y",), boundary), "crossed": (("y", "seed"), crossed)},
        {"x": x, "y": np.arange(rows) / 10},
        {"forgetting": 1e-3, "y": "strength"},
    )


def test_a_row_that_the_diagram_does_not_hold_has_no_crossing() -> None:
    data = shares(1.3)
    np.testing.assert_allclose(crossing(data), 1.3 * data.boundary)
    data["dead"][0] = 0.0
    assert list(crossing(data).isnull().values) == [True, *[False] * 5]


ROWS = ["E8 strength", "E8 lr", "E8 batch", "E8 epoch"]


@pytest.mark.parametrize("name", ROWS)
def test_the_boundary_claims_can_come_out_each_way(name: str) -> None:
    assert judge(CLAIM[name], shares(1.2)).verdict == "holds"
    assert judge(CLAIM[name], shares(1.2, scatter=0.5)).verdict == "undecided"
    one = judge(CLAIM[name], shares(np.array([1.0, 1.0, 3.0, 1.0, 0.7, 1.0])))
    assert (one.verdict, one.estimate.value) == ("fails", pytest.approx(3))
    assert one.estimate.interval.endswith("for all 6 cells at once, the worst: strength 0.2")


@pytest.mark.parametrize("name", [*ROWS, "B5 death"])
def test_rows_without_a_border_are_counted_and_decide_nothing(name: str) -> None:
    data = shares(1.0)
    before = judge(CLAIM[name], data).estimate
    data["dead"][[1, 3, 4]] = 0.5
    found = judge(CLAIM[name], data).estimate
    assert "for all 3 cells at once, 3 left out (strength 0.1, strength 0.3 to 0.4), the worst: " in found.interval
    assert found.value == pytest.approx(before.value)
    data["dead"][:] = 0.0
    nothing = judge(CLAIM[name], data)
    assert (nothing.verdict, nothing.estimate.n) == ("undecided", 0)


def test_the_critical_selectivity_alone_is_refuted_by_one_strength_away_from_it() -> None:
    assert judge(CLAIM["B5 death"], shares(1.0)).verdict == "fails"
    at = 5e-4 / shares(1.0).boundary.values
    assert judge(CLAIM["B5 death"], shares(at)).verdict == "holds"
    assert judge(CLAIM["B5 death"], shares(at * np.array([1, 1, 1, 1, 1, 1.5]))).verdict == "fails"
