"""explain answers with the numbers that stepping gives, says never where there is none, and warns where it must."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.answers.decay_time import decay_time, one_step
from dynamics.answers.explain import Explanation, explain
from dynamics.answers.setting import Setting, make
from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.rules import RULES
from dynamics.theory import closed
from dynamics.words import FLOATS


def setting(rule: str, coupling: str, lr: float, strength: float, **hyper: float) -> Setting:
    return make(rule, coupling, lr=lr, strength=strength, **hyper)


@cache
def explained(rule: str, coupling: str, **numbers: float) -> Explanation:
    return explain(make(rule, coupling, **numbers))


def stepped(asked: Setting, target: float) -> int:
    """The steps, counted one by one."""
    step, w, inner, t = compose(asked.rule, asked.coupling, FLOATS), 1.0, asked.rule.fresh(1.0, asked.hyper), 0
    while abs(w) > target:
        w, *rest = step(w, 0.0, inner, asked.lr, 1.0, asked.strength, tuple(asked.hyper.values()))
        inner, t = tuple(rest), t + 1
    return t


@pytest.mark.parametrize(
    ("rule", "coupling", "rest"),
    [
        ("adam", "l2", "h*w_star/(h + lambda)"),
        ("adam", "decoupled_lr", "Min(1/lambda, w_star) (at eps = 0)"),
        ("sgd", "l1", "w_star - lambda/h, if w_star > lambda/h; else it goes back and forth about 0"),
        ("lion", "l2", "none exists, its steps have the same size for every gradient: it goes back and forth"),
    ],
)
def test_where_a_weight_rests_is_the_fixed_point_or_why_there_is_none(rule: str, coupling: str, rest: str) -> None:
    found = explained(rule, coupling, lr=1e-3, strength=1e-2)
    assert found.rest == rest == found.as_dict()["rest"]


def test_a_weight_that_is_as_small_as_asked_has_arrived() -> None:
    found = decay_time(setting("momentum", "l2", 0.5, 1.0, momentum=0.5), target=0.5)
    assert found.steps == 1  # 1 - 0.5 x 1, exactly; the next two steps do not go below it


class TestPassage:
    @pytest.mark.parametrize("coupling", ["l2", "decoupled_lr", "decoupled_schedule", "decoupled_constant"])
    @pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov"])
    @given(lr=st.floats(0.05, 0.5), strength=st.floats(0.01, 0.5), target=st.sampled_from([0.5, 1e-2, 1e-4]))
    @settings(max_examples=6)
    def test_passage_is_what_stepping_counts(
        self, rule: str, coupling: str, lr: float, strength: float, target: float
    ) -> None:
        asked = setting(rule, coupling, lr, strength)
        found = decay_time(asked, target=target)
        assert found.steps is not None
        # A closed form may round the last step the other way.
        assert abs(found.steps - stepped(asked, target)) <= 1

    @pytest.mark.parametrize("rule", ["momentum", "nesterov"])
    @pytest.mark.parametrize("lr", [1e-3, 1e-4, 0.5])
    def test_long_passages_of_momentum_agree_with_its_closed_path(self, rule: str, lr: float) -> None:
        strength = 1e-3
        found = decay_time(setting(rule, "l2", lr, strength))
        assert found.how == "simulated, then closed form"
        assert found.steps is not None
        around = closed.momentum_path(1.0, lr * strength, 0.9, found.steps + np.array([-1, 1]), rule == "nesterov")
        # The roots are known to 1e-16, so a path of T steps is known to T 1e-16 or so.
        assert around[0] > 1e-3 * (1 - 1e-9)
        assert around[1] < 1e-3 * (1 + 1e-9)

    def test_two_rates_close_together_are_not_taken_for_one(self) -> None:
        mu, lr, strength = 0.9999, 1.6e-6, 1e-3
        found = decay_time(setting("momentum", "l2", lr, strength, momentum=mu))
        assert found.steps is not None
        around = closed.momentum_path(1.0, lr * strength, mu, found.steps + np.array([-2, 2]))
        assert around[0] > 1e-3 > around[1]

    def test_where_eps_is_the_denominator_decay_is_geometric(self) -> None:
        # lr strength / eps a step, for a weight that never comes near eps / strength.
        found = decay_time(setting("adam", "l2", 1e-6, 1e-6, eps=1e-2))
        assert found.how == "simulated, then closed form"
        assert found.steps == pytest.approx(np.log(1e3) / (1e-6 * 1e-6 / 1e-2), rel=1e-3)

    def test_very_long_passages_are_simulated(self) -> None:
        # A step of lr at most: 1e6 and more, too many for Python and few for the compiled simulator.
        found = decay_time(setting("adam", "l2", 5e-7, 1e-2, beta2=0.9, beta1=0.0))
        assert found.how == "simulated"
        assert found.steps == pytest.approx(0.999 / 5e-7, rel=1e-2)

    @pytest.mark.parametrize(
        ("rule", "coupling", "lr", "strength", "how"),
        [
            *[(*case, "nothing pulls") for case in (("adam", "none", 1e-3, 0.1), ("adam", "l2", 1e-3, 0.0))],
            *[(*case, "nothing pulls") for case in (("adam", "l2", 0.0, 0.1), ("sgd", "decoupled_lr", 0.0, 0.1))],
            ("rmsprop", "decoupled_schedule", 1e-3, 0.0, "nothing pulls"),
            *[(rule, "l2", 5.0, 1.0, "diverges") for rule in ("momentum", "nesterov")],
            *[
                ("sgd", name, lr, 1.0, "each step multiplies it by -")
                for name in ("l2", "decoupled_lr")
                for lr in (2.0, 3.0)
            ],
            *[("adam", "decoupled_lr", lr, 1.0, "each step multiplies it by -") for lr in (2.0, 3.0)],
            # It swings for ever, and is not watched for a hundred million steps.
            ("adam", "l1", 1e18, 1e-4, "not within 480,000 steps, in which its largest size does not fall"),
        ],
    )
    def test_where_it_never_comes_it_says_why(
        self, rule: str, coupling: str, lr: float, strength: float, how: str
    ) -> None:
        found = decay_time(setting(rule, coupling, lr, strength))
        assert found.steps is None
        assert how in found.how

    def test_decay_by_schedule_pulls_without_a_learning_rate(self) -> None:
        assert decay_time(setting("adam", "decoupled_schedule", 0.0, 0.1)).steps == closed.geometric_steps(0.1, 1e-3)

    def test_two_doors_take_two_shares(self) -> None:
        share = COUPLINGS["decoupled_constant"].before
        own = Coupling("own", "", "", before=share, after=share)
        asked = Setting(RULES["adam"], own, 1e-3, 0.1, RULES["adam"].hyperparameters())
        assert (
            decay_time(asked).steps
            == stepped(asked, 1e-3)
            < decay_time(setting("adam", "decoupled_constant", 1e-3, 0.1)).steps
        )

    def test_one_step(self) -> None:
        assert one_step(setting("adam", "l2", 1e-3, 1e-2)) == pytest.approx(1 - 1e-3 / (1 + 1e-6), rel=1e-15)
        assert one_step(setting("sgd", "l2", 0.1, 0.2), start=3.0) == pytest.approx(3 * 0.98, rel=1e-15)


class TestStability:
    # The limit of Adam without a gradient: lr strength / eps = 2 (1 + beta1) / (1 - beta1) = 38; RMSprop has no beta1.
    @pytest.mark.parametrize(("rule", "limit"), [("adam", 38), ("rmsprop", 2)])
    def test_beyond_the_limit_bursts_are_warned_of(self, rule: str, limit: float) -> None:
        eps = 1e-6  # so large that the weight soon has its size under noise, which explain waits for
        for ratio, bursts in ((limit - 0.1, False), (limit + 0.1, True)):
            found = explained(rule, "l2", lr=ratio * eps / 1e-3, strength=1e-3, eps=eps)
            assert found.stability.settles is not bursts
            assert any("bursts" in warning for warning in found.warnings) is bursts

    def test_decay_by_lr_is_stable_up_to_2_over_strength_also_without_eps(self) -> None:
        for eps in (1e-8, 0.0):
            found = explained("adam", "decoupled_lr", lr=1e-3, strength=1e-2, eps=eps).stability
            assert found.without_gradient == pytest.approx(200)
            assert found.settles

    def test_without_eps_adam_under_l2_never_settles(self) -> None:
        assert not explained("adam", "l2", lr=1e-3, strength=1e-2, eps=0.0).stability.settles

    @pytest.mark.parametrize("coupling", ["none", "l2"])
    def test_without_a_pull_every_learning_rate_is_stable(self, coupling: str) -> None:
        found = explained("adam", coupling, lr=100.0, strength=0.0, eps=0.0)
        assert found.stability.without_gradient is None
        assert found.stability.settles


class TestExplanation:
    # Each takes seconds: every rule once, and a few with the other couplings.
    @pytest.mark.grid(10)
    @pytest.mark.parametrize(
        ("rule", "coupling"),
        [(rule, "l2") for rule in sorted(RULES)]
        + [(rule, coupling) for rule in ("adam", "muon", "schedule_free") for coupling in ("none", "decoupled_lr")],
    )
    def test_every_rule_is_explained_in_plain_data(self, rule: str, coupling: str) -> None:
        found = explained(rule, coupling, strength=0.0 if coupling == "none" else 0.05)
        again = json.loads(json.dumps(found.as_dict(), allow_nan=False))
        assert again["optimizer"] == rule
        assert again["lr"] == RULES[rule].lr
        assert again["hyperparameters"] == dict(RULES[rule].defaults)
        assert list(again["formula"]) == list(again["latex"]) == ["w", *RULES[rule].state]
        assert len(again["regimes"]) == (0 if coupling == "none" else 3)

    def test_the_pull_of_l2_under_adam_falls_with_the_gradients_and_that_of_decay_does_not(self) -> None:
        for coupling, power in (("l2", -1.0), ("decoupled_lr", 0.0)):
            small, large = (
                explain(make("adam", coupling, strength=1e-3), gradient_rms=rms).regimes[-1].rate
                for rms in (1e-3, 1e-1)
            )
            assert small is not None
            assert large is not None
            assert np.log10(large / small) / 2 == pytest.approx(power, abs=1e-3)

    def test_a_regime_beyond_the_closed_form_is_simulated(self) -> None:
        rare, every = (
            explained("adam", "l2", strength=1e-4).regimes[0],
            explained("adam", "l2", strength=1e-4).regimes[-1],
        )
        assert (rare.how, every.how) == ("simulated", "closed form")
        # B5: the mean of 1 / sqrt(v) is p sqrt(beta2) / (p - p_c) times what v's mean would give on arrival.
        assert rare.rate == pytest.approx(1e-3 * 1e-4 / (1e-3 * 0.1), rel=0.15)

    def test_equilibrium_of_adamw_is_free_of_the_gradients(self) -> None:
        found = explained("adam", "decoupled_lr", strength=0.1).equilibrium
        assert found is not None
        assert found.value == pytest.approx(np.sqrt(1e-3 / 0.2), rel=0.05)

    def test_strength_without_a_coupling_is_warned_of(self) -> None:
        assert any("no effect" in warning for warning in explained("adam", "none", strength=0.1).warnings)
        assert not explained("adam", "none").warnings


class TestAtTheEdges:
    @pytest.mark.parametrize(
        ("text", "numbers"),
        [("sgd", {"lr": 1e308, "strength": 1e308}), ("lamb", {"eps": 0.0}), ("adabelief", {"eps": 0.0})],
    )
    def test_what_is_no_finite_number_is_null(self, text: str, numbers: dict) -> None:
        coupling = "l2" if text == "sgd" else "decoupled_lr"
        found = explained(text, coupling, **({"strength": 0.1} | numbers))
        assert found.one_step_from_1 is None
        json.dumps(found.as_dict(), allow_nan=False)

    def test_a_decay_of_more_than_twice_the_weight_is_warned_of_where_there_is_no_limit_of_lr(self) -> None:
        assert any("makes a weight grow" in w for w in explained("lion", "decoupled_lr", lr=1.0, strength=3.0).warnings)
        assert not explained("lion", "decoupled_lr", lr=1.0, strength=1.0).warnings

    def test_an_initial_accumulator_lets_the_strength_count(self) -> None:
        found = explained("adagrad", "l2", strength=1e-2, initial_accumulator=1.0)
        assert not found.warnings
        assert "free of the strength" not in found.eps
        assert explained("adagrad", "l2", strength=1e-2).warnings

    def test_no_limit_and_no_bursts_are_claimed_at_eps_0(self) -> None:
        found = explained("nadam", "l2", strength=1e-4, eps=0.0)
        assert found.stability is not None
        assert found.stability.without_gradient is None
        assert not any("bursts" in w for w in found.warnings)

    def test_eps_beside_small_gradients_makes_the_equilibrium_small(self) -> None:
        # sqrt(v) + eps is 11 sqrt(v).
        far = explain(make("adam", "decoupled_lr", strength=0.1), gradient_rms=1.0).equilibrium
        near = explain(make("adam", "decoupled_lr", strength=0.1, eps=1e-5), gradient_rms=1e-6).equilibrium
        assert far is not None
        assert near is not None
        assert near.value == pytest.approx(far.value / 11, rel=1e-3)

    def test_the_pull_of_adagrad_is_told_with_its_step(self) -> None:
        regime = explained("adagrad", "l2", strength=1e-3).regimes[-1]
        assert regime.half_life is None
        assert regime.how.startswith("simulated, at step ")
