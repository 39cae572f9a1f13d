"""Predictions against simulation, and the table of steps from 1 to a thousandth."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
from properties.paths import mean_and_error, noisy

from dynamics.answers import predict
from dynamics.answers.setting import make
from dynamics.answers.table import STRENGTHS, steps_from_1
from dynamics.rules import RULES
from dynamics.theory import closed


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
        assert found.regime.startswith("arrival 0.002: must be at least 0.01")
        formula = math.sqrt(1e-3 * math.sqrt(0.002) / 0.2)
        assert 0 < found.value != pytest.approx(formula, rel=1e-3)


# Steps from 1 to 1e-3 at lr 1e-3 (Adagrad 1e-2), the same for strengths from 1e-4 to 1e-1 within a step.
KNOWN = {
    "adam": 2722, "amsgrad": 3821, "nadam": 2751, "radam": 3776, "adamax": 2030, "rmsprop": 1311, "lion": 999,
    "adagrad": 16510, "adan": 1188, "rmsprop_momentum": 101, "rmsprop_centered": 862, "adabelief": 669,
    "schedule_free": 2582, "lamb": 6905, "muon": 1435,
}  # fmt: skip

THEORY = (Path(__file__).parents[2] / "docs" / "theory.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, form in vars(closed).items() if inspect.isfunction(form)])
def test_every_closed_form_has_its_place_in_the_theory(name: str) -> None:
    assert f"`{name}`" in THEORY


class TestTable:
    def test_the_strength_does_not_set_the_speed(self) -> None:
        found = steps_from_1(tuple(KNOWN))
        for rule, known in KNOWN.items():
            assert all(abs(p.steps - known) <= 1 for p in found[rule, "l2"]), rule
            row = " | ".join(f"{p.steps:,}" for p in found[rule, "l2"])
            assert f"| {rule} | L2 in the gradient | {row} |" in THEORY

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
