"""A weight without a gradient: the world against closed forms and against a loop written here."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from synthetic.silence import Silence

RULES = Silence().optimizers

SMALL = Silence(lr=0.01, strengths=(0.01, 0.05, 0.2), steps=20_000, horizon=20_000, records=60)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_weight_decay_and_sgd_shrink_geometrically(data: xr.Dataset) -> None:
    expected = (1 - SMALL.lr * data.strength) ** data.step
    for coupling in ("l2", "decoupled_lr"):
        np.testing.assert_allclose(data["w"].sel(optimizer="sgd", coupling=coupling), expected, rtol=1e-9)
    for name in RULES:
        decay = data["w"].sel(optimizer=name, coupling="decoupled_lr")
        np.testing.assert_allclose(decay, expected, rtol=1e-9)


@pytest.mark.parametrize(("name", "mu"), [("momentum", 0.9), ("nesterov", 0.9)])
def test_momentum_under_l2_follows_the_powers_of_its_matrix(data: xr.Dataset, name: str, mu: float) -> None:
    for strength in SMALL.strengths:
        lr, push = SMALL.lr, 1 + mu if name == "nesterov" else 1
        # (w, b) -> (w - lr (s w + mu b), mu b + s w) in a step of heavy ball; Nesterov adds the step's own mu b.
        back = mu * mu if name == "nesterov" else mu
        step = np.array([[1 - lr * push * strength, -lr * back], [strength, mu]])
        steps = [int(t) for t in data.step if t <= 2_000]
        expected = [np.linalg.matrix_power(step, t)[0, 0] for t in steps]
        found = data["w"].sel(optimizer=name, coupling="l2", strength=strength, step=steps)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def loop(name: str, strength: float, steps: int) -> list[float]:
    """Adam and RMSprop under L2 with no gradient, as their papers write them; the weight after each step."""
    w, m, v, path = 1.0, 0.0, 0.0, [1.0]
    for t in range(1, steps + 1):
        g = strength * w
        if name == "adam":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w -= SMALL.lr * m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        else:
            v = 0.99 * v + 0.01 * g * g
            w -= SMALL.lr * g / (math.sqrt(v) + 1e-8)
        path.append(w)
    return path


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_adaptive_rules_under_l2_follow_their_papers(data: xr.Dataset, name: str) -> None:
    for strength in SMALL.strengths:
        path = loop(name, strength, 1_000)
        found = data.sel(optimizer=name, coupling="l2", strength=strength)
        steps = [int(t) for t in data.step if t <= 200]
        np.testing.assert_allclose(found["w"].sel(step=steps), [path[t] for t in steps], rtol=1e-9)
        first = next(t for t, w in enumerate(path) if abs(w) <= SMALL.target)
        assert int(found["passage"]) == first


def test_passage_is_the_step_at_which_the_path_is_through(data: xr.Dataset) -> None:
    checked = 0
    for cell in data.stack(cell=("optimizer", "coupling", "strength")).transpose("cell", ...).cell:
        path = data.sel(dict(zip(("optimizer", "coupling", "strength"), cell.item(), strict=True)))
        small = np.abs(path["w"].values) <= SMALL.target
        if small.any():
            at = int(small.argmax())
            assert int(path.step[at - 1]) < int(path.passage) <= int(path.step[at])
            checked += 1
        else:
            assert float(path.passage) > SMALL.steps
    assert checked >= 20


def test_closed_forms_meet_the_simulation_where_they_are_exact(data: xr.Dataset) -> None:
    exact = data.sel(optimizer=["sgd", "momentum", "nesterov"])
    np.testing.assert_allclose(exact["w"], exact["closed"], rtol=1e-6, atol=1e-12)
    # Continuous time stands in for steps, and beta1 is neglected: some ten steps of lr each, at this length.
    early = Silence(lr=1e-3, strengths=(0.01,), steps=600, horizon=600, records=20).run().sel(coupling="l2")
    for name in ("adam", "rmsprop"):
        np.testing.assert_allclose(early["w"].sel(optimizer=name), early["closed"].sel(optimizer=name), atol=0.015)


def test_closed_forms_go_on_where_stepping_ends() -> None:
    long = replace(SMALL, steps=100).run()
    later = long.step > 100
    assert long["w"].isel(step=later.values).isnull().all()
    decay = {"coupling": "decoupled_lr"}
    expected = (1 - SMALL.lr * long.strength) ** long.step
    for name in RULES:
        np.testing.assert_allclose(long["closed"].sel(optimizer=name, **decay), expected, rtol=1e-9)


def test_a_target_out_of_reach_is_not_a_number() -> None:
    none = Silence(strengths=(0.0,), steps=50, horizon=50, records=5).run()
    assert none["passage"].isnull().all()
    assert (none["w"] == 1).all()
