"""Closed forms of linear rules without a gradient (A1, A2, A10, A11, A13), and A3, A8, which are properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import rates, strengths
from properties.paths import noisy, silent_path, take

from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate.lanes import simulate
from dynamics.theory import closed


class TestLinearRules:
    @given(lr=rates, strength=strengths, start=st.floats(0.1, 10))
    def test_a1_for_sgd_l2_is_weight_decay_and_geometric(self, lr: float, strength: float, start: float) -> None:
        l2 = take(silent_path("sgd", "l2", lr, strength, start=start), 200)
        decay = take(silent_path("sgd", "decoupled_lr", lr, strength, start=start), 200)
        np.testing.assert_allclose(l2, decay, rtol=1e-12)
        np.testing.assert_allclose(l2, closed.geometric(start, lr * strength, np.arange(200)), rtol=1e-12)

    @given(lr=rates, strength=strengths, seed=st.integers(0, 1000))
    @settings(max_examples=20)
    def test_a1_for_sgd_l2_is_weight_decay_under_gradients_too(self, lr: float, strength: float, seed: int) -> None:
        given = {"arrival": 0.5, "pull": 1.0, "target": 0.3, "sigma": 1.0, "lr": lr, "strength": strength}
        l2, decay = (noisy("sgd", name, range(200), 1, seed=seed, **given) for name in ("l2", "decoupled_lr"))
        np.testing.assert_allclose(l2, decay, rtol=0, atol=1e-12 * np.abs(l2).max())

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

    @given(mu=st.floats(0.0, 0.99), share=st.floats(0.001, 0.0999))
    def test_a2_the_slow_rate_is_l2_made_stronger_by_1_over_1_minus_mu(self, mu: float, share: float) -> None:
        x = share * (1 - mu) ** 2
        exact = closed.momentum_roots(x, mu)[0].real
        # The next term of the series is of third order; a step's rounding is 1e-16.
        assert abs(exact - closed.momentum_slow_rate(x, mu)) < 3 * x**3 / (1 - mu) ** 5 + 1e-15

    @given(mu=st.floats(0.1, 0.9), excess=st.floats(1.01, 1.3))
    def test_a2_beyond_critical_damping_the_rate_is_the_root_of_mu_whatever_the_strength(
        self, mu: float, excess: float
    ) -> None:
        for root in closed.momentum_roots(closed.critical_damping(mu) * excess, mu):
            assert abs(root) == pytest.approx(math.sqrt(mu), rel=1e-12)
        assert closed.momentum_roots(closed.critical_damping(mu) / excess, mu)[0].real > math.sqrt(mu)

    @pytest.mark.parametrize("rule", sorted(name for name, rule in RULES.items() if not rule.takes_pull))
    @given(lr=rates, strength=strengths)
    @settings(max_examples=5)
    def test_a2_decoupled_decay_is_geometric_with_every_rule(self, rule: str, lr: float, strength: float) -> None:
        for coupling, share in {
            "decoupled_lr": lr * strength, "decoupled_schedule": strength, "decoupled_constant": strength
        }.items():  # fmt: skip
            path = take(silent_path(rule, coupling, lr, strength), 100)
            np.testing.assert_allclose(path, closed.geometric(1.0, share, np.arange(100)), rtol=1e-12)

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


# A3. The common scale of strength and eps goes unseen; Lion and LARS have no eps (at 0), so there the strength alone.
BLIND = [
    *("adam", "amsgrad", "nadam", "rmsprop", "rmsprop_momentum", "rmsprop_centered", "adagrad", "adamax", "adan"),
    *("lion", "schedule_free", "lars", "lamb", "muon"),
]
SEEING = ["radam", "adadelta", "adabelief", "sgd", "momentum", "nesterov"]


def scaled(rule: str, lr: float, strength: float, eps: float, by: float) -> np.ndarray:
    hyper = {"eps": eps * by} if "eps" in RULES[rule].defaults and rule != "lars" else {}
    return take(silent_path(rule, "l2", lr, strength * by, hyper), 60)


class TestScaleOfThePull:
    def test_every_rule_is_on_one_side(self) -> None:
        assert sorted(BLIND + SEEING) == sorted(RULES)

    @pytest.mark.parametrize("rule", BLIND)
    @given(
        lr=st.floats(1e-4, 1e-2), strength=strengths, eps=st.sampled_from([1e-10, 1e-8, 1e-4]),
        power=st.integers(-20, 20), c=st.floats(1e-3, 1e3),
    )  # fmt: skip
    @settings(max_examples=6)
    def test_a3_a_power_of_two_changes_no_digit(
        self, rule: str, lr: float, strength: float, eps: float, power: int, c: float
    ) -> None:
        path = scaled(rule, lr, strength, eps, 1.0)
        assert scaled(rule, lr, strength, eps, 2.0**power).tobytes() == path.tobytes()
        if rule not in ("rmsprop_centered", "muon"):  # whose last digits another number may blow up
            np.testing.assert_allclose(scaled(rule, lr, strength, eps, c), path, rtol=0, atol=1e-11)

    @pytest.mark.parametrize("rule", SEEING)
    def test_a3_other_rules_see_it(self, rule: str) -> None:
        assert np.abs(scaled(rule, 1e-2, 1e-1, 1e-6, 4.0) - scaled(rule, 1e-2, 1e-1, 1e-6, 1.0)).max() > 1e-5

    def test_a3_lion_is_blind_to_the_strength_itself(self) -> None:
        weak, strong = (take(silent_path("lion", "l2", 1e-3, s), 3_000) for s in (2.0**-20, 2.0**-3))
        assert weak.tobytes() == strong.tobytes()


def adadelta_over_decay(rho: float, eps: float, lr: float, share: float) -> float:
    """The least w_L2 / w_decay over 60 steps."""
    path = take(silent_path("adadelta", "l2", lr, share / lr, {"rho": rho, "eps": eps}), 60)
    return float((path / closed.geometric(1.0, share, np.arange(60))).min())


class TestAdadelta:
    @given(
        rho=st.floats(0.0, 0.999), log_eps=st.floats(-12, 1), lr=st.floats(1e-2, 100), share=st.floats(1e-4, 0.15),
    )  # fmt: skip
    def test_a8_its_l2_is_weaker_than_decay(self, rho: float, log_eps: float, lr: float, share: float) -> None:
        assert adadelta_over_decay(rho, 10**log_eps, lr, share) >= 1 - 1e-12  # rounding of 60 steps

    @given(rho=st.floats(0.5, 0.999), log_eps=st.floats(-12, 1), lr=st.floats(1e-2, 100), share=st.floats(0.15, 0.8))
    def test_a8_with_a_long_memory_up_to_larger_shares(
        self, rho: float, log_eps: float, lr: float, share: float
    ) -> None:
        assert adadelta_over_decay(rho, 10**log_eps, lr, share) >= 1 - 1e-12

    @pytest.mark.parametrize(
        ("rho", "eps", "lr", "share", "below"),
        [(0.9, 0.185, 4.086, 0.99, 0.9), (0.0, 1.17e-5, 1.0, 0.5, -1e6), (0.0, 0.0163, 0.0268, 0.2, 0.0)],
    )
    def test_a8_does_not_hold_for_large_shares(
        self, rho: float, eps: float, lr: float, share: float, below: float
    ) -> None:
        assert adadelta_over_decay(rho, eps, lr, share) < below


class TestTheEnd:
    @staticmethod
    def late(rule: str, pulls: list[float], start_in_eps: float, record: list[int], **hyper: float) -> np.ndarray:
        """|w| in units of eps / strength at `record`, one lane a pull = lr strength / eps."""
        lr, strength = 1e-3, 0.1
        eps = lr * strength / np.array(pulls)
        lanes = {"lr": lr, "strength": strength, "eps": eps} | hyper
        start = start_in_eps * eps / strength
        return np.abs(simulate(rule, "l2", record=record, lanes=lanes, start=start).w) * strength / eps

    @pytest.mark.parametrize(("rule", "beta1"), [("rmsprop", 0.0), ("adam", 0.9), ("adam", 0.5), ("adamax", 0.9)])
    def test_a10_zero_is_stable_up_to_the_limit(self, rule: str, beta1: float) -> None:
        def growth(pull: float) -> float:
            hyper = {"eps": 1e-4 / pull} | ({"beta1": beta1} if rule != "rmsprop" else {})
            warm = {"power1": 0.0, "power2": 0.0} if rule == "adam" else {"power1": 0.0} if rule == "adamax" else {}
            path = np.abs(take(silent_path(rule, "l2", 1e-3, 0.1, hyper, 1e-15, warm), 61))
            return float(path[50:].max() / path[20:31].max())

        limit = closed.settling_limit(beta1)
        # Two percent off it the larger root's modulus is off 1 by at least 4%.
        assert growth(0.98 * limit) < 0.5
        assert growth(1.02 * limit) > 2

    @pytest.mark.parametrize(("rule", "hyper"), [("rmsprop", {}), ("adam", {"beta1": 0.9}), ("adam", {"beta1": 0.5})])
    def test_a10_below_the_limit_every_path_ends(self, rule: str, hyper: dict[str, float]) -> None:
        pulls = [share * closed.settling_limit(hyper.get("beta1", 0.0)) for share in (0.1, 0.5, 0.9, 0.99)]
        large = 1e3  # weights of a thousand eps / strength: far in the adaptive part
        assert self.late(rule, pulls, large, [40_000], **hyper).max() < 1e-6

    def test_a10_bursts_recur_above_it(self) -> None:
        found = self.late("adam", [44.0], 1e3, list(range(40_000, 60_000, 10)), beta1=0.9)
        assert found[:1_000].max() > 1e-3
        assert found[1_000:].max() > 1e-3

    @pytest.mark.parametrize(("rule", "pull"), [("rmsprop", 2.1), ("adam", 60.0)])
    def test_a10_above_it_floats_may_underflow_first(self, rule: str, pull: float) -> None:
        # In real numbers it would burst; in floats it falls to 1e-320 from weight 1 before eps matters, and rests there.
        lanes = {"lr": 1e-3, "strength": 0.1, "eps": 1e-4 / pull}
        w = np.abs(simulate(rule, "l2", record=[100_000, 200_000], lanes=lanes).w)
        assert 0 < w.max() < 1e-300

    def test_a10_amsgrad_has_no_limit(self) -> None:
        assert self.late("amsgrad", [100.0], 1e4, [100_000]).max() < 1e-6

    @pytest.mark.parametrize(("rule", "hyper"), [("rmsprop", {}), ("adam", {"beta1": 0.9}), ("adam", {"beta1": 0.0})])
    @given(pull=st.floats(1e-3, 0.01))
    @settings(max_examples=10)
    def test_a11_in_the_end_a_weight_decays_by_eps(self, rule: str, hyper: dict[str, float], pull: float) -> None:
        beta1 = hyper.get("beta1", 0.0)
        path = take(silent_path(rule, "l2", 1e-3, 0.1, hyper | {"eps": 1e-4 / pull}, start=1e-7 / pull), 1_201)
        # sqrt(v) is at most 1e-4 of eps here, and so is the error of the rate's logarithm.
        assert math.log(path[1_200] / path[700]) / 500 == pytest.approx(
            math.log(closed.settled_rate(pull, beta1)), rel=2e-4
        )
        assert closed.settled_rate(pull, beta1) == pytest.approx(1 - pull, abs=12 * pull**2)


class TestLion:
    @given(
        m=st.floats(1e-6, 1e6), sign=st.sampled_from([-1, 1]), lr=st.floats(1e-4, 0.1), strength=st.floats(1e-3, 10),
        start=st.floats(-3, 3),
    )  # fmt: skip
    @settings(max_examples=30)
    def test_a13_decay_leads_to_minus_the_sign_of_the_momentum(
        self, m: float, sign: int, lr: float, strength: float, start: float
    ) -> None:
        path = take(silent_path("lion", "decoupled_lr", lr, strength, start=start, state={"m": sign * m}), 500)
        formula = closed.lion_decay_path(start, sign, lr, strength, np.arange(500))
        np.testing.assert_allclose(formula, path, rtol=0, atol=1e-11 * (1 / strength + 3))
