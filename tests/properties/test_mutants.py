"""The comparison with torch sees every planted mistake; a test that asks only whether the loss falls does not.

A mutant is a rule or a share with one expression of its source exchanged for another.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.oracle import STEPS, TOLERANCE, against_torch

from dynamics.couplings import COUPLINGS, Coupling
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.torch_face import Optimizer

# One setting for all: nothing in it is 0, 1 or equal to another number, so that no mistake is hidden by it.
SETTING: dict[str, Any] = {"lr": 0.05, "strength": 0.2}
HYPER = {"momentum": 0.8, "alpha": 0.95, "beta1": 0.85, "beta2": 0.97, "eps": 1e-3}
# Falls and rises: where lr stands in a rule shows only while it changes.
MULTIPLIERS = [0.55 + 0.45 * math.cos(t / 20) for t in range(STEPS)]


class Exchange(ast.NodeTransformer):
    """Exchange every expression that reads `old` for `new`."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new, self.count = ast.unparse(ast.parse(old)), ast.parse(new, mode="eval").body, 0

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and ast.unparse(node) == self.old:
            self.count += 1
            return self.new
        return self.generic_visit(node)


def mutated(function: Callable[..., Any], exchanges: dict[str, str]) -> Callable[..., Any]:
    """The function with its source changed; an exchange that finds nothing is a mistake of the test itself."""
    tree = ast.parse(inspect.getsource(function))
    for old, new in exchanges.items():
        exchange = Exchange(old, new)
        tree = ast.fix_missing_locations(exchange.visit(tree))
        assert exchange.count, f"{old} is not in {function.__name__}"
    scope: dict[str, Any] = {"sqrt": np.sqrt}
    exec(compile(tree, f"<mutant of {function.__name__}>", "exec"), scope)
    return scope[function.__name__]


@dataclass(frozen=True)
class Mutant:
    """A pair of rule and coupling, the mistake, and where it is planted: in the rule, or in the coupling's share."""

    rule: str
    coupling: str
    mistake: str
    exchanges: dict[str, str]
    in_share: bool = False

    def build(self) -> tuple[Rule, Coupling]:
        rule, coupling = RULES[self.rule], COUPLINGS[self.coupling]
        if not self.in_share:
            return replace(rule, step=mutated(rule.step, self.exchanges)), coupling
        open_door = next(door for door in ("gradient", "before", "after") if getattr(coupling, door))
        return rule, replace(coupling, **{open_door: mutated(getattr(coupling, open_door), self.exchanges)})


def of(rule: str, coupling: str, in_share: bool = False, **mistakes: dict[str, str]) -> list[Mutant]:
    return [Mutant(rule, coupling, name.replace("_", " "), e, in_share) for name, e in mistakes.items()]


