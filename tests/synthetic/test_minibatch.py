"""Features on mini-batches: what the batches hold, and what becomes of the features, against independent counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from synthetic.batch_rest import BatchRest
from synthetic.batches import Gradients, exciting_in_batches, longest_silence, patterns_in_batches
from synthetic.decays import Decays
from synthetic.minibatch import MiniBatch
from synthetic.starvation import Starvation

SMALL = MiniBatch(images=256, epochs=2, batches=(1, 4, 16), exciting=(1, 16), seeds=3, features=4)
DECAYS = Decays(images=256, batches=(1, 4, 16), exciting=(1, 16), steps=512, seeds=3, features=4)
STARVED = Starvation(images=256, batches=(1, 4, 16), lengths=(16, 64, 256), steps=512, seeds=3, features=48)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_an_epoch_holds_every_image_once() -> None:
    held = exciting_in_batches(np.random.default_rng(0), 7, 48, 4, 30, 500)
    assert held.shape == (30, 500)
    assert (held[:12].sum(axis=0) == 7).all()
    assert (held[12:24].sum(axis=0) == 7).all()
    assert (held <= 4).all()


@pytest.mark.parametrize("batch", [1, 4, 12])
def test_what_a_batch_holds_is_what_shuffled_images_give(batch: int) -> None:
    """Against a shuffle of the images themselves: every batch of the epoch, and neighbours together."""
    count, images, exciting = 4_000, 24, 5
    held = exciting_in_batches(np.random.default_rng(1), exciting, images, batch, images // batch, count)
    order = np.random.default_rng(2).permuted(np.tile(np.arange(images) < exciting, (count, 1)), axis=1)
    expected = order.reshape(count, -1, batch).sum(axis=2).T
    for k in range(exciting + 1):
        np.testing.assert_allclose((held == k).mean(axis=1), (expected == k).mean(axis=1), atol=0.05)
    together, shuffled = (np.corrcoef(x[0], x[1])[0, 1] for x in (held, expected))
    assert together == pytest.approx(shuffled, abs=0.08)
    assert (held[-1] == 0).mean() == pytest.approx(stats.hypergeom.pmf(0, images, exciting, batch), abs=0.03)


def test_patterns_are_dealt_to_features() -> None:
    held, unused = patterns_in_batches(np.random.default_rng(3), 64, 32, (2, 16), 32, 32)
    assert held.shape == (32, 2, 32)
    per_epoch = held[:, 0].sum(axis=0)
    assert per_epoch.sum() == 64  # 32 batches of 2: one epoch, in which each pattern excites one feature
    np.testing.assert_array_equal(held[:4, 1].sum(axis=0), per_epoch)
    assert unused == (per_epoch == 0).mean()
    assert 0.05 < unused < 0.3  # exp(-2) = .135


def test_the_longest_silence_is_found() -> None:
    draws = np.random.default_rng(4).random((60, 40)) < 0.7
    for lane in range(40):
        runs = "".join("x" if silent else " " for silent in draws[:, lane]).split()
        assert longest_silence(draws)[lane] == max(map(len, runs), default=0)
    assert longest_silence(np.ones((5, 1), dtype=bool)) == 5


def test_a_feature_that_fell_gets_no_gradient_again() -> None:
    """SGD + L2 written out, weight by weight."""
    rng = np.random.default_rng(5)
    share, noise = rng.random((50, 6)) * (rng.random((50, 6)) < 0.3), 0.4 * rng.standard_normal((50, 6))
    gradients = Gradients(share, noise, 1.0, 0.2)
    w, died = gradients.train("sgd", "l2", np.ones(6), [20, 50], scale=np.full(6, 0.5), lr=0.3, strength=0.1)
    for lane in range(6):
        at, fell, path = 1.0, np.inf, []
        for t in range(50):
            path.append(at)
            if at <= 0.2:
                fell = min(fell, t)
            g = 0.0 if np.isfinite(fell) else 0.5 * (share[t, lane] * (at - 1.0) + noise[t, lane])
            at -= 0.3 * (g + 0.1 * at)
        fell = min(fell, 50) if at <= 0.2 else fell
        assert died[lane] == fell
        np.testing.assert_allclose(w[:, lane], [path[20], at], rtol=1e-12)
    assert np.isfinite(died).any()
    assert np.isinf(died).any()


def test_death_at_the_last_step_counts() -> None:
    nothing = np.zeros((3, 2))
    gradients = Gradients(nothing, nothing, 1.0, 0.75)
    assert gradients.train("sgd", "l2", np.array([1.0, 2.0]), [3], lr=1.0, strength=0.1)[1].tolist() == [3, np.inf]


def test_the_mean_over_a_batch_has_the_stated_noise() -> None:
    held = np.full((2, 1, 20_000), 4.0)
    batch = np.array([2, 8])[:, None, None]
    drawn = np.random.default_rng(6).standard_normal(held.shape)
    gradients = Gradients.of(held, batch, drawn, 3.0, 1.0, 0.5, 0.0)
    np.testing.assert_allclose(gradients.share[:, 0, 0], [3.0 * 4 / 2, 3.0 * 4 / 8])
    np.testing.assert_allclose(gradients.noise.std(axis=-1)[:, 0], [0.5 * 2 / 2, 0.5 * 2 / 8], rtol=0.03)


def test_batches_are_as_silent_as_they_should_be(data: xr.Dataset) -> None:
    exact = stats.hypergeom.pmf(0, 256, data.exciting.values, data.batch.values[:, None])
    np.testing.assert_allclose(data["silent_epoch"], exact, rtol=1e-9)
    np.testing.assert_allclose(data["silent"].mean("seed"), exact, atol=0.02)
    np.testing.assert_allclose(
        data["silent_independent"], (1 - np.array([1, 16]) / 256) ** data.batch.values[:, None], rtol=1e-12
    )
    np.testing.assert_allclose(data["selectivity"], 1 - np.array([1, 16]) / 256)


def test_the_horizons_meet_at_the_smallest_batch(data: xr.Dataset) -> None:
    for name in ("dead", "size"):
        first = data[name].isel(batch=0)
        np.testing.assert_array_equal(first.sel(horizon="epochs"), first.sel(horizon="steps"))
    assert (data["dead"].sel(horizon="epochs") <= data["dead"].sel(horizon="steps")).all()
    later = data["size"].isel(batch=1)
    assert (later.sel(horizon="epochs") != later.sel(horizon="steps")).any()


def test_who_dies_after_the_epochs_counts_at_equal_steps_alone() -> None:
    """A floor so high that features keep falling to it: larger batches have had fewer steps by the end of the epochs."""
    world = replace(SMALL, floor=0.7, optimizers=("adam",), lr=(0.01,))
    dead = world.run()["dead"].sel(optimizer="adam", coupling="l2", exciting=1)
    assert (dead.sel(horizon="epochs", batch=16) == 0).all()  # 32 steps of at most about 0.01
    assert (dead.sel(horizon="steps", batch=16) > 0).any()


def test_a_death_at_the_last_step_of_the_epochs_counts_in_them() -> None:
    world = MiniBatch(images=4, epochs=1, batches=(1,), couplings=("l2",), strength=0.1)
    nothing = np.zeros((4, 1, 1, 1, 1))
    gradients = Gradients(nothing, nothing, 1.0, world.target * 0.9**3.5)  # reached with the fourth step of four
    assert (world._outcome(gradients, "sgd", 1.0)[0] == 1).all()


def test_nothing_dies_without_a_regularizer(data: xr.Dataset) -> None:
    assert (data["dead"].sel(coupling="none") == 0).all()


def test_the_strengths_compared_go_through_the_same_batches(data: xr.Dataset) -> None:
    full = DECAYS.run()["dead"].sel(strength=0.01)
    for entry in ("l2", "decoupled_lr"):
        grid = data["dead"].sel(optimizer="adam", coupling=entry, horizon="steps").mean(("batch", "exciting"))
        np.testing.assert_allclose(full.sel(coupling=entry), grid, atol=1e-12)
    # Decay without the factor lr = 0.01 is decay x lr of a hundred times the strength.
    wide = replace(DECAYS, strengths=(0.01, 1.0)).run()["dead"]
    np.testing.assert_array_equal(
        wide.sel(coupling="decoupled_schedule", strength=0.01), wide.sel(coupling="decoupled_lr", strength=1.0)
    )
    assert (wide > 0).any()


def test_under_sgd_l2_and_decay_are_one(data: xr.Dataset) -> None:
    at = data["size"].sel(optimizer="sgd")
    np.testing.assert_allclose(at.sel(coupling="l2"), at.sel(coupling="decoupled_lr"), rtol=1e-9)


def test_starvation_is_as_the_recursion_says_where_batches_are_independent() -> None:
    data = STARVED.run()
    seen = data["starved"].mean("seed")
    np.testing.assert_allclose(seen.sel(sampling="independent"), data["predicted"], atol=0.15)
    # One image, visited once an epoch of 256/batch steps: no run without it is longer than two epochs.
    epoch = 256 / data["batch"]
    assert (seen.sel(sampling="epochs").where(data["length"] >= 2 * epoch - 1, 0) == 0).all()


def test_noise_dominated_features_rest_where_the_closed_forms_say() -> None:
    """Over the steps of the reported world: fewer leave the smallest batch unsettled."""
    data = BatchRest(seeds=2).run()
    np.testing.assert_allclose(data["rest"].mean("seed"), data["predicted"], rtol=0.08)
    np.testing.assert_allclose(data["predicted"].sel(coupling="l2"), 0.5, rtol=1e-9)
    assert (np.diff(data["predicted"].sel(coupling="decoupled_lr")) > 0.1).all()
