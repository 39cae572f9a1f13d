"""A BatchNorm + ReLU feature and its teacher: the backward pass against autograd, the world against a loop written here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from dynamics.theory import closed
from synthetic.feature import Feature, backward, forward, normalize

SMALL = Feature(
    optimizers=("sgd", "adam"),
    rates=((0.1, 0.3), (0.01, 0.03)),
    strengths=(0.03, 0.3),
    selectivities=(0.75, 0.97),
    images=32,
    inputs=5,
    epochs=6,
    seeds=3,
    tuning_seeds=2,
)
STEPS = 6 * 4
CELL = ("optimizer", "coupling", "strength", "selectivity", "seed")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def in_torch(x: torch.Tensor, w: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss by torch's own batch norm: one feature a row of w."""
    h = (w[:, :-2] @ x.T).T
    xhat = torch.nn.functional.batch_norm(h, None, None, training=True, eps=1e-30)
    y = torch.relu(w[:, -2] * xhat + w[:, -1])
    return ((y - target.T) ** 2).mean(0).sum() / 2


@pytest.mark.parametrize("count", [2, 8, 33])
def test_the_backward_pass_is_that_of_autograd(count: int) -> None:
    draws = np.random.default_rng(count)
    x, w = 3 + draws.normal(size=(count, 5)), draws.normal(size=(6, 7))
    target = draws.normal(size=(6, count))
    leaf = torch.tensor(w, requires_grad=True)
    in_torch(torch.tensor(x), leaf, torch.tensor(target)).backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(backward(x, w, target), leaf.grad.numpy(), rtol=1e-10, atol=1e-10)
    stacked = backward(np.stack([x, x]), np.stack([w, 2 * w]), np.stack([target, target]))
    np.testing.assert_allclose(stacked[0], leaf.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_the_gradient_of_the_input_weights_is_orthogonal_to_them() -> None:
    draws = np.random.default_rng(0)
    w = draws.normal(size=(4, 7))
    g = backward(draws.normal(size=(8, 5)), w, draws.normal(size=(4, 8)))
    np.testing.assert_allclose((g[:, :-2] * w[:, :-2]).sum(1), 0, atol=1e-12)
    assert (np.abs(g[:, :-2]).max(1) > 1e-3).all()


def test_values_are_normalized_by_their_own_batch() -> None:
    xhat, deviation = normalize(np.random.default_rng(0).normal(3, 2, size=(5, 16)))
    np.testing.assert_allclose(xhat.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose((xhat**2).mean(-1), 1)
    assert deviation.shape == (5, 1)


def test_every_value_is_labelled(data: xr.Dataset) -> None:
    names = ("inactive", "small", "certified", "reborn", "certified_steps", "violations", "silent_images", "loss")
    for name in (*names, "gamma", "beta"):
        assert data[name].dims == CELL
    assert data["bound"].dims == ("law", "seed")
    assert data["rate"].dims == data["rate_loss"].dims == ("optimizer", "candidate")
    assert list(data.coupling.values) == ["none", "l2", "decoupled_lr", "decoupled_schedule"]
    assert {
        "reference": 0.03,
        "images": 32,
        "batch": 8,
        "steps": STEPS,
        "tuning_seeds": 2,
    }.items() <= data.attrs.items()
    assert np.isfinite(data["loss"]).all()
    for name in ("inactive", "small", "certified", "reborn"):
        assert set(np.unique(data[name])) <= {0.0, 1.0}


def test_a_teacher_is_silent_on_its_share_of_images() -> None:
    made = SMALL._data(range(3))
    active = (made["target"] > 0).sum(-1)
    np.testing.assert_array_equal(active, np.broadcast_to([8, 1], active.shape))
    np.testing.assert_allclose((made["target"] ** 2).sum(-1), active)
    epochs = made["order"].reshape(6, 4, 3, 8).swapaxes(1, 2).reshape(18, 32)
    np.testing.assert_array_equal(np.sort(epochs), np.broadcast_to(np.arange(32), epochs.shape))


@pytest.mark.parametrize("coupling", ["none", "l2", "decoupled_lr", "decoupled_schedule"])
def test_sgd_is_a_loop_of_autograd(data: xr.Dataset, coupling: str) -> None:
    made, lr, strength = SMALL._data(range(3)), float(data["lr"].sel(optimizer="sgd")), 0.3
    x, target = torch.tensor(made["x"][1]), torch.tensor(made["target"][1])
    w = torch.tensor(made["start"][1])
    for batch in made["order"][:, 1]:
        leaf = w.clone().requires_grad_()
        in_torch(x[batch], leaf, target[:, batch]).backward()
        assert leaf.grad is not None
        pull = {"none": 0.0, "l2": lr * strength, "decoupled_lr": lr * strength, "decoupled_schedule": 0.0}[coupling]
        w = w - lr * leaf.grad - pull * w
        if coupling == "decoupled_schedule":
            w = w - strength * w
    found = data.sel(optimizer="sgd", coupling=coupling, strength=strength, seed=1)
    np.testing.assert_allclose(found["gamma"], w[:, -2], rtol=1e-8)
    np.testing.assert_allclose(found["beta"], w[:, -1], rtol=1e-8)
    y = forward(made["x"][1], w.numpy())[0]
    np.testing.assert_allclose(found["silent_images"], (y <= 0).mean(1))
    np.testing.assert_allclose(found["loss"], ((y - target.numpy()) ** 2).mean(1) / (target.numpy() ** 2).mean(1))


def test_the_rate_is_that_of_least_loss(data: xr.Dataset) -> None:
    best = data["rate"].isel(candidate=data["rate_loss"].argmin("candidate"))
    np.testing.assert_array_equal(data["lr"], best)


def test_a_seeds_data_do_not_depend_on_the_others(data: xr.Dataset) -> None:
    assert replace(SMALL, seeds=2).run().identical(data.sel(seed=[0, 1]))
    assert len(np.unique(data["gamma"].isel(optimizer=0, coupling=0, strength=0, selectivity=0))) == 3


def test_without_a_regularizer_the_strength_says_nothing(data: xr.Dataset) -> None:
    none = data.sel(coupling="none")
    xr.testing.assert_equal(none.isel(strength=0, drop=True), none.isel(strength=1, drop=True))


def started(gamma: float, beta: float) -> dict[str, np.ndarray]:
    made = SMALL._data(range(3))
    made["start"][..., -2:] = gamma, beta
    return made


def test_a_certified_feature_rests_and_the_certificate_is_counted() -> None:
    limit = closed.normalized_bound(SMALL.batch)
    dead = SMALL._train("sgd", "none", np.array([0.1]), np.array([0.0]), started(1.0, -1.001 * limit))
    assert (dead["certified_steps"] == STEPS).all()
    assert (dead["certified"] == 1).all()
    assert (dead["beta"] == -1.001 * limit).all()
    for name in ("violations", "reborn"):
        assert not dead[name].any()
    alive = SMALL._train("sgd", "none", np.array([0.1]), np.array([0.0]), started(1.0, 0.0))
    assert not alive["certified_steps"].any()


def test_what_returns_after_a_certificate_is_told() -> None:
    # Adam + L2 shoots past 0, and beta is positive then.
    back = SMALL._train("adam", "l2", np.array([0.8]), np.array([1.0]), started(0.5, -3.0))
    assert back["certified_steps"].any()
    assert back["reborn"].any()
    assert not back["violations"].any()


def test_outliers_reach_the_bound_and_nothing_exceeds_it(data: xr.Dataset) -> None:
    assert (data["bound"] <= 1 + 1e-9).all()
    assert (data["bound"].sel(law="outlier") > 0.999).all()
    assert (data["bound"].sel(law="normal") < 0.999).all()


def test_the_dataset_goes_through_a_dictionary(data: xr.Dataset) -> None:
    assert xr.Dataset.from_dict(data.to_dict()).identical(data)
