"""Features that compete: the backward pass against autograd, removal against removal by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from synthetic.compete import Compete, backward

SMALL = Compete(
    optimizers=("sgd", "rmsprop"),
    rates=((0.1, 0.2), (0.01, 0.03)),
    strengths=(0.005, 0.05),
    selectivities=(0.5, 0.75, 0.9375),
    images=32,
    epochs=40,
    seeds=3,
    tuning_seeds=2,
)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_the_backward_pass_is_that_of_autograd() -> None:
    draws = np.random.default_rng(0)
    xhat, w, target = draws.normal(size=(8, 5)), draws.normal(size=(3, 5)), draws.normal(size=8)
    leaf = torch.tensor(w, requires_grad=True)
    output = torch.relu(leaf[0] * torch.tensor(xhat) + leaf[1]) @ leaf[2]
    (((output - torch.tensor(target)) ** 2).mean() / 2).backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(backward(xhat, w, target), leaf.grad.numpy(), rtol=1e-10, atol=1e-10)
    # Settings share the images of their seed.
    stacked = backward(np.stack([xhat, xhat]), np.stack([[w, 2 * w], [w, w]]), np.stack([target, 0 * target]))
    assert stacked.shape == (2, 2, 3, 5)
    np.testing.assert_allclose(stacked[1, 0], leaf.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_the_rate_is_that_of_least_loss(data: xr.Dataset) -> None:
    best = data["rate"].isel(candidate=data["rate_loss"].argmin("candidate"))
    np.testing.assert_array_equal(data["lr"], best)
    assert (data.attrs["features"], data.attrs["steps"]) == (12, 160)


def test_features_are_excited_by_their_share_and_half_are_needed() -> None:
    made = SMALL._data(range(3))
    excited = (made["xhat"] > made["xhat"].min(1, keepdims=True) + 1e-9).sum(1)
    np.testing.assert_array_equal(excited, np.broadcast_to(np.repeat([16, 8, 2], 4), excited.shape))
    np.testing.assert_allclose(made["xhat"].mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(made["target"].std(1), 1)
    # The target is exactly what half the features can make, with a constant.
    half = np.maximum(made["xhat"][0], 0)[:, [0, 1, 4, 5, 8, 9]]
    known = np.column_stack([half, np.ones(32)])
    left = made["target"][0] - known @ np.linalg.lstsq(known, made["target"][0])[0]
    np.testing.assert_allclose(left, 0, atol=1e-9)


def test_sgd_is_a_loop_with_autograd(data: xr.Dataset) -> None:
    made, lr = SMALL._data(range(3)), float(data["lr"].sel(optimizer="sgd"))
    xhat, target, w = (torch.tensor(made[name][2]) for name in ("xhat", "target", "start"))
    for batch in made["order"][:, 2]:
        leaf = w.clone().requires_grad_()
        output = torch.relu(leaf[0] * xhat[batch] + leaf[1]) @ leaf[2]
        (((output - target[batch]) ** 2).mean() / 2 + 0.05 * (leaf**2).sum() / 2).backward()
        assert leaf.grad is not None
        w = w - lr * leaf.grad
    y = torch.relu(w[0] * xhat + w[1])
    found = data.sel(optimizer="sgd", coupling="l2", strength=0.05, seed=2)
    assert float(found["loss"]) == pytest.approx(float((((y @ w[2]) - target) ** 2).mean() / 2), rel=1e-8)
    most = y.max(0).values
    np.testing.assert_array_equal(found["inactive"].values.ravel(), (most < 1e-12).double())
    shares = (y < 1e-3 * most).double().mean(0).numpy()
    np.testing.assert_allclose(found["selective"].values.ravel(), np.where(most > 1e-12, shares, np.nan))


def network() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One network of twelve features whose effects are known; the first is dead and the second is small."""
    made = SMALL._data(range(1))
    w = made["start"][None].copy()
    w[0, 0, 0, 0], w[0, 0, 1, 0] = 0.1, -5.0
    w[0, 0, 0, 1], w[0, 0, 1, 1] = 1e-4, 0.25
    return w, made


def test_removal_is_told_as_it_is_done_by_hand() -> None:
    w, made = network()
    found = SMALL._outcome(w, made)
    y = np.maximum(w[0, 0, 0] * made["xhat"][0] + w[0, 0, 1], 0)
    outgoing, target = w[0, 0, 2], made["target"][0]
    assert found["inactive"].ravel().tolist() == [1] + [0] * 11
    assert found["small"].ravel().tolist() == [0, 1] + [0] * 10
    assert found["without_inactive"].item() == 0
    assert found["without_small"].item() == pytest.approx(np.abs(y[:, 1] * outgoing[1]).max())

    def loss(gone: list[int]) -> float:
        kept = [k for k in range(12) if k not in gone]
        return float(((y[:, kept] @ outgoing[kept] - target) ** 2).mean() / 2)

    assert found["loss"].item() == pytest.approx(loss([]))
    # A quarter of the eleven live ones is three; the copies of the largest selectivity are the last four.
    selective = found["selective"].ravel()
    assert np.nanargmax(selective) in range(8, 12)
    costs = [loss(list(gone)) - loss([]) for gone in ((8, 9, 10), (8, 9, 11), (8, 10, 11), (9, 10, 11))]
    assert np.abs(np.array(costs) - found["cost"][0, 0, 0, 0]).min() < 1e-12
    # The constant feature is active everywhere: the least selective, removed first in the other order.
    assert selective[1] == 0
    costs = [loss([1, a, b]) - loss([]) for a, b in ((2, 3),)]
    assert found["cost"][0, 2, 0, 0] == pytest.approx(costs[0])


def test_features_that_are_dead_are_not_among_those_removed() -> None:
    w, made = network()
    keys = SMALL._keys(SMALL._outcome(w, made)["selective"].reshape(1, 1, 12))
    assert len(keys) == 3
    for key in (k for order in keys for k in order):
        assert np.isinf(key[0, 0, 0])
        assert np.isfinite(key[0, 0, 1:]).all()


def test_without_a_regularizer_the_strength_says_nothing(data: xr.Dataset) -> None:
    none = data.sel(coupling="none")
    xr.testing.assert_equal(none.isel(strength=0, drop=True), none.isel(strength=1, drop=True))
    sgd = data.sel(optimizer="sgd")
    np.testing.assert_allclose(sgd["loss"].sel(coupling="l2"), sgd["loss"].sel(coupling="decoupled_lr"), rtol=1e-9)
