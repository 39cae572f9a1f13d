"""A weight whose gradient arrives now and then: the two pulls against their closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from synthetic.selective import Selective

RULES = Selective().optimizers

SMALL = Selective(arrivals=(0.001, 0.2, 1.0), sizes=(0.3, 2.0), settled=3_000, steps=5_000, seeds=3, weights=32)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_under_sgd_the_two_pulls_are_one(data: xr.Dataset) -> None:
    np.testing.assert_allclose(data["ratio"].sel(optimizer="sgd"), 1, rtol=1e-9)


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_under_momentum_l2_pulls_ten_times_as_hard(data: xr.Dataset, name: str) -> None:
    np.testing.assert_allclose(data["ratio"].sel(optimizer=name), 1 / (1 - 0.9), rtol=0.02)
    assert (data["predicted"].sel(optimizer=name).round(9) == 10).all()


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_under_adaptive_rules_l2_pulls_as_the_inverse_of_the_gradient(data: xr.Dataset, name: str) -> None:
    settled = data.sel(optimizer=name, arrival=[0.2, 1.0])
    for size in SMALL.sizes:
        expected = 1 / (math.sqrt(size**2 + SMALL.strength**2) + 1e-8)
        np.testing.assert_allclose(settled["ratio"].sel(size=size).mean("seed"), expected, rtol=0.03)
        np.testing.assert_allclose(settled["predicted"].sel(size=size), expected)


def test_no_prediction_outside_the_regime_of_the_closed_form(data: xr.Dataset) -> None:
    # 20 (1 - sqrt(beta2)): 0.01 for Adam's 0.999, 0.1 for RMSprop's 0.99.
    known = data["predicted"].notnull().all("size")
    assert known.sel(optimizer="adam").values.tolist() == [False, True, True]
    assert known.sel(optimizer="rmsprop").values.tolist() == [False, True, True]
    assert known.sel(optimizer=["sgd", "momentum", "nesterov"]).all()
    at_edge = replace(SMALL, arrivals=(0.05,), settled=1, steps=2).run()["predicted"]
    assert at_edge.sel(optimizer="adam").notnull().all()
    assert at_edge.sel(optimizer="rmsprop").isnull().all()
