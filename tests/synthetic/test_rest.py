"""Where selective weights rest: the world against closed forms, a loop written here, and exact symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from felt import felt

from dynamics.simulate.gradients import signed
from dynamics.theory import closed
from synthetic.rest import Rest

SMALL = Rest(seeds=4)
WHERE = {
    "restoring": ["l2", "decoupled_lr"],
    "constant": ["l2", "decoupled_lr"],
    "small": ["l2", "decoupled_lr"],
    "noisy": ["l2", "converted"],
}


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_arrivals_are_multiples_of_the_critical_one_and_each_loss_has_its_couplings(data: xr.Dataset) -> None:
    np.testing.assert_allclose(data.arrival, [k * (1 - math.sqrt(0.99)) for k in SMALL.times])
    for loss, couplings in WHERE.items():
        for coupling in ("l2", "decoupled_lr", "converted"):
            known = data["rest"].sel(loss=loss, coupling=coupling).notnull()
            assert known.all() if coupling in couplings else not known.any()


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "rmsprop"])
def test_l2_rests_where_the_closed_form_says(data: xr.Dataset, rule: str) -> None:
    at = data.sel(optimizer=rule, loss="restoring", coupling="l2").isel(arrival=slice(3, None))
    np.testing.assert_allclose(at["rest"].mean("seed"), at["predicted"], rtol=0.015)
    even = data.sel(optimizer=rule, loss="constant", coupling="l2").isel(arrival=slice(4, None))
    np.testing.assert_allclose(even["rest"].mean("seed"), even["predicted"], rtol=0.06)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "rmsprop", "lion"])
def test_decay_rests_where_the_closed_form_says(data: xr.Dataset, rule: str) -> None:
    at = data.sel(optimizer=rule, loss="constant", coupling="decoupled_lr").isel(arrival=slice(4, None))
    np.testing.assert_allclose(at["rest"].mean("seed"), at["predicted"], rtol=0.06)


def test_predictions_are_the_closed_forms_in_their_regime(data: xr.Dataset) -> None:
    critical = data.attrs["critical"]
    arrivals = data.arrival.values
    l2 = data["predicted"].sel(loss="restoring", coupling="l2")
    expected = [closed.l2_fixed_point(p, 1.0, 1.0, 0.2 * critical) for p in arrivals]
    np.testing.assert_allclose(l2.sel(optimizer="momentum"), expected)
    assert l2.sel(optimizer="adam").isnull().values.tolist() == [k < 2 for k in SMALL.times]
    assert l2.sel(optimizer="lion").isnull().all()
    decay = data["predicted"].sel(loss="constant", coupling="decoupled_lr")
    assert decay.sel(optimizer="rmsprop").isnull().values.tolist() == [k < 4 for k in SMALL.times]
    np.testing.assert_allclose(decay.sel(optimizer="lion"), 1 / SMALL.strength)
    np.testing.assert_allclose(decay.sel(optimizer="momentum"), 10 * arrivals / SMALL.strength)
    assert data["predicted"].sel(loss="noisy").isnull().all()


def test_under_sgd_l2_and_decay_are_one(data: xr.Dataset) -> None:
    sgd = data["rest"].sel(optimizer="sgd")
    for loss in ("restoring", "constant", "small"):
        at = sgd.sel(loss=loss)
        np.testing.assert_allclose(at.sel(coupling="l2"), at.sel(coupling="decoupled_lr"), rtol=1e-9)
    np.testing.assert_allclose(sgd.sel(loss="noisy", coupling="l2"), sgd.sel(loss="noisy", coupling="converted"))


def test_conversion_is_that_of_the_closed_form() -> None:
    for rule in ("adam", "rmsprop"):
        for arrival in (0.11, 0.2):
            expected = closed.decay_of_l2(0.5, arrival, math.sqrt(1.04), beta2=0.99, w=0.2 * arrival / 0.5)
            assert SMALL._strength(rule, "noisy", "converted", arrival) == pytest.approx(expected, rel=1e-6)
    assert SMALL._strength("momentum", "noisy", "converted", 0.2) == pytest.approx(5.0)


@pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
def test_lion_follows_its_paper(coupling: str) -> None:
    world = Rest(optimizers=("lion",), times=(20.0,), steps=600, seeds=1, weights=1)
    arrival = 20 * (1 - math.sqrt(0.99))
    arrives = felt(signed, (1,), 600, arrival=arrival, pull=0.0, target=0.0, push=1.0, size=0.0) != 0
    w, m, path = arrival / 0.5, 0.0, []
    for t, came in enumerate(arrives[:, 0]):
        path.append(w)
        lr = (4 if t < 200 else 1) * 1e-3 / 0.5
        g = -float(came) + (0.5 * w if coupling == "l2" else 0.0)
        w = w * (1 - lr * 0.5) if coupling == "decoupled_lr" else w
        w -= lr * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    path.append(w)
    expected = np.mean([path[t] for t in np.linspace(400, 600, 100).astype(int)])
    found = world.run()["rest"].sel(loss="constant", coupling=coupling)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_a_quarter_of_the_loss_holds_a_quarter_under_sgd_and_all_under_adam_with_decay(data: xr.Dataset) -> None:
    ratio = data["rest"].sel(loss="small") / data["rest"].sel(loss="constant")
    np.testing.assert_allclose(ratio.sel(optimizer="sgd", coupling="l2"), 0.25, rtol=1e-9)
    np.testing.assert_allclose(ratio.sel(optimizer="adam", coupling="decoupled_lr"), 1, rtol=0.02)
