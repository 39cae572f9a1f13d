"""The pull on selective weights: the world against exact pulls, closed forms and a loop written here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from dynamics.rules import RULES
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.doors import BOTH, strengths
from synthetic.selectivity import Selectivity

SMALL = Selectivity(seeds=3, lanes_a_seed=4)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return SMALL.run()


def test_arrivals_are_shares_and_multiples_of_the_critical_one(data: xr.Dataset) -> None:
    assert list(data.optimizer.values) == list(RULES)
    critical = 1 - math.sqrt(0.99)
    np.testing.assert_allclose(data.arrival, [1, 0.5, 0.25, 0.12, *(k * critical for k in (10, 4, 2, 1, 0.5))])
    assert (data.attrs["critical"], data.attrs["steps"]) == (pytest.approx(critical), SMALL.steps - SMALL.settled)
    assert np.isfinite(data["pull"]).all()


def test_decay_is_lr_times_strength_where_a_rule_does_not_take_it_in(data: xr.Dataset) -> None:
    for rule in RULES.values():
        if not rule.takes_pull:
            np.testing.assert_allclose(data["pull"].sel(optimizer=rule.name, coupling="decoupled_lr"), 1, rtol=1e-3)


def test_the_pull_of_linear_rules_does_not_know_selectivity(data: xr.Dataset) -> None:
    l2 = data["pull"].sel(coupling="l2")
    np.testing.assert_allclose(l2.sel(optimizer="sgd"), 1, rtol=1e-3)
    np.testing.assert_allclose(l2.sel(optimizer=["momentum", "nesterov"]), 10, rtol=1e-3)


def test_a_loss_pulls_sgd_as_often_as_it_speaks(data: xr.Dataset) -> None:
    arrives, _ = SMALL._gradients(data.arrival.values)
    counted = arrives[SMALL.settled :].mean(axis=0).reshape(len(data.arrival), SMALL.seeds, -1).mean(axis=2)
    np.testing.assert_allclose(data["loss"].sel(optimizer="sgd"), counted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rule", ["adam", "nadam", "radam", "rmsprop"])
def test_adaptive_rules_pull_as_the_closed_form_says(data: xr.Dataset, rule: str) -> None:
    for arrival in SMALL.arrivals:
        found = data["pull"].sel(optimizer=rule, coupling="l2", arrival=arrival).mean()
        assert float(found) == pytest.approx(closed.l2_over_decay(arrival, 1.0, 1e-3, 1.0, 1e-8, 0.99), rel=0.04)


def test_adam_follows_its_paper() -> None:
    world = Selectivity(
        rules=("adam",), arrivals=(0.3,), times=(), settled=50, steps=300, seeds=1, lanes_a_seed=1, lr=1e-3
    )
    _, noise = world._gradients(np.array([0.3]))

    def path(strength: float) -> list[float]:
        w, m, v, weights = 1.0, 0.0, 0.0, [1.0]
        for t, noisy in enumerate(noise[:, 0], 1):
            g = noisy + strength * w
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
            w -= 1e-3 * m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.99**t)) + 1e-8)
            weights.append(w)
        return weights

    none, l2 = path(0.0), path(1e-3)
    shares = [math.log(none[t] / l2[t]) for t in (50, 300)]
    expected = (shares[1] - shares[0]) / 250 / 1e-6
    assert world.run()["pull"].sel(coupling="l2").item() == pytest.approx(expected, rel=1e-6)


def test_a_rare_features_gradients_are_some_of_a_frequent_ones() -> None:
    arrives, noise = SMALL._gradients(np.array([0.5, 0.1]))
    often, rarely = arrives.reshape(SMALL.steps, 2, -1).transpose(1, 0, 2)
    assert (rarely <= often).all()
    assert rarely.sum() < often.sum() / 3
    assert (arrives[0] == 1).all()
    np.testing.assert_array_equal(np.abs(noise), arrives)


def test_every_rule_that_forgets_squares_has_its_memory_named() -> None:
    assert {name for name, rule in RULES.items() if rule.memory} == {
        name for name, rule in RULES.items() if rule.adaptive and {"alpha", "rho", "beta2"} & set(rule.defaults)
    } - {"lion"}


@pytest.mark.parametrize("rule", ["sgd", "adam", "schedule_free", "lamb"])
@pytest.mark.parametrize("coupling", ["none", "l2", "decoupled_lr"])
def test_a_lane_under_one_door_goes_as_it_would_alone(rule: str, coupling: str) -> None:
    target = np.array([0.5, -1.0])
    both = np.stack([strengths(name, 0.1, (2,)) for name in ("none", "l2", "decoupled_lr")], axis=1)
    together = simulate_together(
        rule, BOTH, lambda w, t: w - target, np.ones((3, 2)), record=[50], lr=1e-2, strength=both
    ).w[0]
    strength = 0.0 if coupling == "none" else 0.1
    alone = simulate_together(
        rule, coupling, lambda w, t: w - target, np.ones(2), record=[50], lr=1e-2, strength=strength
    ).w[0]
    np.testing.assert_array_equal(together[("none", "l2", "decoupled_lr").index(coupling)], alone)
