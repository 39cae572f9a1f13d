"""Predictions against simulation, and the table of steps from 1 to a thousandth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from properties.paths import mean_and_error, noisy, silent_path, steps_until

from dynamics.answers import predict
from dynamics.answers.decay_time import Passage
from dynamics.answers.setting import make
from dynamics.answers.table import STRENGTHS, markdown, steps_from_1
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.theory import closed


class TestSilentSteps:
    @pytest.mark.parametrize(
        ("rule", "coupling", "lr", "within"),
        [("sgd", "l2", 0.1, 0.0), ("adam", "decoupled_lr", 0.1, 0.0), ("adam", "l2", 1e-3, 0.01),
         ("adamax", "l2", 1e-3, 0.03), ("adagrad", "l2", 1e-2, 0.05)],
    )  # fmt: skip
    @pytest.mark.parametrize("target", [0.5, 1e-3])
    def test_closed_forms_keep_their_word(
        self, rule: str, coupling: str, lr: float, within: float, target: float
    ) -> None:
        found = predict.silent_steps(make(rule, coupling, lr=lr, strength=0.05), target=target)
        assert found.how == "closed form"
        stepped = steps_until(silent_path(rule, coupling, lr, 0.05), target)
        assert found.value == pytest.approx(stepped, rel=within, abs=1)

    @pytest.mark.parametrize(
        ("setting", "why"),
        [(make("nadam", "l2", lr=1e-3, strength=0.05), "nadam with l2: no closed form for the time to decay is known"),
         (make("adam", "l2", lr=1e-3, strength=1e-6), "eps 1e-08: at most 1e-11 is accepted"),
         (make("adam", "l2", lr=1e-2, strength=0.05), "lr beta1 / (1 - beta1) 0.09")],
    )  # fmt: skip
    def test_otherwise_it_is_simulated_and_says_why(self, setting: predict.Setting, why: str) -> None:
        found = predict.silent_steps(setting)
        stepped = steps_until(silent_path(setting.rule.name, "l2", setting.lr, setting.strength), 1e-3)
        assert (found.how, found.value) == ("simulated", stepped)
        assert found.regime.startswith(why)

    def test_never_is_none(self) -> None:
        found = predict.silent_steps(make("sgd", "l2", lr=1.0, strength=2.5))
        assert found.value is None
        assert found.regime.startswith("never")


class TestUnderGradients:
    @pytest.mark.parametrize(
        ("rule", "coupling"), [("sgd", "l2"), ("momentum", "l2"), ("adam", "l2"), ("adam", "decoupled_lr")]
    )
    def test_size_under_noise(self, rule: str, coupling: str) -> None:
        setting, sigma, arrival = make(rule, coupling, lr=0.01, strength=0.1), 0.8, 0.5
        found = predict.equilibrium_rms(setting, sigma, arrival)
        assert found.how == "closed form"
        w = noisy(rule, coupling, np.linspace(8_000, 30_000, 60, dtype=int), 400, start=0.0, lr=0.01, strength=0.1,
                  sigma=sigma, arrival=arrival)  # fmt: skip
        square, error = mean_and_error(w**2)
        assert abs(found.value**2 - square) < 4 * error + 0.04 * square

    def test_where_arrivals_are_too_rare_the_size_is_simulated(self) -> None:
        found = predict.equilibrium_rms(make("adam", "l2", lr=1e-3, strength=0.1), 1.0, 0.002)
        assert found.how == "simulated"
        assert found.regime.startswith("arrival 0.002: at least 0.01 is accepted")
        formula = math.sqrt(1e-3 * math.sqrt(0.002) / 0.2)
        assert 0 < found.value != pytest.approx(formula, rel=1e-3)

    @pytest.mark.parametrize(
        ("rule", "coupling", "arrival", "sigma", "how"),
        [("sgd", "l2", 0.3, 0.5, "closed form"), ("momentum", "decoupled_lr", 0.3, 0.5, "closed form"),
         ("adam", "l2", 0.3, 0.5, "closed form"), ("adam", "decoupled_lr", 1.0, 0.0, "closed form"),
         ("nadam", "l2", 0.3, 0.5, "simulated"), ("adam", "decoupled_lr", 0.3, 0.1, "closed form"),
            ("adam", "decoupled_lr", 0.005, 0.5, "simulated")],
    )  # fmt: skip
    def test_fixed_points(self, rule: str, coupling: str, arrival: float, sigma: float, how: str) -> None:
        found = predict.fixed_point(make(rule, coupling, lr=1e-3, strength=0.1), 0.5, 1.0, arrival, sigma)
        assert found.how == how
        w = noisy(rule, coupling, np.linspace(40_000, 60_000, 30, dtype=int), 200, lr=1e-3, strength=0.1, pull=0.5,
                  target=1.0, arrival=arrival, sigma=sigma)  # fmt: skip
        mean, error = mean_and_error(w)
        assert abs(found.value - mean) < 4 * error + 0.02

    def test_beside_a_large_eps_the_fixed_point_of_adamw_is_simulated(self) -> None:
        found = predict.fixed_point(make("adam", "decoupled_lr", lr=1e-3, strength=0.5, eps=0.1), 0.1, 1.0)
        assert found.how == "simulated"
        # At rest g / (abs(g) + eps) = strength w with g = 0.1 (1 - w): w = 2 - sqrt(2).
        assert found.value == pytest.approx(2 - 2**0.5, rel=1e-2)

    def test_below_twice_the_critical_arrival_the_fixed_point_is_simulated(self) -> None:
        found = predict.fixed_point(make("adam", "l2", lr=1e-4, strength=1e-4), 1.0, 1.0, 0.00025)
        assert found.how == "simulated"
        assert found.value is None or found.value < 0.2

    def test_l2_over_decay_and_conversion(self) -> None:
        setting = make("adam", "l2", lr=1e-3, strength=1e-3)
        assert predict.l2_over_decay(setting, 0.1).value == pytest.approx(10, rel=1e-3)
        assert predict.decay_strength(setting, 0.1).value == pytest.approx(1e-2, rel=1e-3)
        rare = predict.l2_over_decay(setting, 0.1, 0.005)
        assert (rare.how, rare.value > 1 / math.sqrt(0.005 * 0.01)) == ("simulated", True)
        assert predict.l2_over_decay(make("momentum", "l2", lr=0.1, strength=1e-3), 0.1).value == pytest.approx(10)
        assert predict.l2_over_decay(make("nadam", "l2", lr=1e-3, strength=1e-3), 0.1).value == pytest.approx(
            10, rel=0.05
        )
        with pytest.raises(InputError, match="coupling 'decoupled_lr': l2 is accepted"):
            predict.l2_over_decay(make("adam", "decoupled_lr", strength=0.1), 0.1)


# Steps from 1 to 1e-3 at lr 1e-3 (Adagrad 1e-2), the same for strengths from 1e-4 to 1e-1 within a step.
KNOWN = {
    "adam": 2722, "amsgrad": 3821, "nadam": 2751, "radam": 3776, "adamax": 2030, "rmsprop": 1311, "lion": 999,
    "adagrad": 16510, "adan": 1188, "rmsprop_momentum": 101, "rmsprop_centered": 862, "adabelief": 669,
    "schedule_free": 2582, "lamb": 6905, "muon": 1435,
}  # fmt: skip

THEORY = (Path(__file__).parents[2] / "docs" / "theory.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", closed.__all__)
def test_every_closed_form_has_its_place_in_the_theory(name: str) -> None:
    assert f"`{name}`" in THEORY


class TestTable:
    def test_the_strength_does_not_set_the_speed(self) -> None:
        found = steps_from_1(tuple(KNOWN))
        for rule, known in KNOWN.items():
            assert all(abs(p.steps - known) <= 1 for p in found[rule, "l2"]), rule
        for line in markdown(found).splitlines():
            assert line in THEORY

    def test_of_linear_rules_it_does(self) -> None:
        found = steps_from_1(("sgd", "momentum", "nesterov"))
        assert [p.steps for p in found["sgd", "l2"]] == [69_077_550, 6_907_752, 690_773, 69_075]
        for rule in ("momentum", "nesterov"):
            for fast, slow in zip(found[rule, "l2"], found["sgd", "l2"], strict=True):
                assert fast.steps == pytest.approx(slow.steps / 10, rel=0.01)

    def test_decay_takes_every_rule_as_long_as_sgd(self) -> None:
        plain = [name for name, rule in RULES.items() if not rule.takes_pull]
        for (rule, _), passages in steps_from_1(plain, ("decoupled_lr",)).items():
            lr = 1e-2 if rule == "adagrad" else 1e-3
            for p, strength in zip(passages, STRENGTHS, strict=True):
                assert p.steps == pytest.approx(math.log(1_000) / (lr * strength), rel=1e-3), rule

    def test_markdown(self) -> None:
        text = markdown(
            {("adam", "l2"): [Passage(2722, "simulated"), Passage(None, "never: nothing pulls")]}, (0.1, 1.0)
        )
        assert text.splitlines() == [
            "| rule | coupling | 0.1 | 1 |",
            "|---|---|---|---|",
            "| adam | L2 in the gradient | 2,722 | never |",
        ]
