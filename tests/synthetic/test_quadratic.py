"""A weight on a quadratic loss: resting places, stability and bounds against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from felt import felt
from scipy import stats

from dynamics.theory import closed
from synthetic.bounded import Bounded, demanding
from synthetic.noisy_quadratic import NoisyQuadratic
from synthetic.quadratic import Quadratic
from synthetic.stability import Stability

NAMES = ("steady", "uniform", "heavy", "growth")
SMALL, NOISY, BOUNDED = Quadratic(), NoisyQuadratic(seeds=3, twins=4), Bounded(seeds=3)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


@pytest.fixture(scope="module")
def noisy() -> xr.Dataset:
    return NOISY.run()


@pytest.fixture(scope="module")
def bounded() -> xr.Dataset:
    return BOUNDED.run()


def test_without_noise_linear_rules_rest_on_the_closed_forms(data: xr.Dataset) -> None:
    for strength in SMALL.strengths:
        for target in SMALL.targets:
            at = data["rest"].sel(strength=strength, target=target)
            expected = target / (1 + strength)
            assert float(at.sel(optimizer="sgd", coupling="l2")) == pytest.approx(expected, abs=1e-6)
            assert float(at.sel(optimizer="momentum", coupling="l2")) == pytest.approx(expected, abs=1e-6)
            assert float(at.sel(optimizer="momentum", coupling="decoupled_lr")) == pytest.approx(
                target / (1 + strength * 0.1), abs=1e-6
            )


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adamax", "lion"])
def test_decay_clips_rules_of_constant_steps(data: xr.Dataset, name: str) -> None:
    for strength in SMALL.strengths:
        at = data.sel(optimizer=name, coupling="decoupled_lr", strength=strength)
        np.testing.assert_allclose(at["predicted"], np.minimum(SMALL.targets, 1 / strength))
        off = at["target"].values * strength != 1
        np.testing.assert_allclose(at["rest"].values[off], at["predicted"].values[off], atol=0.1)


def test_amsgrads_form_reads_its_own_largest_square(data: xr.Dataset) -> None:
    at = data.sel(optimizer="amsgrad", coupling="decoupled_lr")
    assert (at["predicted"] < np.minimum(at["target"], 1 / at["strength"])).all()
    np.testing.assert_allclose(at["rest"], at["predicted"], atol=1e-3)


def test_noise_turns_adamws_decay_into_l2_and_its_sign_cancels_in_the_mean(noisy: xr.Dataset) -> None:
    at = noisy.sel(optimizer="adam", coupling="decoupled_lr", arrival=1.0, sigma=5.0)
    expected = closed.noisy_adamw_fixed_point(1.0, 1.0, 0.1, 5.0)
    assert float(at["predicted"]) == pytest.approx(expected)
    assert float(at["rest"].mean()) == pytest.approx(expected, rel=0.03)
    sgd = noisy.sel(optimizer="sgd", coupling="l2", arrival=1.0)["rest"]
    np.testing.assert_allclose(sgd.sel(sigma=5.0), sgd.sel(sigma=0.0), atol=1e-9)


def test_rare_gradients_are_those_of_the_closed_form_for_selective_ones(noisy: xr.Dataset) -> None:
    at = noisy["predicted"].sel(coupling="l2", arrival=0.1, sigma=0.0)
    assert float(at.sel(optimizer="adam")) == closed.adam_l2_fixed_point(0.1, 1.0, 1.0, 0.1, 0.99)
    assert float(at.sel(optimizer="sgd")) == closed.l2_fixed_point(0.1, 1.0, 1.0, 0.1)
    assert at.sel(optimizer=["lion", "adamax", "amsgrad"]).isnull().all()


def test_growth_turns_at_the_limit() -> None:
    growth = Stability().run()["growth"]
    assert growth.dims == ("optimizer", "coupling", "fraction")
    assert (growth.sel(fraction=[0.95, 0.98]) < 1).all()
    assert (growth.sel(fraction=[1.02, 1.05]) > 1).all()
    # SGD's weight is multiplied by 1 - lr (h + strength), which is 1 - 2 x fraction.
    sgd = growth.sel(optimizer="sgd", coupling="l2")
    np.testing.assert_allclose(sgd, np.abs(1 - 2 * sgd.fraction.values), rtol=1e-9)


def test_the_worst_gradients_come_near_adams_bound(bounded: xr.Dataset) -> None:
    worst = float(bounded["largest"].sel(optimizer="adam", gradients="growing").max())
    assert 0.9 * closed.adam_step_bound() < worst < closed.adam_step_bound()
    assert float(bounded["largest"].sel(optimizer="lion").max()) <= 1 + 1e-9


def test_demanding_gradients_are_what_their_names_say() -> None:
    shares = np.eye(4) * [1, 1, 1, 0.999 / 0.9]
    g = felt(demanding, (4, 500), 40, stream=range(500), **dict(zip(NAMES, shares[..., None], strict=True)))
    steady, uniform, heavy, growing = g.swapaxes(0, 1)
    np.testing.assert_allclose(steady, 1, rtol=1e-12)
    assert np.abs(uniform).max() <= 1
    assert uniform.var() == pytest.approx(1 / 3, rel=0.05)
    for at in (0.5, 1.0, 5.0):
        assert (np.abs(heavy) > at).mean() == pytest.approx(2 * stats.t.sf(at, 2), abs=0.02)
    np.testing.assert_allclose(growing[1:] / growing[:-1], 0.999 / 0.9, rtol=1e-3)
