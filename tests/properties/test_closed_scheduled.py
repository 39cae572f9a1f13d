"""Decay under a learning-rate schedule (F), against the simulator with that schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.paths import silent_path, steps_until

from dynamics.couplings import COUPLINGS, compose
from dynamics.rules import RULES
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate
from dynamics.simulate.schedules import Schedule, cosine, step_decay
from dynamics.theory import closed
from dynamics.words import FLOATS

schedules = st.sampled_from([cosine(300), step_decay([100, 200]), step_decay([50], 0.5)])


def rates(schedule: Schedule, lr: float, steps: int) -> np.ndarray:
    return lr * np.asarray(schedule(np.arange(steps)))


@pytest.mark.parametrize("rule", ["sgd", "adam", "lion"])
@given(schedule=schedules, lr=st.floats(1e-3, 0.1), strength=st.floats(1e-3, 5))
@settings(max_examples=8)
def test_f_decay_without_a_gradient(rule: str, schedule: Schedule, lr: float, strength: float) -> None:
    w = simulate(rule, "decoupled_lr", record=range(301), lanes={"lr": lr, "strength": strength}, schedule=schedule).w[
        :, 0
    ]
    formula = closed.scheduled_decay(1.0, rates(schedule, lr, 300), strength)
    np.testing.assert_allclose(w, formula, rtol=1e-11)
    # To first order only the sum counts: the next term is half the sum of squares, (1 + share) to cover the third.
    shares = strength * rates(schedule, lr, 300)
    assert abs(-math.log(formula[-1]) - shares.sum()) <= 0.5 * (shares**2).sum() * (1 + 2 * shares.max()) + 1e-12


@given(share=st.floats(1e-3, 0.9))
def test_f_half_life(share: float) -> None:
    assert 0 <= steps_until(silent_path("sgd", "decoupled_lr", 1.0, share), 0.5) - closed.half_life(share) < 1 + 1e-6


@given(lr=st.floats(0.01, 0.5), strength=st.floats(0.01, 3), start=st.floats(-3, 3), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_f_adamw_averages_its_updates(lr: float, strength: float, start: float, seed: int) -> None:
    gradients = np.random.default_rng(seed).normal(size=150)
    ends, moves = [start], []
    for coupling, path in (("decoupled_lr", ends), ("none", moves)):
        step = compose(RULES["adam"], COUPLINGS[coupling], FLOATS)
        hyper = RULES["adam"].hyperparameters()
        w, inner = start, RULES["adam"].fresh(start, hyper)
        for g in gradients:
            before = w
            w, *rest = step(w, float(g), inner, lr, 1.0, strength, tuple(hyper.values()))
            inner = tuple(rest)
            path.append(w if coupling != "none" else (before - w) / lr)
    # The updates do not read the weight, so they are the same with and without decay; start cancels in the moves.
    assert ends[-1] == pytest.approx(closed.averaged_updates(start, moves, lr, strength), abs=1e-10)


@given(
    schedule=schedules, lr=st.floats(1e-4, 5e-3), betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)).map(sorted)
)
@settings(max_examples=15)
def test_f_adam_with_l2_stays_above_the_sum_of_its_rates(schedule: Schedule, lr: float, betas: list[float]) -> None:
    lanes = {"lr": lr, "strength": 0.01, "beta1": betas[0], "beta2": betas[1]}
    w = simulate("adam", "l2", record=range(301), lanes=lanes, schedule=schedule).w[:, 0]
    floor = closed.scheduled_floor(1.0, rates(schedule, lr, 300), betas[0], betas[1])
    alive = (w > 0).cumprod().astype(bool)
    assert np.all(w[alive] >= floor[alive] - 1e-9)


class TestLag:
    LR, STRENGTH, STEPS = 0.02, 0.5, 2_000

    def seen(self, coupling: str, rule: str, **hyper: float) -> np.ndarray:
        """E[w^2] at every hundredth step, from its own equilibrium."""
        first = self.LR / (2 * self.STRENGTH)
        lanes = {
            "arrival": 1.0,
            "pull": 0.0,
            "target": 0.0,
            "sigma": 1.0,
            "lr": self.LR,
            "strength": self.STRENGTH,
        } | hyper
        start = math.sqrt(first) * np.random.default_rng(0).normal(size=4_000)
        start *= math.sqrt(first / float((start**2).mean()))
        w = simulate(
            rule, coupling, selective, record=range(0, self.STEPS + 1, 100), lanes=lanes, start=start,
            schedule=cosine(self.STEPS),
        ).w  # fmt: skip
        return np.asarray((w * w).mean(axis=1))

    @pytest.mark.parametrize("corrected", [False, True])
    def test_f_the_recursion_is_exact_for_signs(self, corrected: bool) -> None:
        all_rates, first = rates(cosine(self.STEPS), self.LR, self.STEPS), self.LR / (2 * self.STRENGTH)
        found = self.seen("corrected" if corrected else "decoupled_lr", "lion", beta1=0.0)
        formula = closed.lagging_mean_square(first, all_rates, self.STRENGTH, corrected)[::100]
        # Four standard errors of a mean of 4000 squares of normal numbers.
        np.testing.assert_allclose(found, formula, rtol=4 * math.sqrt(2 / 4_000))

    def test_f_it_lags_behind_by_half_a_memory_and_the_correction_has_nothing_to_follow(self) -> None:
        all_rates, first = rates(cosine(self.STEPS), self.LR, self.STEPS), self.LR / (2 * self.STRENGTH)
        mean = closed.lagging_mean_square(first, all_rates, self.STRENGTH)
        t = self.STEPS // 2
        lag = round(1 / (2 * all_rates[t] * self.STRENGTH))
        assert mean[t] / (all_rates[t] / (2 * self.STRENGTH)) > 1.1
        # 2%: the schedule is not a straight line over the lag.
        assert mean[t] == pytest.approx(all_rates[t - lag] / (2 * self.STRENGTH), rel=0.02)
        corrected = closed.lagging_mean_square(first, all_rates, self.STRENGTH, corrected=True)
        np.testing.assert_allclose(corrected, first, rtol=0.01)

    def test_f_adamw_follows_it_too(self) -> None:
        found = self.seen("decoupled_lr", "adam", beta1=0.0, beta2=0.99)
        all_rates = rates(cosine(self.STEPS), self.LR, self.STEPS)
        formula = closed.lagging_mean_square(found[0], all_rates, self.STRENGTH)[::100]
        np.testing.assert_allclose(found, formula, rtol=0.12)  # and 1% of v's own noise