MEAN, SQUARE = "beta1 * m + (1 - beta1) * g", "beta2 * v + (1 - beta2) * (g * g)"
ADAM = of(
    "adam",
    "l2",
    betas_swapped={MEAN: "beta2 * m + (1 - beta2) * g", SQUARE: "beta1 * v + (1 - beta1) * (g * g)"},
    betas_swapped_in_the_correction={"power1 * beta1": "power1 * beta2", "power2 * beta2": "power2 * beta1"},
    no_bias_correction={"m * (1 / (1 - power1))": "m", "v * (1 / (1 - power2))": "v"},
    no_bias_correction_of_m={"m * (1 / (1 - power1))": "m"},
    no_bias_correction_of_v={"v * (1 / (1 - power2))": "v"},
    eps_inside_the_root={"sqrt(vhat) + eps": "sqrt(vhat + eps)"},
    eps_before_the_correction={"sqrt(vhat) + eps": "sqrt(vhat) + eps / (1 - power2) ** 0.5"},
    no_eps={"sqrt(vhat) + eps": "sqrt(vhat) + 1e-30"},
    no_root={"sqrt(vhat) + eps": "vhat + eps"},
    no_share_of_g_in_m={"(1 - beta1) * g": "g"},
    no_share_of_g_in_v={"(1 - beta2) * (g * g)": "g * g"},
    square_of_the_mean={"g * g": "m * m"},
    gradient_instead_of_mean={"m * (1 / (1 - power1))": "g"},
    nesterov_mean={"m * (1 / (1 - power1))": "(beta1 * m + (1 - beta1) * g) * (1 / (1 - power1))"},
    uphill={"w - lr * mhat / (sqrt(vhat) + eps)": "w + lr * mhat / (sqrt(vhat) + eps)"},
    no_lr={"lr * mhat": "0.05 * mhat"},
)
RMSPROP = of(
    "rmsprop",
    "l2",
    eps_inside_the_root={"sqrt(v) + eps": "sqrt(v + eps)"},
    no_eps={"sqrt(v) + eps": "sqrt(v) + 1e-30"},
    shares_swapped={"alpha * v + (1 - alpha) * (g * g)": "(1 - alpha) * v + alpha * (g * g)"},
    no_share_of_the_square={"(1 - alpha) * (g * g)": "g * g"},
    no_root={"sqrt(v)": "v"},
    no_memory={"alpha * v + (1 - alpha) * (g * g)": "g * g"},
    uphill={"w - lr * g / (sqrt(v) + eps)": "w + lr * g / (sqrt(v) + eps)"},
)
MOMENTUM = of(
    "momentum",
    "l2",
    dampened={"momentum * b + g": "momentum * b + (1 - momentum) * g"},
    lr_in_the_buffer={"momentum * b + g": "momentum * b + lr * g", "lr * b": "b"},
    nesterov={"lr * b": "lr * (g + momentum * b)"},
    no_memory={"momentum * b + g": "g"},
    buffer_before_the_gradient={"w - lr * b": "w - lr * (b - g)"},
    uphill={"w - lr * b": "w + lr * b"},
)
NESTEROV = of(
    "nesterov",
    "l2",
    heavy_ball={"g + momentum * b": "b"},
    gradient_twice={"g + momentum * b": "g + b"},
    no_momentum_in_the_step={"g + momentum * b": "g"},
    momentum_twice={"g + momentum * b": "g + momentum * momentum * b"},
    dampened={"momentum * b + g": "momentum * b + (1 - momentum) * g"},
)
SGD = of("sgd", "l2", uphill={"w - lr * g": "w + lr * g"}, no_lr={"lr * g": "0.05 * g"})
SHARES = [
    *of("adam", "l2", True, decay_up={"strength": "-strength"}, with_lr={"strength": "strength * lr"}),
    *of("adam", "l2", True, with_the_schedule={"strength": "strength * multiplier"}),
    *of("adam", "decoupled_lr", True, decay_up={"lr * strength": "-lr * strength"}),
    *of("adam", "decoupled_lr", True, without_lr={"lr * strength": "strength"}),
    *of("adam", "decoupled_lr", True, without_the_schedule={"lr * strength": "0.05 * strength"}),
    *of("adam", "decoupled_schedule", True, with_lr={"multiplier": "lr"}, without_the_schedule={"multiplier": "1.0"}),
    *of("adam", "decoupled_schedule", True, decay_up={"multiplier * strength": "-multiplier * strength"}),
    *of("adam", "decoupled_constant", True, decay_up={"strength": "-strength"}),
    *of("adam", "decoupled_constant", True, with_the_schedule={"strength": "multiplier * strength"}),
]
MUTANTS = [*ADAM, *RMSPROP, *MOMENTUM, *NESTEROV, *SGD, *SHARES]


def name_of(mutant: Mutant) -> str:
    return f"{mutant.rule}, {mutant.coupling}: {mutant.mistake}"


def error(rule: Rule, coupling: Coupling, like: tuple[str, str]) -> float:
    """How far from torch, by the comparison that the conformance tests use."""
    hyper = {name: HYPER[name] for name in rule.defaults}
    return against_torch(rule, coupling, like, hyper=hyper, multipliers=MULTIPLIERS, **SETTING)


@pytest.mark.parametrize(("rule", "coupling"), sorted({(m.rule, m.coupling) for m in MUTANTS}))
def test_the_original_passes(rule: str, coupling: str) -> None:
    assert error(RULES[rule], COUPLINGS[coupling], (rule, coupling)) <= TOLERANCE


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_every_mutant_fails(mutant: Mutant) -> None:
    # A thousand times the tolerance: no mistake is near the border.
    assert not error(*mutant.build(), (mutant.rule, mutant.coupling)) <= 1e3 * TOLERANCE


@pytest.mark.parametrize(
    ("doors", "coupling"),
    [("after", "decoupled_lr"), ("before", "decoupled_schedule"), ("after", "decoupled_constant"), ("before", "l2")],
)
def test_a_share_through_the_wrong_door_fails(doors: str, coupling: str) -> None:
    right = COUPLINGS[coupling]
    (share,) = (door for door in right.doors if door)
    wrong = Coupling("wrong", "", "", **{doors: share})
    assert not error(RULES["adam"], wrong, ("adam", coupling)) <= 1e3 * TOLERANCE


def loss_falls(rule: Rule, coupling: Coupling) -> bool:
    """The weak test: 200 steps on a least-squares problem halve the loss, and more."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 5, generator=random, dtype=torch.float64)
    wanted = inputs @ torch.linspace(-2, 2, 5, dtype=torch.float64)
    w = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = Optimizer([w], rule, coupling, lr=0.1, weight_decay=1e-3)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (inputs @ w - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[-1] < losses[0] / 2


def test_a_falling_loss_would_miss_most_mistakes_in_adam() -> None:
    assert loss_falls(RULES["adam"], COUPLINGS["l2"])
    adam = [*ADAM, *(m for m in SHARES if m.coupling == "l2")]
    missed = {m.mistake for m in adam if loss_falls(*m.build())}
    # It notices what climbs, and nothing else: not swapped betas, no missing correction, no decay that pulls outward.
    assert missed == {m.mistake for m in adam} - {"uphill"}
    assert len(missed) >= 15
