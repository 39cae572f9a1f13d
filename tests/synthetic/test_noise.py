"""Weights under pure noise: sizes against closed forms and an independent sum, seeds that stand on their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from dynamics.theory import closed
from synthetic.noise import Noise, lion_mean_square

SMALL = Noise(seeds=3, weights=8, settled=300, steps=600)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_sgd_knows_no_difference_between_the_couplings(data: xr.Dataset) -> None:
    sgd = data["mean_square"].sel(optimizer="sgd")
    np.testing.assert_allclose(sgd.sel(coupling="l2"), sgd.sel(coupling="decoupled_lr"), rtol=1e-9)


def test_predictions_are_the_closed_forms_where_they_hold(data: xr.Dataset) -> None:
    at = {"strength": 0.09, "size": 2.0}
    adamw = data["predicted"].sel(optimizer="adam", coupling="decoupled_lr", **at)
    assert adamw.isnull().values.tolist() == [True, False, False, False]  # 20 (1 - sqrt(beta2)) is 0.1003
    assert float(adamw[-1]) == closed.adamw_mean_square(0.1, 0.09, beta2=0.99)
    l2 = data["predicted"].sel(optimizer="rmsprop", coupling="l2", arrival=0.6, **at)
    assert float(l2) == pytest.approx(closed.adam_l2_mean_square(0.1, 0.09, 2 / 0.6**0.5, 0.6, 0.0, 0.99))
    signs = data["predicted"].sel(optimizer="signs", coupling="decoupled_lr", arrival=0.11, **at)
    assert float(signs) == closed.sign_mean_square(0.1, 0.09, 0.11)
    # A pull of more than a tenth of the gradients lies outside the form for Adam with L2.
    assert data["predicted"].sel(optimizer="adam", coupling="l2", strength=0.36, size=0.5).isnull().all()


def test_simulated_sizes_are_those_of_an_independent_sum() -> None:
    strength, mu = 0.36, 0.9
    a, steps = 1 - 0.1 * strength, 400
    world = replace(
        SMALL, optimizers=("momentum",), strengths=(strength,), arrivals=(1.0,), settled=steps, steps=steps, seeds=2
    )
    _, size, arrival = np.meshgrid([strength], world.sizes, [1.0], indexing="ij")
    # The weight under decay as a sum over all gradients: powers of mu from the buffer, filtered by powers of a.
    age = np.arange(steps)[::-1] + 1.0
    w = -0.1 * np.tensordot((a**age - mu**age) / (a - mu), world._gradients(size, arrival), axes=1)
    w = np.moveaxis(w, 0, -2)
    found = world.run()["mean_square"].sel(coupling="decoupled_lr", optimizer="momentum")
    np.testing.assert_allclose(found, (w * w).mean(axis=-1), rtol=1e-9)


@pytest.mark.parametrize("strength", [0.09, 1.5])
def test_lions_form_is_that_of_signs_without_a_momentum(strength: float) -> None:
    assert lion_mean_square(0.1, strength, beta1=0.0) == pytest.approx(closed.sign_mean_square(0.1, strength), rel=1e-9)


def test_lions_form_is_that_of_a_long_run() -> None:
    world = Noise(optimizers=("lion",), strengths=(0.36,), sizes=(1.0,), arrivals=(1.0,), seeds=4, weights=400)
    found = world.run()["mean_square"].sel(coupling="decoupled_lr")
    assert float(found.mean()) == pytest.approx(lion_mean_square(0.1, 0.36), rel=0.03)
    assert lion_mean_square(0.1, 0.36) > 10 * closed.sign_mean_square(0.1, 0.36)
