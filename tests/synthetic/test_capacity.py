"""Networks of more or fewer features: against closed forms and against what must not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from dynamics.theory import closed
from synthetic.capacity import Capacity

SMALL = Capacity(networks=(8, 32, 256), batches=(2, 16), patterns=128, steps=512, seeds=3, followed=8)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_the_closed_forms_stand_beside_what_was_measured(data: xr.Dataset) -> None:
    for k, network in enumerate(SMALL.networks):
        p = np.linspace(0.5, 1.5, network) / network
        by_l2 = closed.shared_l2(p, 1.0, SMALL.strength)
        assert data["shared_closed"].sel(coupling="l2")[k] == pytest.approx(by_l2.mean())
        assert data["shared_closed"].sel(coupling="decoupled_lr")[k] == pytest.approx(1.0)
    np.testing.assert_allclose(data["shared"], data["shared_closed"], rtol=0.01)
    assert (data["shared_off"] < 0.01).all()


def test_l2_leaves_weights_in_proportion_and_decay_leaves_them_alike(data: xr.Dataset) -> None:
    np.testing.assert_allclose(data["shared_uneven"].sel(coupling="l2"), 3, rtol=0.01)
    np.testing.assert_allclose(data["shared_uneven"].sel(coupling="decoupled_lr"), 1, rtol=0.01)


def test_too_short_a_training_is_off_the_closed_form() -> None:
    """What `shared_off` measures is not 0 by construction."""
    assert (replace(SMALL, shared_steps=20, seeds=1, steps=32, followed=1).run()["shared_off"] > 0.05).all()


def test_patterns_find_their_features(data: xr.Dataset) -> None:
    expected = (1 - 1 / data["network"]) ** SMALL.patterns
    np.testing.assert_allclose(data["unused"].mean("seed"), expected, atol=0.25)
    np.testing.assert_allclose(data["silent"].sel(network=8, batch=2), (7 / 8) ** 2)


def test_a_feature_without_patterns_meets_the_regularizer_alone() -> None:
    """2 patterns for 4,096 features: nearly none is excited, and SGD shrinks the others as it must."""
    data = Capacity(networks=(4096,), batches=(2,), patterns=2, steps=64, seeds=2, followed=8).run()
    assert (data["unused"] == 1).all()
    size = (1 - 0.1 * 0.01) ** 64
    np.testing.assert_allclose(data["size"].sel(optimizer="sgd"), size, rtol=1e-9)
    np.testing.assert_allclose(
        data["size"].sel(optimizer="adam", coupling="decoupled_lr"), (1 - 0.01 * 0.01) ** 64, rtol=1e-9
    )
    assert (data["size"].sel(optimizer="adam", coupling="l2") < 0.6).all()


def test_under_sgd_l2_and_decay_are_one(data: xr.Dataset) -> None:
    at = data["size"].sel(optimizer="sgd")
    np.testing.assert_allclose(at.sel(coupling="l2"), at.sel(coupling="decoupled_lr"), rtol=1e-9)
