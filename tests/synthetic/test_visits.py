"""Visits once an epoch against independent arrivals: the world against enumeration, a loop and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from felt import felt

from dynamics.simulate.gradients import once_an_epoch, signed
from dynamics.theory import closed
from synthetic.visits import ARRIVALS, Visits, epoch_ratio

SMALL = Visits(epochs=(20, 50, 200, 400), seeds=3, weights=4)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def gradients_of(world: Visits) -> np.ndarray:
    """What comes without a loss: (steps, arrivals, epoch, lane)."""
    shape = (len(world.epochs), world.seeds, world.weights)
    epoch = np.reshape(world.epochs, (-1, 1, 1))
    given = {"seed": np.arange(world.seeds)[:, None], "stream": range(world.weights)}
    given |= {"pull": 0.0, "target": 0.0, "push": 0.0, "size": 1.0}
    independent = felt(signed, shape, world.steps, arrival=1 / epoch, **given)
    once = felt(once_an_epoch, shape, world.steps, epoch=epoch, **given)
    return np.stack([independent, once], axis=1).reshape(world.steps, 2, len(world.epochs), -1)


def test_an_image_is_seen_once_an_epoch_and_otherwise_by_chance() -> None:
    noise = gradients_of(SMALL)
    arrives = noise != 0
    for e, epoch in enumerate(SMALL.epochs):
        epochs = arrives[:, 1, e].reshape(SMALL.steps // epoch, epoch, -1).sum(axis=1)
        assert (epochs == 1).all()
        independent = arrives[1:, 0, e]
        expected, count = 1 / epoch, independent.size
        assert abs(independent.mean() - expected) < 5 * math.sqrt(expected / count)
    gaps = np.diff(np.flatnonzero(arrives[:, 1, 0, 0]))
    assert gaps.max() < 2 * 20
    assert gaps.max() > 25
    assert arrives[0].all()
    np.testing.assert_array_equal(np.abs(noise), arrives)
    assert abs(noise.sum()) < 5 * math.sqrt(arrives.sum() * len(SMALL.epochs))  # all epochs share their signs


@pytest.mark.parametrize(("epoch", "beta2"), [(1, 0.9), (5, 0.9), (30, 0.99), (40, 0.95)])
def test_the_ratio_of_an_epoch_is_the_mean_over_all_pairs_of_places(epoch: int, beta2: float) -> None:
    r = beta2**-0.5
    sums = [sum(r**a for a in range(epoch + after - before)) for before in range(epoch) for after in range(epoch)]
    assert epoch_ratio(epoch, beta2) == pytest.approx(np.mean(sums) / epoch, rel=1e-9)


def test_the_ratio_of_a_long_memory_is_that_of_continuous_time() -> None:
    x = 1_000 * -math.log(0.9999) / 2
    assert epoch_ratio(1_000, 0.9999) == pytest.approx(((math.exp(x) - 1) ** 2 / x**2 - 1) / x, rel=1e-3)


def test_v_is_what_the_formula_of_adam_makes_of_the_gradients() -> None:
    world = Visits(epochs=(20,), settled=30, steps=230, seeds=1, weights=1)
    arrives = gradients_of(world)[:, :, 0, 0] != 0
    found = world.run()
    for lane, kind in enumerate(ARRIVALS):
        v, roots = 0.0, []
        for came in arrives[:, lane]:
            v = 0.99 * v + 0.01 * came
            roots.append(v**-0.5)
        later = np.array(roots[30:])
        at = found.sel(arrivals=kind)
        assert at["inverse_root"].item() == pytest.approx(later.mean(), rel=1e-9)
        assert at["on_arrival"].item() == pytest.approx(later[arrives[30:, lane]].mean(), rel=1e-9)
        looks = [part.mean() for part in np.array_split(later, 10)]
        assert at["look"].item() == pytest.approx(math.exp(np.mean(np.log(looks))), rel=1e-9)


def test_closed_forms_meet_the_simulation_where_arrivals_are_frequent(data: xr.Dataset) -> None:
    frequent = data.sel(epoch=[20, 50])
    ratio = (frequent["inverse_root"] / frequent["on_arrival"]).mean("seed")
    np.testing.assert_allclose(ratio, frequent["predicted"], rtol=0.04)
    np.testing.assert_allclose(frequent["rest"].mean("seed"), frequent["rests"], rtol=0.02)
    # L2 pulls with the mean of 1 / sqrt(v).
    np.testing.assert_allclose(frequent["pull"].mean("seed"), frequent["inverse_root"].mean("seed"), rtol=0.03)


def test_the_rest_is_that_of_the_closed_form_for_independent_arrivals(data: xr.Dataset) -> None:
    for epoch in (20, 50):
        expected = closed.adam_l2_fixed_point(1 / epoch, 1.0, 1.0, 0.2 * data.attrs["critical"], 0.99)
        assert data["rests"].sel(arrivals="independent", epoch=epoch).item() == pytest.approx(expected, rel=1e-9)


def test_beyond_the_critical_arrival_nothing_is_predicted_for_independent_ones(data: xr.Dataset) -> None:
    known = data["predicted"].notnull()
    assert known.sel(arrivals="independent").values.tolist() == [True, True, False, False]
    assert known.sel(arrivals="once an epoch").all()
    assert (known == data["rests"].notnull()).all()
