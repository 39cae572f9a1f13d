"""What is said about the rules, held against stepping them. Notation: eta = lr, lambda = strength, x = eta lambda."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import hyperparameters, rates, strengths

from dynamics import closed
from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.gradients import selective
from dynamics.rules import RULES
from dynamics.simulator import simulate
from dynamics.words import FLOATS

Hyper = dict[str, float]


def silent_path(
    rule: str, coupling: str, lr: float, strength: float, hyper: Hyper | None = None, start: float = 1.0
) -> Iterator[float]:
    """w_0, w_1, ... of a fresh weight without a gradient."""
    step = compose(RULES[rule], COUPLINGS[coupling], FLOATS)
    given = tuple(RULES[rule].hyperparameters(**(hyper or {})).values())
    w, inner = start, RULES[rule].fresh()
    while True:
        yield w
        w, *rest = step(w, 0.0, inner, lr, 1.0, strength, given)
        inner = tuple(rest)


def take(path: Iterator[float], count: int) -> np.ndarray:
    return np.array(list(itertools.islice(path, count)))


def steps_until(path: Iterator[float], target: float) -> int:
    return next(t for t, w in enumerate(path) if abs(w) <= target)


class TestWithoutGradient:
    @given(lr=rates, strength=strengths, start=st.floats(0.1, 10))
    def test_a1_for_sgd_l2_is_weight_decay_and_geometric(self, lr: float, strength: float, start: float) -> None:
        l2 = take(silent_path("sgd", "l2", lr, strength, start=start), 200)
        decay = take(silent_path("sgd", "decoupled_lr", lr, strength, start=start), 200)
        np.testing.assert_allclose(l2, decay, rtol=1e-12)
        np.testing.assert_allclose(l2, closed.geometric(start, lr * strength, np.arange(200)), rtol=1e-12)

    @given(lr=rates, strength=strengths, seed=st.integers(0, 1000))
    @settings(max_examples=20)
    def test_a1_for_sgd_l2_is_weight_decay_under_gradients_too(self, lr: float, strength: float, seed: int) -> None:
        lanes = {"lr": lr, "strength": strength, "arrival": 0.5, "pull": 1.0, "target": 0.3, "sigma": 1.0}
        w = simulate(
            "sgd", ["l2", "decoupled_lr"], selective, record=range(200), lanes=lanes, seed=seed, stream=[1, 1]
        ).w
        np.testing.assert_allclose(w[:, 0], w[:, 1], rtol=0, atol=1e-12 * np.abs(w).max())

    @pytest.mark.parametrize("rule", ["momentum", "nesterov"])
    @given(x=st.floats(1e-5, 1.3), mu=st.floats(0.01, 0.99))
    def test_a2_momentum_under_l2_is_a_mixture_of_two_powers(self, rule: str, x: float, mu: float) -> None:
        nesterov = rule == "nesterov"
        r, q = closed.momentum_roots(x, mu, nesterov)
        if abs(r - q) < 1e-3:  # the mixture's two shares then grow without bound and cancel
            return
        stepped = take(silent_path(rule, "l2", 1.0, x, {"momentum": mu}), 300)
        formula = closed.momentum_path(1.0, x, mu, np.arange(300), nesterov)
        # The shares are of size 1 / |r - q|, and rounding of the roots adds up over the steps.
        np.testing.assert_allclose(formula, stepped, rtol=0, atol=1e-12 * np.abs(stepped).max() / abs(r - q))

    @pytest.mark.parametrize("nesterov", [False, True])
    @given(x=st.floats(1e-5, 1.3), mu=st.floats(0.01, 0.99))
    def test_a2_the_larger_rate_comes_first(self, nesterov: bool, x: float, mu: float) -> None:
        r, q = closed.momentum_roots(x, mu, nesterov)
        assert abs(r) >= abs(q) * (1 - 1e-12)
        assert abs(r * q - mu * (1 - x if nesterov else 1)) < 1e-12

    def test_a2_equal_rates_are_refused(self) -> None:
        with pytest.raises(InputError, match="the two rates coincide"):
            closed.momentum_path(1.0, 0.25, 0.25, np.arange(3))

    @given(mu=st.floats(0.1, 0.95), share=st.floats(0.001, 0.05))
    def test_a2_the_slow_rate_is_l2_made_stronger_by_1_over_1_minus_mu(self, mu: float, share: float) -> None:
        x = share * (1 - mu) ** 2
        slow = closed.momentum_roots(x, mu)[0].real
        predicted = 1 - x / (1 - mu) - mu * x**2 / (1 - mu) ** 3
        # The next term of the series is of third order in x / (1 - mu)^2.
        assert abs(slow - predicted) < 3 * (1 - mu) * share**3

    @given(mu=st.floats(0.1, 0.9), excess=st.floats(1.01, 1.3))
    def test_a2_beyond_critical_damping_the_rate_is_the_root_of_mu_whatever_the_strength(
        self, mu: float, excess: float
    ) -> None:
        x = (1 - math.sqrt(mu)) ** 2 * excess
        for root in closed.momentum_roots(x, mu):
            assert abs(root) == pytest.approx(math.sqrt(mu), rel=1e-12)

    @pytest.mark.parametrize("rule", sorted(RULES))
    @given(lr=rates, strength=strengths)
    @settings(max_examples=10)
    def test_a2_decoupled_decay_is_geometric_with_every_rule(self, rule: str, lr: float, strength: float) -> None:
        for coupling, share in {
            "decoupled_lr": lr * strength, "decoupled_schedule": strength, "decoupled_constant": strength
        }.items():  # fmt: skip
            path = take(silent_path(rule, coupling, lr, strength), 100)
            np.testing.assert_allclose(path, closed.geometric(1.0, share, np.arange(100)), rtol=1e-12)

    @pytest.mark.parametrize("rule", ["adam", "rmsprop"])
    @given(data=st.data(), power=st.integers(-20, 20), c=st.floats(1e-3, 1e3))
    @settings(max_examples=30)
    def test_a3_adaptive_rules_are_blind_to_the_common_scale_of_strength_and_eps(
        self, rule: str, data: st.DataObject, power: int, c: float
    ) -> None:
        lr, strength, hyper = data.draw(st.floats(1e-4, 1e-2)), data.draw(strengths), data.draw(hyperparameters(rule))
        path = take(silent_path(rule, "l2", lr, strength, hyper), 100)

        def scaled(by: float) -> np.ndarray:
            return take(silent_path(rule, "l2", lr, by * strength, hyper | {"eps": by * hyper["eps"]}), 100)

        # A power of two changes no digit; another number changes the last one.
        assert scaled(2.0**power).tobytes() == path.tobytes()
        np.testing.assert_allclose(scaled(c), path, rtol=0, atol=1e-11)

    @pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov"])
    @given(lr=st.floats(1e-2, 0.3), strength=st.floats(1e-2, 0.5), c=st.floats(1.5, 3))
    @settings(max_examples=20)
    def test_a3_other_rules_are_not(self, rule: str, lr: float, strength: float, c: float) -> None:
        weak, strong = (
            next(itertools.islice(silent_path(rule, "l2", lr, s), 1, None)) for s in (strength, c * strength)
        )
        # The first step is proportional to the strength.
        assert (1 - strong) / (1 - weak) == pytest.approx(c, rel=1e-9)

    @given(
        betas=st.tuples(st.floats(0, 0.9995), st.floats(0, 0.9995)).map(sorted),
        lr=st.floats(1e-4, 1e-2), strength=st.floats(1e-6, 1.0), eps=st.sampled_from([1e-12, 1e-8, 1e-4]),
    )  # fmt: skip
    def test_a4_adam_under_l2_moves_at_most_lr_a_step_until_it_changes_sign(
        self, betas: list[float], lr: float, strength: float, eps: float
    ) -> None:
        hyper = {"beta1": betas[0], "beta2": betas[1], "eps": eps}
        path = take(silent_path("adam", "l2", lr, strength, hyper), 1_500)
        alive = np.append(path[:-1] > 0, False).cumprod().astype(bool)
        moves = path[:-1][alive[:-1]] - path[1:][alive[:-1]]
        assert moves.max() <= lr * (1 + 1e-9)
        floor = closed.adam_floor(1.0, lr, np.arange(len(path)))
        assert np.all(path[alive] >= floor[alive] - 1e-9)

    def test_a4_does_not_hold_where_beta1_is_above_beta2(self) -> None:
        hyper = {"beta1": 0.99, "beta2": 0.5}
        path = take(silent_path("adam", "l2", 1e-2, 1e-1, hyper), 200)
        moves = path[:-1] - path[1:]
        assert moves[path[:-1] > 0].max() > 1.5e-2


class TestClosedForms:
    @given(share=st.floats(1e-3, 1.999).filter(lambda s: abs(s - 1) < 0.99), ratio=st.floats(1e-9, 0.99))
    def test_geometric_steps_is_the_first_step_at_or_below_the_ratio(self, share: float, ratio: float) -> None:
        steps = closed.geometric_steps(share, ratio)
        rate = abs(1 - share)
        assert rate**steps <= ratio * (1 + 1e-9)
        assert rate ** (steps - 1) > ratio * (1 - 1e-9)

    def test_geometric_steps_of_a_whole_share(self) -> None:
        assert closed.geometric_steps(1.0, 0.5) == 1

    @pytest.mark.parametrize(
        ("share", "ratio"), [(0.0, 0.1), (2.0, 0.1), (-0.1, 0.1), (math.nan, 0.1), (0.1, 0.0), (0.1, 1.0)]
    )
    def test_geometric_steps_refuses_what_does_not_shrink(self, share: float, ratio: float) -> None:
        with pytest.raises(InputError):
            closed.geometric_steps(share, ratio)

    # S(1e-3): the time to a thousandth, in units of start / lr.
    @pytest.mark.parametrize(
        ("theta", "expected"), [(0.01, 1.057), (0.1, 1.441), (1.0, 2.771), (10.0, 3.374), (1e6, 3.455)]
    )
    def test_a5_silent_time_at_known_points(self, theta: float, expected: float) -> None:
        assert float(closed.silent_time(theta, np.array(1e-3))) == pytest.approx(expected, abs=1e-3)

    @given(theta=st.floats(0.05, 10), lr=st.sampled_from([1e-3, 5e-4]), ratio=st.sampled_from([0.5, 0.1, 1e-2, 1e-3]))
    @settings(max_examples=20)
    def test_a5_silent_time_is_adams_within_three_steps(self, theta: float, lr: float, ratio: float) -> None:
        hyper = {"beta1": 0.0, "beta2": math.exp(-lr / theta), "eps": 1e-30}
        stepped = steps_until(silent_path("adam", "l2", lr, 1e-2, hyper), ratio)
        assert abs(stepped - float(closed.silent_time(theta, np.array(ratio))) / lr) <= 3

    @given(
        theta=st.floats(0.02, 10), lr=st.sampled_from([1e-3, 5e-4]), ratio=st.sampled_from([0.9, 0.5, 0.1, 1e-2, 1e-3])
    )  # fmt: skip
    @settings(max_examples=20)
    def test_a5_silent_time_is_rmsprops_but_for_its_first_steps(self, theta: float, lr: float, ratio: float) -> None:
        # Without bias correction step k is lr sqrt(tau / k) at first. The sum of 1 / sqrt(k) stays behind its integral
        # by -zeta(1/2) = 1.46, so the weight stays behind by as many lr sqrt(tau), which then fades; one step to round.
        tau = theta / lr
        step = round(float(closed.silent_time(theta, np.array(ratio), corrected=False)) / lr)
        path = take(silent_path("rmsprop", "l2", lr, 1e-2, {"alpha": math.exp(-1 / tau), "eps": 1e-30}), step + 1)
        first = lr / math.sqrt(-math.expm1(-1 / tau))
        assert -lr <= path[step] - ratio <= 1.4603545 * first + lr

    @given(theta=st.floats(0.05, 5))
    @settings(max_examples=10)
    def test_a5_silent_time_grows_as_the_ratio_falls_and_keeps_its_shape(self, theta: float) -> None:
        ratios = np.array([[0.9, 0.5], [0.1, 1e-3]])
        times = closed.silent_time(theta, ratios)
        assert times.shape == ratios.shape
        assert np.all(np.diff(times.ravel()) > 0)
        assert np.all(times >= 1 - ratios)  # at most lr a step

    @pytest.mark.parametrize(("theta", "ratio"), [(0.0, 0.1), (math.nan, 0.1), (1.0, 0.0), (1.0, 1.0)])
    def test_a5_silent_time_refuses_values_without_meaning(self, theta: float, ratio: float) -> None:
        with pytest.raises(InputError):
            closed.silent_time(theta, np.array(ratio))


class TestSelectiveGradients:
    @staticmethod
    def displacement_ratio(arrival: float, sigma: float, strength: float) -> float:
        """What L2 moves over what weight decay moves, against the same noise without a regularizer."""
        lanes, lr = 200, 1e-5  # the weight hardly moves, and the pull stays what it is
        coupling = ["none"] * lanes + ["l2"] * lanes + ["decoupled_lr"] * lanes
        # After 6000 steps, six memories of v: before the first gradient L2 meets an empty v and moves lr a step.
        w = simulate(
            "adam", coupling, selective, record=[6_000, 18_000], stream=np.tile(np.arange(lanes), 3), seed=1,
            lanes={"lr": lr, "strength": strength, "arrival": arrival, "pull": 0.0, "target": 0.0, "sigma": sigma},
        ).w  # fmt: skip
        none, l2, decay = (w[1] - w[0]).reshape(3, lanes).mean(axis=1)
        return float((none - l2) / (none - decay))

    # sigma sqrt(p) = .9, 1.1, ...: on both sides of 1, from every image to one in fifty.
    @pytest.mark.parametrize(
        ("arrival", "sigma"), [(1.0, 0.9), (1.0, 1.1), (0.2, 0.5), (0.02, 0.9 / 0.02**0.5), (0.5, 4.0)]
    )
    def test_b1_l2_is_stronger_than_weight_decay_iff_the_denominator_is_below_1(
        self, arrival: float, sigma: float
    ) -> None:
        assert arrival >= 20 * closed.critical_arrival(0.999)
        found = self.displacement_ratio(arrival, sigma, 1e-3)
        predicted = closed.l2_over_decay(arrival, sigma, 1e-3, 1.0, 1e-8)
        # 4 % : the mean of 1 / sqrt(v) is above 1 / sqrt(mean v) by 3 % at one in fifty.
        assert found == pytest.approx(predicted, rel=0.04)
        assert (found > 1) == (predicted > 1) == (sigma * math.sqrt(arrival) < 1)

    @given(power=st.integers(-30, 30), data=st.data())
    @settings(max_examples=20)
    def test_b9_the_scale_of_the_loss_leaves_adamw_alone_and_not_adam_with_l2(
        self, power: int, data: st.DataObject
    ) -> None:
        hyper, seed = data.draw(hyperparameters("adam")), data.draw(st.integers(0, 1000))
        c = 2.0**power

        def path(coupling: str, gradient: float, strength: float, eps: float) -> np.ndarray:
            lanes = {"arrival": 0.7, "pull": gradient, "target": 0.3, "sigma": gradient * 0.8}
            lanes |= {"lr": 0.01, "strength": 0.1 * strength} | hyper | {"eps": hyper["eps"] * eps}
            return simulate("adam", coupling, selective, record=range(50), lanes=lanes, seed=seed).w

        decay, l2 = path("decoupled_lr", 1, 1, 1), path("l2", 1, 1, 1)
        assert path("decoupled_lr", c, 1, c).tobytes() == decay.tobytes()
        assert path("l2", c, c, c).tobytes() == l2.tobytes()
        if power:
            assert path("l2", c, 1, c).tobytes() != l2.tobytes()
            assert path("decoupled_lr", c, c, c).tobytes() != decay.tobytes()

    def test_b9_a_smaller_loss_strengthens_l2_and_not_weight_decay(self) -> None:
        scales = np.array([1.0, 0.1, 0.01])
        lanes = {"lr": 1e-3, "strength": 1e-3, "arrival": 1.0, "pull": 0.0, "target": 0.0, "sigma": scales, "eps": 0.0}
        ends = {
            coupling: simulate("adam", coupling, selective, record=[2_000], lanes=lanes, stream=[1, 1, 1]).w[0]
            for coupling in ("l2", "decoupled_lr")
        }
        assert np.ptp(ends["decoupled_lr"]) < 1e-12
        assert np.all(np.diff(ends["l2"]) < -1e-3)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, math.nan])
def test_the_refused_ratio_is_the_one_that_is_named(wrong: float) -> None:
    with pytest.raises(InputError, match=rf"^ratio {wrong}: numbers in \(0, 1\)"):
        closed.silent_time(1.0, np.array([0.5, wrong]))
