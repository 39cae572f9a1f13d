"""How a BatchNorm + ReLU feature dies (E): against sampling, exact recursions and the rules themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.paths import noisy, silent_path, steps_until, take

from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.theory import closed
from dynamics.words import NUMPY

signed = st.floats(0.1, 3).flatmap(lambda x: st.sampled_from([x, -x]))


def normalized(x: np.ndarray, eps: float = 0.0) -> np.ndarray:
    """As BatchNorm does it in training, in the precision of x."""
    centred = x - x.mean(dtype=x.dtype)
    return np.asarray(centred / np.sqrt((centred * centred).mean(dtype=x.dtype) + x.dtype.type(eps)))


class TestActivity:
    @given(gamma=signed, beta=st.floats(-5, 5))
    @settings(max_examples=20)
    def test_e1_against_a_grid_over_the_normal_law(self, gamma: float, beta: float) -> None:
        # The midpoint rule on quantiles; the kink costs one cell in 200,000, the tails sqrt(log) of that.
        from scipy.special import ndtri

        xhat = ndtri((np.arange(200_000) + 0.5) / 200_000)

        def mean(gamma: float, beta: float) -> float:
            return float(np.maximum(gamma * xhat + beta, 0).mean())

        assert float(closed.inactive_share(gamma, beta)) == pytest.approx((gamma * xhat + beta <= 0).mean(), abs=1e-5)
        assert float(closed.mean_activation(gamma, beta)) == pytest.approx(mean(gamma, beta), abs=2e-4)
        by_gamma, by_beta = closed.activation_slopes(gamma, beta)
        h = 1e-3
        assert float(by_gamma) == pytest.approx((mean(gamma + h, beta) - mean(gamma - h, beta)) / (2 * h), abs=2e-3)
        assert float(by_beta) == pytest.approx((mean(gamma, beta + h) - mean(gamma, beta - h)) / (2 * h), abs=2e-3)

    @given(x=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), eps=st.sampled_from([1e-12, 1e-5]))
    def test_e2_no_normalized_value_exceeds_the_bound(self, x: list[float], eps: float) -> None:
        # Rounding of the mean is 1e-16 of the values, of the deviations 1e-16 / 1e-6 for the smallest variance.
        assert np.abs(normalized(np.array(x), eps)).max() <= closed.normalized_bound(len(x)) * (1 + 1e-6)

    @given(count=st.integers(2, 2_000), gamma=signed)
    def test_e2_one_outlier_attains_it_and_the_certificate_is_tight(self, count: int, gamma: float) -> None:
        x = np.zeros(count)
        x[0] = 1.0 if gamma > 0 else -1.0
        xhat = normalized(x)
        bound = closed.normalized_bound(count)
        assert np.abs(xhat).max() == pytest.approx(bound, rel=1e-12)
        for beta, dead in ((-abs(gamma) * bound * 1.001, True), (-abs(gamma) * bound * 0.999 - 1e-300, False)):
            assert bool(closed.certified_dead(gamma, beta, count)) is dead
            assert bool((gamma * xhat + beta > 0).any()) is not dead

    def test_e2_single_precision_oversteps_the_bound(self) -> None:
        rng, worst = np.random.default_rng(0), 0.0
        for count in (2, 3, 8, 128, 1_024):
            for _ in range(200):
                x = np.full(count, rng.normal() * 10 ** rng.uniform(-3, 3), dtype=np.float32)
                x[rng.integers(count)] += np.float32(10 ** rng.uniform(-3, 6))
                if np.ptp(x) > 0:
                    worst = max(worst, np.abs(normalized(x, 1e-5)).max() / closed.normalized_bound(count) - 1)
        assert 1e-6 < worst < 1e-4
        assert not closed.certified_dead(1.0, -closed.normalized_bound(128), 128, rounding=1e-4)


class TestDeathAndRevival:
    @pytest.mark.parametrize("rule", ["sgd", "momentum"])
    def test_e4_linear_rules_keep_the_threshold(self, rule: str) -> None:
        gamma, beta = (take(silent_path(rule, "l2", 0.1, 0.05, start=w), 200) for w in (1.0, -1.5))
        np.testing.assert_allclose(beta / gamma, -1.5, rtol=1e-12)
        gamma, beta = (take(silent_path("adam", "decoupled_lr", 0.1, 0.05, start=w), 200) for w in (1.0, -1.5))
        np.testing.assert_allclose(beta / gamma, -1.5, rtol=1e-12)

    @given(
        gamma=signed, ratio=st.floats(1.1, 4), more=st.floats(1.3, 4), memory=st.floats(5, 100),
        beta1=st.sampled_from([0.0, 0.5, 0.8]),
    )  # fmt: skip
    @settings(max_examples=15)
    def test_e4_adam_with_l2_carries_a_selective_feature_to_exact_zero(
        self, gamma: float, ratio: float, more: float, memory: float, beta1: float
    ) -> None:
        beta2, lr = max(math.exp(-1 / memory), beta1), 2e-4
        lr = min(lr, 0.0099 * abs(gamma) / memory)
        hyper = {"beta1": beta1, "beta2": beta2, "eps": 1e-30}
        formula = closed.death_steps(gamma, -ratio * abs(gamma), lr, ratio * more, beta2, beta1)
        steps = int(1.1 * formula) + 50
        g = np.abs(take(silent_path("adam", "l2", lr, 0.01, hyper, gamma), steps))
        b = take(silent_path("adam", "l2", lr, 0.01, hyper, -ratio * abs(gamma)), steps)
        found = int((b <= -g * ratio * more).argmax())
        assert found == pytest.approx(formula, rel=0.04, abs=1 + 2 * beta1 / (1 - beta1))

    def test_e4_at_the_defaults_it_takes_twice_as_long(self) -> None:
        g, b = (take(silent_path("adam", "l2", 1e-3, 0.01, start=w), 3_000) for w in (1.0, -1.5))
        assert int((b <= -8 * g).argmax()) == 1_939  # linear: 929
        with pytest.raises(InputError, match=r"^lr tau / gamma 0.999.*: must be at most 0.01"):
            closed.death_steps(1.0, -1.5, 1e-3, 8.0)

    def test_e4_a_universal_feature_goes_to_0_first_and_then_nowhere_certain(self) -> None:
        g, b = (take(silent_path("adam", "l2", 1e-4, 0.01, {"beta2": 0.9}, w), 20_001) for w in (1.0, -0.5))
        a = b / np.abs(g)
        assert np.all(np.diff(a[:4_900]) > 0)
        assert -0.03 < a[4_900] < 0
        # Once both swing about 0 by some lr the ratio has no limit: a is not 0 in the end.
        assert np.abs(a[-1_000:]).max() > 0.1

    @pytest.mark.parametrize(("sigma_gamma", "sigma_beta"), [(1.0, 0.2), (0.2, 1.0), (1.0, 0.8)])
    def test_e5_unequal_residues_revive_or_kill(self, sigma_gamma: float, sigma_beta: float) -> None:
        def path(start: float, sigma: float) -> np.ndarray:
            state = {"v": sigma**2, "power1": 0.0, "power2": 0.0}
            return take(silent_path("adam", "l2", 1e-3, 0.01, {"eps": 1e-30}, start, state), 5_001)

        a = path(-1.5, sigma_beta) / path(1.0, sigma_gamma)
        assert bool(a[5_000] > a[0]) is closed.revives(sigma_gamma, sigma_beta)
        formula = closed.residual_path(-1.5 * -1, 1e-3, 0.01, sigma_beta, 0.999, 3_000) / closed.residual_path(
            1.0, 1e-3, 0.01, sigma_gamma, 0.999, 3_000
        )
        # 3%: a lag of nine steps, and what the pull's own squares add where the residue is .2.
        assert -a[3_000] == pytest.approx(float(formula), rel=0.03)

    @given(share=st.floats(1e-3, 0.1))
    @settings(max_examples=20)
    def test_e6_decay_takes_four_times_as_long_to_1e_12(self, share: float) -> None:
        assert closed.decade_ratio(1.0, 1e-3, 1e-12) == pytest.approx(4)
        near, far = (steps_until(silent_path("sgd", "decoupled_lr", 1.0, share), target) for target in (1e-3, 1e-12))
        assert abs(far - 4 * near) <= 4  # whole steps
        assert closed.decade_ratio(0.1, 1e-3, 1e-12) == pytest.approx(5.5)


class TestStarvation:
    @given(arrival=st.floats(0.01, 0.6), length=st.integers(1, 60), more=st.floats(1, 30), seed=st.integers(0, 9))
    @settings(max_examples=15)
    def test_e8_the_recursion_is_the_probability(self, arrival: float, length: int, more: float, seed: int) -> None:
        steps, draws = int(length * more), 4_000
        silent = np.random.default_rng(seed).random((draws, steps)) >= arrival
        run, longest = np.zeros(draws, dtype=int), np.zeros(draws, dtype=int)
        for column in silent.T:
            run = np.where(column, run + 1, 0)
            longest = np.maximum(longest, run)
        p = closed.starvation_exact(arrival, length, steps)
        assert abs((longest >= length).mean() - p) <= 4.5 * math.sqrt(p * (1 - p) / draws) + 1e-3

    @given(arrival=st.floats(0.003, 0.6), q=st.floats(1e-4, 0.1), more=st.floats(1, 200))
    def test_e8_the_exponential_is_too_small_by_at_most_a_third_of_q(
        self, arrival: float, q: float, more: float
    ) -> None:
        lengths = np.arange(1, 10_000)
        length = int(lengths[((1 + lengths * arrival) * (1 - arrival) ** lengths <= q).argmax()])
        steps = min(int(length * more), 200_000)
        short = closed.starvation_exact(arrival, length, steps) - closed.starvation(arrival, length, steps)
        q = (1 + length * arrival) * (1 - arrival) ** length
        assert -1e-10 <= short <= q / 3

    def test_e8_outside_its_regime_it_would_be_wrong(self) -> None:
        with pytest.raises(InputError, match=r"^\(1 \+ L p\)\(1-p\)\^L 0.75.*: must be at most 0.1"):
            closed.starvation(0.5, 1, 2)
        assert closed.starvation_exact(0.5, 1, 2) == 0.75
        assert 1 - math.exp(-(1 * 0.5 + 1) * 0.5) < 0.53


class TestCapacity:
    @given(
        p=st.lists(st.floats(0.3, 1), min_size=2, max_size=8), target=st.floats(0.1, 1), strength=st.floats(0.05, 0.5)
    )
    @settings(max_examples=6)
    def test_e9_l2_shares_by_arrival_and_adamw_evenly(self, p: list[float], target: float, strength: float) -> None:
        arrivals = np.array(p)

        def train(rule: str, coupling: str, lr: float, steps: int) -> np.ndarray:
            """Mean weights over the last quarter."""
            step, hyper = compose(RULES[rule], COUPLINGS[coupling], NUMPY), RULES[rule].hyperparameters()
            w, late = np.zeros(len(p)), []
            inner = RULES[rule].fresh(w, hyper)
            for t in range(steps):
                g = arrivals * (arrivals @ w - target)
                w, *inner = step(w, g, tuple(inner), lr, 1.0, strength, tuple(hyper.values()))
                if t >= 3 * steps // 4:
                    late.append(w)
            return np.mean(late, axis=0)

        found = train("sgd", "l2", 0.2, 3_000)
        np.testing.assert_allclose(found, closed.shared_l2(arrivals, target, strength), rtol=1e-6, atol=1e-9)
        by_adamw = train("adam", "decoupled_lr", 1e-3, 12_000)
        # A few lr: near the optimum the gradient, and with it v, comes and goes.
        np.testing.assert_allclose(by_adamw, closed.shared_adamw(arrivals, target, strength), rtol=0, atol=0.01)

    def test_e9_adamw_stops_at_1_over_strength(self) -> None:
        assert closed.shared_adamw([0.1, 0.1], 10.0, 0.5) == 2.0


class TestCollapse:
    @pytest.mark.parametrize(("steps", "size"), [(100, 5.0), (400, 40.0)])
    @pytest.mark.parametrize("noise", ["normal", "uniform", "sign"])
    def test_e10_the_correction_belongs_to_the_noise(self, steps: int, size: float, noise: str) -> None:
        rng, walks = np.random.default_rng(1), 20_000
        w, hit = np.full(walks, size), np.zeros(walks, dtype=bool)
        for _ in range(steps):
            u = rng.random(walks)
            w += (
                rng.normal(size=walks)
                if noise == "normal"
                else math.sqrt(12) * (u - 0.5)
                if noise == "uniform"
                else np.sign(u - 0.5)
            )
            hit |= w <= 1e-9
        found, error = hit.mean(), 0.5 / math.sqrt(walks)
        assert abs(found - closed.collapse(size, 1.0, 1.0, steps, noise)) < 3 * error + 0.005

    def test_e10_normal_noises_correction_is_wrong_for_signs(self) -> None:
        # At 5 steps from 0 over 100 steps: .617 seen with signs, .577 by .583, 12 standard errors away.
        assert closed.collapse(5, 1.0, 1.0, 100, "sign") - closed.collapse(5, 1.0, 1.0, 100, "normal") > 0.035

    def test_e10_for_sgd_under_the_simulators_noise(self) -> None:
        record = np.arange(1, 401)
        w = noisy("sgd", "none", record, 4_000, start=1.0, lr=0.05, sigma=2.0)
        found = (w <= 0).any(axis=0).mean()
        assert found == pytest.approx(closed.collapse(1.0, 0.05, 2.0, 400, "uniform"), abs=4 * 0.5 / math.sqrt(4_000))
