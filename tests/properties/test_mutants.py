"""The comparison with other libraries sees planted mistakes; a test that asks only whether the loss falls does not.

A sample of the mutants of `make mutants`, which runs all of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from mutants.survivors import EQUIVALENT
from mutants.targets import Target, from_other_starts, targets, through_other_doors

from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.probe.mutations import mutants_of
from dynamics.probe.source import exchanged
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.words import NUMPY

EVERY = 12


@pytest.mark.grid(16)
@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_the_original_stays_and_a_sample_of_mutants_does_not(target: Target) -> None:
    assert target.stays(target.function)
    sample = {mutant.change: target.killed(mutant) for mutant in target.mutants[::EVERY]}
    explained = EQUIVALENT.get(target.name, {})
    assert {change for change, killed in sample.items() if not killed} == sample.keys() & explained.keys()


def test_every_explanation_is_of_a_mutant_that_exists() -> None:
    made = {target.name: {mutant.change for mutant in target.mutants} for target in targets()}
    assert {name: changes.keys() - made[name] for name, changes in EQUIVALENT.items()} == {n: set() for n in EQUIVALENT}


def test_a_share_through_another_door_is_seen() -> None:
    found = dict(through_other_doors())
    assert len(found) == sum(len(coupling.doors) for coupling in COUPLINGS.values()) * 4
    assert all(found.values()), found


def test_a_field_started_elsewhere_is_seen() -> None:
    found = dict(from_other_starts())
    assert all(found.values()), found


def test_mutants_of_a_small_function_are_those_expected() -> None:
    assert [mutant.change.split(" => ")[1] for mutant in mutants_of(RULES["sgd"].step, [["w", "g"]])] == [
        "return (w + lr * g,)",
        "return (w,)",
        "return (lr * g,)",
        "return (g - lr * g,)",
        "return (w - lr / g,)",
        "return (w - lr,)",
        "return (w - g,)",
        "return (w - lr * w,)",
    ]


def loss_falls(rule: Rule, coupling: Coupling = COUPLINGS["l2"]) -> bool:
    """The weak test: 200 steps on a least-squares problem halve the loss, and more."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(64, 5))
    wanted = inputs @ np.linspace(-2, 2, 5)
    step, hyper = compose(rule, coupling, NUMPY), tuple(rule.defaults.values())
    w = np.zeros(5)
    inner, losses = rule.fresh(w, rule.defaults), []
    with np.errstate(all="ignore"):
        for _ in range(200):
            off = inputs @ w - wanted
            losses.append(float((off * off).mean()))
            w, *inner = step(w, 2 * inputs.T @ off / 64, tuple(inner), 0.1, 1.0, 1e-3, hyper)
    return losses[-1] < losses[0] / 2


# The usual mistakes in Adam, by what is exchanged for what.
MEAN, SQUARE = "beta1 * m + (1 - beta1) * g", "beta2 * v + (1 - beta2) * (g * g)"
MISTAKES = {
    "betas swapped": {MEAN: "beta2 * m + (1 - beta2) * g", SQUARE: "beta1 * v + (1 - beta1) * (g * g)"},
    "no bias correction": {"m * (1 / (1 - power1))": "m", "v * (1 / (1 - power2))": "v"},
    "no bias correction of v": {"v * (1 / (1 - power2))": "v"},
    "eps inside the root": {"sqrt(vhat) + eps": "sqrt(vhat + eps)"},
    "square of the mean": {"g * g": "m * m"},
    "gradient instead of its mean": {"m * (1 / (1 - power1))": "g"},
    "uphill": {"w - lr * mhat / (sqrt(vhat) + eps)": "w + lr * mhat / (sqrt(vhat) + eps)"},
}


def test_a_falling_loss_would_miss_the_usual_mistakes_in_adam() -> None:
    adam, (target, *_) = RULES["adam"], [target for target in targets() if target.name == "adam.step"]
    assert loss_falls(adam)
    planted = {name: exchanged(adam.step, exchanges) for name, exchanges in MISTAKES.items()}
    assert not any(target.stays(step) for step in planted.values())
    missed = {name for name, step in planted.items() if loss_falls(replace(adam, step=step))}
    # It notices what climbs, and nothing else; nor a decay that pushes outwards.
    assert missed == set(MISTAKES) - {"uphill"}
    outwards = replace(COUPLINGS["l2"], gradient=exchanged(COUPLINGS["l2"].gradient, {"strength": "-strength"}))
    assert loss_falls(adam, outwards)


def test_a_falling_loss_would_miss_nearly_half_of_all_mutants_of_adam() -> None:
    (target,) = [target for target in targets() if target.name == "adam.step"]
    outcome: Counter[bool] = Counter()
    for mutant in target.mutants:
        try:
            outcome[loss_falls(replace(RULES["adam"], step=mutant.function()))] += 1
        except (ArithmeticError, TypeError, ValueError):
            outcome[False] += 1
    assert outcome[True] > 0.4 * outcome.total(), outcome
