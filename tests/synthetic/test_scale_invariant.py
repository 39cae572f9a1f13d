"""Weights before a normalization: exact under SGD, free of the gradient's scale under AdamW only."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynamics.theory import closed
from synthetic.scale_invariant import ScaleInvariant

SMALL = ScaleInvariant(seeds=2)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_under_sgd_norm_and_rotation_are_exact(data: xr.Dataset) -> None:
    sgd = data.sel(optimizer="sgd")
    for k, slope in enumerate(SMALL.slopes):
        expected = closed.scale_invariant_sgd_norm(SMALL.lr, SMALL.strength, slope)
        np.testing.assert_allclose(sgd["norm"].isel(slope=k), expected, rtol=1e-3)
    np.testing.assert_allclose(sgd["rotation"], closed.sgd_rotation(SMALL.lr, SMALL.strength), rtol=2e-3)


def test_adamw_is_free_of_the_slope_and_adam_with_l2_grows_with_its_cube_root(data: xr.Dataset) -> None:
    low, high = (data["norm"].sel(optimizer="adam").isel(slope=k) for k in (0, 1))
    np.testing.assert_allclose(high.sel(coupling="decoupled_lr"), low.sel(coupling="decoupled_lr"), rtol=1e-4)
    np.testing.assert_allclose(high.sel(coupling="l2") / low.sel(coupling="l2"), 10 ** (1 / 3), rtol=0.04)


@pytest.mark.parametrize("name", ["momentum", "rmsprop", "adam", "lion"])
def test_norms_are_near_their_forms(data: xr.Dataset, name: str) -> None:
    ratio = (data["norm"] / data["predicted_norm"]).sel(optimizer=name).mean("seed")
    known = ratio.values[ratio.notnull().values]
    assert len(known) >= 2
    np.testing.assert_allclose(known, 1, rtol=0.1 if name == "lion" else 0.03)
    assert ratio.sel(coupling="l2").isnull().all() == (name == "lion")
