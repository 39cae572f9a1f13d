"""A weight on a quadratic loss: resting places, stability and bounds against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynamics.theory import closed
from synthetic.quadratic import Quadratic

SMALL = Quadratic(seeds=3, weights=8)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


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
        np.testing.assert_allclose(at["predicted_rest"], np.minimum(SMALL.targets, 1 / strength))
        off = at["target"].values * strength != 1
        np.testing.assert_allclose(at["rest"].values[off], at["predicted_rest"].values[off], atol=0.1)


def test_amsgrads_form_reads_its_own_largest_square(data: xr.Dataset) -> None:
    at = data.sel(optimizer="amsgrad", coupling="decoupled_lr")
    assert (at["predicted_rest"] < np.minimum(at["target"], 1 / at["strength"])).all()
    np.testing.assert_allclose(at["rest"], at["predicted_rest"], atol=1e-3)


def test_noise_turns_adamws_decay_into_l2_and_its_sign_cancels_in_the_mean(data: xr.Dataset) -> None:
    at = data.sel(optimizer="adam", coupling="decoupled_lr", arrival=1.0, sigma=5.0)
    expected = closed.noisy_adamw_fixed_point(1.0, 1.0, 0.1, 5.0)
    assert float(at["predicted_noisy_rest"]) == pytest.approx(expected)
    assert float(at["noisy_rest"].mean()) == pytest.approx(expected, rel=0.03)
    sgd = data.sel(optimizer="sgd", coupling="l2", arrival=1.0)["noisy_rest"]
    np.testing.assert_allclose(sgd.sel(sigma=5.0), sgd.sel(sigma=0.0), atol=1e-9)


def test_rare_gradients_are_those_of_the_closed_form_for_selective_ones(data: xr.Dataset) -> None:
    at = data["predicted_noisy_rest"].sel(coupling="l2", arrival=0.1, sigma=0.0)
    assert float(at.sel(optimizer="adam")) == closed.adam_l2_fixed_point(0.1, 1.0, 1.0, 0.1, 0.99)
    assert float(at.sel(optimizer="sgd")) == closed.l2_fixed_point(0.1, 1.0, 1.0, 0.1)
    assert at.sel(optimizer=["lion", "adamax", "amsgrad"]).isnull().all()


def test_growth_turns_at_the_limit(data: xr.Dataset) -> None:
    assert (data["growth"].sel(fraction=[0.95, 0.98]) < 1).all()
    assert (data["growth"].sel(fraction=[1.02, 1.05]) > 1).all()
    # SGD's weight is multiplied by 1 - lr (h + strength), which is 1 - 2 x fraction.
    sgd = data["growth"].sel(ruled="sgd", coupling="l2")
    np.testing.assert_allclose(sgd, np.abs(1 - 2 * sgd.fraction.values), rtol=1e-9)


def test_the_worst_gradients_come_near_adams_bound(data: xr.Dataset) -> None:
    worst = float(data["largest"].sel(bounded="adam", gradients="growing").max())
    assert 0.9 * closed.adam_step_bound() < worst < closed.adam_step_bound()
    assert float(data["largest"].sel(bounded="lion").max()) <= 1 + 1e-9
