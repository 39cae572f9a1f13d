"""Easy and hard tasks: the scale of the gradients and the number of patterns act as they must."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from synthetic.difficulty import Difficulty

SMALL = Difficulty(
    network=16, scales=(0.25, 1.0, 4.0), patterns=(8, 64), batches=(2, 8), steps=256, seeds=3, followed=8
)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_adamw_does_not_see_the_scale(data: xr.Dataset) -> None:
    size = data["size"].sel(optimizer="adam", coupling="decoupled_lr")
    np.testing.assert_allclose(size.sel(scale=0.25), size.sel(scale=4.0), rtol=1e-4)


@pytest.mark.parametrize("by", [0.25, 4.0])
def test_a_scale_is_a_weaker_regularizer_and_a_larger_step(data: xr.Dataset, by: float) -> None:
    """SGD + L2: gradients times c are learning rate times c and strength / c. Adam + L2: strength / c alone (B9)."""
    sgd = Difficulty(**{**SMALL.__dict__, "scales": (1.0,), "lr": (0.1 * by, 0.01), "strength": 0.01 / by}).run()
    for rule in ("sgd", "adam"):
        here = {"optimizer": rule, "coupling": "l2"}
        np.testing.assert_allclose(
            data["size"].sel(scale=by, **here), sgd["size"].sel(scale=1.0, **here), rtol=1e-3, atol=1e-4
        )


def test_a_scale_changes_what_l2_leaves(data: xr.Dataset) -> None:
    size = data["size"].sel(optimizer="adam", coupling="l2", patterns=64).mean(("batch", "seed"))
    assert size.sel(scale=0.25) < size.sel(scale=1.0) < size.sel(scale=4.0)


def test_few_patterns_leave_features_unused(data: xr.Dataset) -> None:
    expected = (15 / 16) ** data["patterns"]
    np.testing.assert_allclose(data["unused"].mean("seed"), expected, atol=0.25)
