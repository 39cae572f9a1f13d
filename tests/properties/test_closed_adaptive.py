"""Closed forms of adaptive rules without a gradient (A4 to A7, A9, A13) against stepping the rules."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from properties.paths import Hyper, silent_path, steps_until, take

from dynamics.errors import InputError
from dynamics.theory import closed


def largest_move(rule: str, hyper: Hyper, lr: float, strength: float, steps: int) -> float:
    """The longest step before the weight changes sign, in units of lr."""
    path = take(silent_path(rule, "l2", lr, strength, hyper), steps)
    alive = (path[:-1] > 0).cumprod().astype(bool)
    return float((path[:-1] - path[1:])[alive].max() / lr)


class TestLargestStep:
    @given(
        betas=st.tuples(st.floats(0, 0.9995), st.floats(0, 0.9995)).map(sorted),
        lr=st.floats(1e-4, 1e-2), strength=st.floats(1e-6, 1.0), eps=st.sampled_from([1e-12, 1e-8, 1e-4]),
    )  # fmt: skip
    def test_a4_adam_under_l2_moves_at_most_lr_a_step_until_it_changes_sign(
        self, betas: list[float], lr: float, strength: float, eps: float
    ) -> None:
        hyper = {"beta1": betas[0], "beta2": betas[1], "eps": eps}
        path = take(silent_path("adam", "l2", lr, strength, hyper), 1_000)
        alive = np.append(path[:-1] > 0, False).cumprod().astype(bool)
        assert (path[:-1] - path[1:])[alive[:-1]].max() <= lr * (1 + 1e-9)
        floor = closed.adam_floor(1.0, lr, np.arange(len(path)), betas[0], betas[1])
        assert np.all(path[alive] >= floor[alive] - 1e-9)

    def test_a4_with_beta1_above_beta2_there_are_steps_of_16_lr(self) -> None:
        hyper = {"beta1": 0.972460196954125, "beta2": 0.09388248281672815, "eps": 1e-12}
        assert largest_move("adam", hyper, 0.010020765328243877, 1e-2, 400) > 16
        with pytest.raises(InputError, match=r"^beta1 0.97.*: must be at most beta2 = 0.0938"):
            closed.adam_floor(1.0, 0.01, np.arange(3), hyper["beta1"], hyper["beta2"])

    @given(alpha=st.floats(0, 0.999), lr=st.floats(1e-4, 1e-2))
    @settings(max_examples=20)
    def test_a4_rmsprop_moves_most_at_first(self, alpha: float, lr: float) -> None:
        bound = closed.rmsprop_largest_step(lr, alpha)
        path = take(silent_path("rmsprop", "l2", lr, 0.1, {"alpha": alpha, "eps": 1e-12}), 300)
        assert np.abs(np.diff(path)).max() <= bound * (1 + 1e-9)
        assert path[0] - path[1] == pytest.approx(bound, rel=1e-6)

    def test_a4_nadam_exceeds_lr_by_6_percent_at_its_defaults_and_13_at_others(self) -> None:
        assert largest_move("nadam", {}, 1e-3, 1e-2, 500) == pytest.approx(1.0565, abs=1e-3)
        assert largest_move("nadam", {"beta1": 0.5}, 1e-3, 1e-2, 500) == pytest.approx(1.1334, abs=1e-3)


class TestSilentTime:
    # S(1e-3): the time to a thousandth, in units of start / lr.
    @pytest.mark.parametrize(
        ("theta", "expected"), [(0.01, 1.057), (0.1, 1.441), (1.0, 2.771), (10.0, 3.374), (1e6, 3.455)]
    )
    def test_a5_at_known_points(self, theta: float, expected: float) -> None:
        assert float(closed.silent_time(theta, np.array(1e-3))) == pytest.approx(expected, abs=1e-3)

    @given(theta=st.floats(0.05, 10), lr=st.sampled_from([1e-3, 5e-4]), ratio=st.sampled_from([0.5, 0.1, 1e-2, 1e-3]))
    @settings(max_examples=20)
    def test_a5_is_adams_within_three_steps(self, theta: float, lr: float, ratio: float) -> None:
        hyper = {"beta1": 0.0, "beta2": math.exp(-lr / theta), "eps": 1e-30}
        stepped = steps_until(silent_path("adam", "l2", lr, 1e-2, hyper), ratio)
        assert abs(stepped - float(closed.silent_time(theta, np.array(ratio))) / lr) <= 3

    @given(
        theta=st.floats(0.02, 10), lr=st.sampled_from([1e-3, 5e-4]), ratio=st.sampled_from([0.9, 0.5, 0.1, 1e-2, 1e-3])
    )  # fmt: skip
    @settings(max_examples=20)
    def test_a5_is_rmsprops_but_for_its_first_steps(self, theta: float, lr: float, ratio: float) -> None:
        # Without bias correction step k is lr sqrt(tau / k) at first. The sum of 1 / sqrt(k) stays behind its integral
        # by -zeta(1/2) = 1.46, so the weight stays behind by as many lr sqrt(tau), which then fades; one step to round.
        tau = theta / lr
        step = round(float(closed.silent_time(theta, np.array(ratio), corrected=False)) / lr)
        path = take(silent_path("rmsprop", "l2", lr, 1e-2, {"alpha": math.exp(-1 / tau), "eps": 1e-30}), step + 1)
        first = lr / math.sqrt(-math.expm1(-1 / tau))
        assert -lr <= path[step] - ratio <= 1.4603545 * first + lr

    @given(theta=st.floats(0.05, 5))
    @settings(max_examples=10)
    def test_a5_grows_as_the_ratio_falls_and_keeps_its_shape(self, theta: float) -> None:
        ratios = np.array([[0.9, 0.5], [0.1, 1e-3]])
        times = closed.silent_time(theta, ratios)
        assert times.shape == ratios.shape
        assert np.all(np.diff(times.ravel()) > 0)
        assert np.all(times >= 1 - ratios)  # at most lr a step

    @pytest.mark.parametrize(("theta", "ratio"), [(0.0, 0.1), (math.nan, 0.1), (1.0, 0.0), (1.0, 1.0)])
    def test_a5_refuses_values_without_meaning(self, theta: float, ratio: float) -> None:
        with pytest.raises(InputError):
            closed.silent_time(theta, np.array(ratio))

    @pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, math.nan])
    def test_a5_the_refused_ratio_is_the_one_that_is_named(self, wrong: float) -> None:
        with pytest.raises(InputError, match=rf"^ratio {wrong}: numbers in \(0, 1\)"):
            closed.silent_time(1.0, np.array([0.5, wrong]))


class TestPassages:
    @pytest.mark.parametrize(("rule", "slack"), [("adam", 2.5), ("adamax", 3.0)])
    @given(
        lr=st.floats(5e-4, 6e-3), start=st.sampled_from([0.5, 1.0, 2.0]), beta1=st.floats(0.0, 0.95),
        memory=st.floats(20, 3_000), ratio=st.sampled_from([0.5, 0.1, 1e-2, 1e-3]),
    )  # fmt: skip
    @settings(max_examples=40)
    def test_a5_a7_the_momentum_gains_its_lag_times_a_logarithm(
        self, rule: str, slack: float, lr: float, start: float, beta1: float, memory: float, ratio: float
    ) -> None:
        lag, hyper = beta1 / (1 - beta1), {"beta1": beta1, "beta2": math.exp(-1 / memory), "eps": 1e-14}
        assume(lag <= 0.2 * memory and lr * lag <= 0.06 * start and 0.02 <= lr * memory / start <= 20)
        form = closed.adam_steps if rule == "adam" else closed.adamax_steps
        formula = form(start, ratio * start, lr, 1e-2, **hyper)
        stepped = steps_until(silent_path(rule, "l2", lr, 1e-2, hyper, start), ratio * start)
        assert abs(formula - stepped) <= 3 + slack * lag

    def test_a5_without_the_lag_the_defaults_would_miss(self) -> None:
        stepped = steps_until(silent_path("adam", "l2", 1e-3, 1e-2), 0.1)
        assert abs(closed.adam_steps(1.0, 0.1, 1e-3, 1e-2) - stepped) < 3
        assert abs(float(closed.silent_time(-1e-3 / math.log(0.999), np.array(0.1))) / 1e-3 - stepped) > 15

    @given(
        lr=st.floats(5e-3, 0.1), start=st.sampled_from([1.0, 3.0]), strength=st.sampled_from([1e-4, 0.1]),
        size=st.one_of(st.just(0.0), st.floats(1e-2, 30)), ratio=st.sampled_from([0.5, 0.1, 1e-3]),
    )  # fmt: skip
    @settings(max_examples=30)
    def test_a6_adagrad(self, lr: float, start: float, strength: float, size: float, ratio: float) -> None:
        root = size * strength * start
        formula = closed.adagrad_steps(start, ratio * start, lr, strength, root, 1e-12)
        assume(formula < 60_000)
        hyper = {"initial_accumulator": root * root, "eps": 1e-12}
        stepped = steps_until(silent_path("adagrad", "l2", lr, strength, hyper, start), ratio * start)
        assert abs(formula - stepped) <= 1.5 + lr / (2 * start) * stepped

    def test_a6_a_fresh_sum_counts_as_073_of_the_first_pull(self) -> None:
        # 16510 steps are taken; with the sum as it is, 0, the continuous form says 16019.
        assert closed.adagrad_steps(1.0, 1e-3, 1e-2, 1e-2) == pytest.approx(16_510, abs=20)

    @given(
        log_memory=st.floats(0.8, 3), beta1=st.floats(0, 0.97), lr=st.floats(1e-4, 0.1), log_strength=st.floats(-5, -1),
        log_sigma=st.floats(-4, 1), ratio=st.sampled_from([0.5, 0.1, 1e-3]),
    )  # fmt: skip
    def test_a9_a_residue_delays_at_least_so_long(
        self, log_memory: float, beta1: float, lr: float, log_strength: float, log_sigma: float, ratio: float
    ) -> None:
        beta2, strength, sigma = math.exp(-(10**-log_memory)), 10**log_strength, 10**log_sigma
        bound = closed.residual_steps(ratio, lr, strength, sigma, beta2)
        # A step takes 1 - x where continuous time takes exp(-x): x of the time is gained, at most.
        x = lr * strength / sigma
        assume(bound < 8_000 and x < 0.5)
        state = {"v": sigma**2, "power1": 0.0, "power2": 0.0}
        hyper = {"beta1": beta1, "beta2": beta2, "eps": 1e-30}
        earliest = int(bound * (1 - x) - 3 - beta1 / (1 - beta1) * math.log(1 / ratio))
        path = take(silent_path("adam", "l2", lr, strength, hyper, state=state), max(earliest, 1))
        assert np.abs(path).min() > ratio

    def test_a9_in_steps_and_with_momentum_the_bound_may_be_missed(self) -> None:
        beta2, lr, strength, sigma = 0.9297514, 0.0514860, 2.457736e-5, 0.00762132
        state = {"v": sigma**2, "power1": 0.0, "power2": 0.0}
        hyper = {"beta1": 0.9, "beta2": beta2, "eps": 1e-30}
        assert steps_until(silent_path("adam", "l2", lr, strength, hyper, state=state), 0.5) == 136
        assert closed.residual_steps(0.5, lr, strength, sigma, beta2) > 138

    def test_a9_is_close_where_the_residue_outweighs_the_pull_to_the_end(self) -> None:
        beta2, lr, strength, sigma = 0.999, 1e-3, 1e-2, 2.0
        state = {"v": sigma**2, "power1": 0.0, "power2": 0.0}
        path = silent_path("adam", "l2", lr, strength, {"beta1": 0.0, "beta2": beta2, "eps": 1e-30}, state=state)
        stepped = take(path, 9_001)
        formula = closed.residual_path(1.0, lr, strength, sigma, beta2, np.arange(9_001))
        # Two percent: what the pull's own squares add to v.
        np.testing.assert_allclose(stepped, formula, rtol=0.02)
        half = steps_until(iter(stepped), 0.5)
        assert closed.residual_steps(0.5, lr, strength, sigma, beta2) == pytest.approx(half, rel=0.01)


class TestLion:
    @given(
        beta1=st.floats(0.0, 0.99), beta2=st.floats(0.0, 0.995), lr=st.floats(1e-3, 1e-2), start=st.floats(0.2, 5),
    )  # fmt: skip
    def test_a13_l2_overshoots_by_the_momentums_delay(
        self, beta1: float, beta2: float, lr: float, start: float
    ) -> None:
        path = silent_path("lion", "l2", lr, 0.01, {"beta1": beta1, "beta2": beta2}, start=start)
        lowest = next(a for a, b in itertools.pairwise(path) if b >= a)
        # Where the turn falls on a step to the last digit, rounding decides.
        distance = abs(closed.lion_overshoot(start, lr, beta1, beta2) + lowest) / lr
        assert min(distance, abs(distance - 1)) < 1e-6

    def test_a13_the_delay_is_90_steps_and_the_cycle_one_or_two(self) -> None:
        path = take(silent_path("lion", "l2", 1e-3, 0.01, start=3.0003), 20_000) / 1e-3
        # beta1 / (1 - beta2) rounded up to a step; with another factor beta2 it would be 89.7.
        assert -path.min() == pytest.approx(90.7)
        assert np.abs(path[10_000:]).max() < 2
