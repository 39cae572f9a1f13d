"""Schedules: decay and floor against closed forms, the lag of a size and its removal."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynamics.simulate.schedules import cosine, step_decay
from synthetic.scheduled import Scheduled

SMALL = Scheduled(seeds=2, weights=256)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_rates_are_those_of_the_schedules(data: xr.Dataset) -> None:
    steps = data.step.values
    np.testing.assert_allclose(data["rates"].sel(schedule="constant"), 0.1)
    np.testing.assert_allclose(data["rates"].sel(schedule="step"), 0.1 * step_decay([400])(steps))
    np.testing.assert_allclose(data["rates"].sel(schedule="cosine"), 0.1 * cosine(800)(steps))
    gone = data["gone"].sel(schedule="step")
    assert float(gone[-1]) == pytest.approx(1e-3 * (300 + 0.1 * 300))
    assert float(gone[1]) == pytest.approx(1e-3)


def test_decay_is_the_product_of_its_shares_under_every_rule(data: xr.Dataset) -> None:
    for name in SMALL.optimizers:
        decayed = data["silent"].sel(optimizer=name, coupling="decoupled_lr")
        np.testing.assert_allclose(decayed, data["decayed"], rtol=1e-11)
    assert float(data["decayed"].sel(schedule="constant")[-1]) == pytest.approx((1 - 5e-4) ** 600)


def test_adam_stays_above_the_sum_of_its_rates_and_rmsprop_does_not(data: xr.Dataset) -> None:
    above = data["silent"].sel(coupling="l2") - (1 - data["gone"])
    assert (above.sel(optimizer="adam") >= -1e-12).all()
    assert (above.sel(optimizer="rmsprop").isel(silent_step=slice(1, None)) < 0).all()


def test_sizes_start_in_equilibrium_and_follow_the_recursion(data: xr.Dataset) -> None:
    np.testing.assert_allclose(data["mean_square"].isel(step=0), 0.1, rtol=1e-9)
    np.testing.assert_allclose(data["followed"].isel(step=0), 0.1, rtol=1e-12)
    middle = data.sel(step=slice(200, 600))
    ratio = (middle["mean_square"] / middle["followed"]).mean(("seed", "step"))
    np.testing.assert_allclose(ratio, 1, atol=0.12)
    plain, corrected = (data["mean_square"].sel(schedule="cosine", sized=s, step=800).mean() for s in data.sized.values)
    assert float(plain) < 0.03
    assert float(corrected) > 0.08


def test_under_a_constant_rate_the_correction_changes_nothing(data: xr.Dataset) -> None:
    constant = data["mean_square"].sel(schedule="constant")
    np.testing.assert_allclose(constant.sel(sized="corrected"), constant.sel(sized="decoupled_lr"), rtol=1e-9)


def test_a_decayed_weight_is_the_mean_of_its_updates(data: xr.Dataset) -> None:
    np.testing.assert_allclose(data["end"], data["average"], atol=1e-12)
    assert (abs(data["end"].diff("seed")) > 1e-6).sum() >= len(SMALL.optimizers) - 1
