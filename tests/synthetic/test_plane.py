"""The plane of gamma and beta: paths and flow against what they must be, and what happens without a loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from dynamics.theory import closed
from synthetic.cone import Cone
from synthetic.labelled import normal, numbers_of
from synthetic.plane import Plane
from synthetic.residue import Residue
from synthetic.walk import Walk

WORLD, CONE, RESIDUE, WALK = Plane(), Cone(), Residue(), Walk(seeds=4, weights=100)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return WORLD.run()


@pytest.fixture(scope="module")
def cone() -> xr.Dataset:
    return CONE.run()


@pytest.fixture(scope="module")
def walk() -> xr.Dataset:
    return WALK.run()


def dead(data: xr.Dataset) -> np.ndarray:
    """Starts in the dead cone."""
    return np.array([beta <= -abs(gamma) * WORLD.largest for gamma, beta in WORLD.starts])


def test_the_gradient_is_the_slope_of_the_loss_outside_the_cone_and_0_within() -> None:
    w = np.array([[1.0, 0.5], [0.7, -1.2], [-0.8, -0.3], [0.4, -1.1], [-0.4, -1.1]])

    def loss(w: np.ndarray) -> np.ndarray:
        missed = closed.mean_activation(w[:, 0], w[:, 1]) - closed.mean_activation(*WORLD.teacher)
        return np.asarray(missed**2 / 2)

    steps = 1e-6 * np.eye(2)
    expected = np.stack([(loss(w + s) - loss(w - s)) / 2e-6 for s in steps], axis=1)
    found = WORLD._gradient(w, 0)
    np.testing.assert_allclose(found[:3], expected[:3], rtol=1e-5)
    assert (found[3:] == 0).all()
    assert (np.abs(expected[3:]) > 0).all()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_in_the_dead_cone_decay_leads_straight_to_the_origin(data: xr.Dataset, name: str) -> None:
    left = (1 - WORLD.lr * WORLD.strength) ** data["step"]
    for k in np.flatnonzero(dead(data)):
        path = data.sel(update=name).isel(start=k)
        np.testing.assert_allclose(path["gamma"], WORLD.starts[k][0] * left, rtol=1e-9)
        np.testing.assert_allclose(path["beta"], WORLD.starts[k][1] * left, rtol=1e-9)
    inside = data["y"] <= -data["x"] * WORLD.largest
    share = (1 - WORLD.lr * WORLD.strength) ** WORLD.look - 1
    field = data.sel(update=name).where(inside)
    expected = (data["y"] * share / WORLD.look).where(inside)
    np.testing.assert_allclose(field["field_beta"], expected.broadcast_like(field["field_beta"]), rtol=1e-9)


def test_in_the_dead_cone_adam_with_l2_moves_both_by_the_learning_rate(data: xr.Dataset) -> None:
    # Fresh, and far from 0: nearly lr a step, gamma down and beta up.
    far = (data["y"] <= -data["x"] * WORLD.largest) & (data["x"] > 0.5)
    field = data.sel(update="adam_l2").where(far)
    assert float(field["field_gamma"].min()) >= -WORLD.lr * (1 + 1e-9)
    assert float(field["field_gamma"].max()) < -0.85 * WORLD.lr
    assert float(field["field_beta"].min()) > 0.95 * WORLD.lr


def test_only_adam_with_l2_takes_features_into_the_dead_cone(data: xr.Dataset) -> None:
    within = data["beta"] <= -abs(data["gamma"]) * WORLD.largest
    taken = within.any("step") & ~within.isel(step=0)
    assert taken.sum("start").sel(update=["sgd", "adamw"]).values.tolist() == [0, 0]
    assert int(taken.sel(update="adam_l2").sum()) >= 2


def test_ratios_are_kept_by_decay_and_not_by_adam_with_l2(cone: xr.Dataset) -> None:
    assert float(cone["drift"].sel(update=["sgd", "adamw"]).max()) < 1e-12
    assert float(cone["drift"].sel(update="adam_l2").min()) > 0.5


def test_death_takes_the_predicted_steps_where_there_is_a_prediction(cone: xr.Dataset) -> None:
    known = cone["predicted"].notnull()
    assert known.all("ratio").values.tolist() == [True, False]
    expected = [(CONE.largest + r) / (CONE.death_lr * (CONE.largest - 1)) for r in CONE.ratios]
    np.testing.assert_allclose(cone["predicted"].sel(beta2=0.9), expected)
    np.testing.assert_allclose(cone["death"].sel(beta2=0.9), expected, rtol=0.04)
    assert (cone["death"].sel(beta2=0.999) > cone["death"].sel(beta2=0.9)).all()


def test_what_is_not_seen_to_die_counts_as_the_whole_run() -> None:
    none = replace(CONE, strength=0.0)._death()[0]
    assert (none == 3 * int(2.5 / 1e-3 / 1.5)).all()


def test_residues_lead_the_predicted_way_and_nearly_as_far() -> None:
    data = RESIDUE.run()
    for pair, there, formula in zip(RESIDUE.residues, data["revival"].values, data["predicted"].values, strict=True):
        assert bool(there < 1) is closed.revives(*pair)
        assert (formula < 1) == (there < 1)
    np.testing.assert_allclose(data["revival"], data["predicted"], rtol=0.02)


def test_passages_are_those_of_geometric_decay(cone: xr.Dataset) -> None:
    for share in CONE.shares:
        for target in (1e-3, 1e-12):
            assert int(cone["passage"].sel(share=share, target=target)) == closed.geometric_steps(share, target)


def test_walks_reach_0_as_often_as_an_independent_count_says(walk: xr.Dataset) -> None:
    noise = np.stack([normal(z)[2] for _, z in numbers_of(WALK.steps, (WALK.seeds, WALK.weights))])
    lowest = 10.0 - np.cumsum(noise, axis=0).max(0)
    assert float(walk["collapsed"].sel(size=10.0, seed=2)) == (lowest <= 0).mean()
    assert (abs(walk["collapsed"].mean("seed") - walk["predicted"]) < 4 * 0.5 / np.sqrt(400)).all()


def test_normal_numbers_are_normal() -> None:
    drawn = np.sort(np.ravel([normal(z) for _, z in numbers_of(200, (5, 20))]))
    share = np.arange(1, drawn.size + 1) / drawn.size
    assert np.abs(share - closed.inactive_share(1.0, -drawn)).max() < 1.95 / np.sqrt(drawn.size)  # Kolmogorov, 0.1%
    assert np.isfinite(normal(np.array([0.0, 1 - 2.0**-32]))).all()
