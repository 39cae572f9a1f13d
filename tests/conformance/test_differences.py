"""What is particular to torch's formulas, shown on torch itself and on ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.oracle import TOLERANCE, TORCH, scalars, spelled, torchs
from conformance.sides import Setting, difference, make_setting, ours, theirs
from mutants.source import exchanged

from dynamics.couplings import COUPLINGS, compose
from dynamics.libraries.catalogue import elsewhere
from dynamics.libraries.reference import offers
from dynamics.rules import RULES
from dynamics.words import NUMPY


@pytest.fixture(autouse=True, scope="module")
def _exact_scalars() -> Iterator[None]:
    with scalars(torch.float64):
        yield


def torch_path(setting: Setting) -> np.ndarray:
    kind, extra = TORCH[setting.rule, "l2"]
    arguments: dict[str, Any] = {"lr": setting.lr, **torchs(spelled(setting.hyper)), **extra}
    return theirs(lambda weights: kind(weights, **arguments), setting)


def without(rule: str, setting: Setting, exchanges: dict[str, str]) -> np.ndarray:
    """Our path with expressions of the rule exchanged."""
    return ours(setting, replace(RULES[rule], step=exchanged(RULES[rule].step, exchanges)))


def test_nadam_without_momentum_decay_has_half_the_momentum_not_a_constant_schedule() -> None:
    hyper = {"beta1": 0.9, "beta2": 0.99, "momentum_decay": 0.0, "eps": 1e-8}
    setting = make_setting("nadam", "none", 0.03, 0.0, hyper, seed=3)
    mu, mu_next = "beta1 * (1 - 0.5 * decay)", "beta1 * (1 - 0.5 * (decay * slower))"
    there = torch_path(setting)
    assert difference(without("nadam", setting, {mu: "0.5 * beta1", mu_next: "0.5 * beta1"}), there) <= TOLERANCE
    assert difference(without("nadam", setting, {mu: "beta1", mu_next: "beta1"}), there) > 1e-3


def test_adamax_has_eps_in_its_state() -> None:
    setting = make_setting("adamax", "none", 0.03, 0.0, {"beta1": 0.9, "beta2": 0.9, "eps": 0.1}, seed=3)
    there = torch_path(setting)
    assert difference(ours(setting), there) <= TOLERANCE
    outside = {
        "maximum(beta2 * u, abs(g) + eps)": "maximum(beta2 * u, abs(g))",
        "lr * mhat / u": "lr * mhat / (u + eps)",
    }
    # Beside the step it would weigh at every step, in the state it fades until a gradient is the largest again.
    assert difference(without("adamax", replace_first(setting), outside), torch_path(replace_first(setting))) > 1e-3


def replace_first(setting: Setting) -> Setting:
    """With no zero in the first gradient: without eps in its state Adamax would divide by 0."""
    given = setting.given.copy()
    given[0] += given[0] == 0
    return replace(setting, given=given)


def test_adamax_does_not_correct_its_maximum() -> None:
    setting = make_setting("adamax", "none", 0.03, 0.0, {"beta1": 0.9, "beta2": 0.9, "eps": 0.1}, seed=3)
    corrected = {"lr * mhat / u": "lr * mhat / (u * (1 / (1 - beta2)))"}
    assert difference(without("adamax", setting, corrected), torch_path(setting)) > 1e-3


def test_radam_scales_eps_by_the_bias_correction() -> None:
    setting = make_setting("radam", "none", 0.03, 0.0, {"beta1": 0.9, "beta2": 0.999, "eps": 1e-2}, seed=3)
    there = torch_path(setting)
    assert difference(ours(setting), there) <= TOLERANCE
    after = {"sqrt(v) + eps": "sqrt(v) + eps * sqrt(1 - power2)"}
    assert difference(without("radam", setting, after), there) > 1e-3


def test_rmsprop_has_eps_outside_the_root_and_lr_outside_the_buffer() -> None:
    hyper = {"alpha": 0.9, "momentum": 0.9, "eps": 1e-2}
    setting = make_setting("rmsprop_momentum", "none", 0.03, 0.0, hyper, seed=3)
    there = torch_path(setting)
    assert difference(ours(setting), there) <= TOLERANCE
    assert difference(without("rmsprop_momentum", setting, {"sqrt(v) + eps": "sqrt(v + eps)"}), there) > 1e-3
    inside = {"g / (sqrt(v) + eps)": "lr * g / (sqrt(v) + eps)", "lr * b": "b"}
    assert difference(without("rmsprop_momentum", setting, inside), there) > 1e-3


def centered_steps(gradient: float, dtype: torch.dtype, steps: int) -> np.ndarray:
    """The sizes of the steps of torch's centered RMSprop, lr 0.01, under a constant gradient."""
    weights = torch.nn.Parameter(torch.tensor([1.0], dtype=dtype))
    optimizer = torch.optim.RMSprop([weights], lr=0.01, centered=True)
    sizes = []
    for _ in range(steps):
        before = weights.item()
        weights.grad = torch.tensor([gradient], dtype=dtype)
        optimizer.step()
        sizes.append(abs(weights.item() - before))
    return np.array(sizes)


def test_centered_rmsprop_grows_without_bound_under_a_constant_gradient_in_torch_too() -> None:
    # v - m^2 is g^2 (1 - alpha^t) alpha^t: the step grows as alpha^(-t/2), in exact arithmetic up to lr g / eps.
    decayed = 0.99 ** np.arange(1, 1001)
    exact = 0.01 / np.sqrt(decayed * (1 - decayed))
    double = centered_steps(0.1, torch.float64, 4000)
    assert np.abs(double[:1000] / exact - 1).max() < 1e-3
    # Rounding then decides: float64 reaches a million times the first step, and NaN where it makes v - m^2 negative;
    # float32 stops at some ten times.
    assert np.nanmax(double) > 5e5 * double[0]
    assert np.isnan(double[-1])
    single = centered_steps(0.1, torch.float32, 4000)
    assert 30 * single[0] < single.max() < 300 * single[0]
    # Ours is unclamped alike.
    rule, hyper = RULES["rmsprop_centered"], tuple(RULES["rmsprop_centered"].defaults.values())
    step = compose(rule, COUPLINGS["none"], NUMPY)
    w, inner, rows = 1.0, rule.fresh(1.0, rule.defaults), [1.0]
    for _ in range(1000):
        w, *inner = step(w, 0.1, tuple(inner), 0.01, 1.0, 0.0, hyper)
        rows.append(w)
    assert np.abs(np.abs(np.diff(rows)) / exact - 1).max() < 1e-3


def test_every_offer_of_torch_is_held_to_its_path() -> None:
    offered = {
        (rule.name, coupling)
        for rule in RULES.values()
        for coupling in elsewhere(rule).offered
        if any(offer.startswith("torch.") for offer in offers(rule, COUPLINGS[coupling]))
    }
    # Muon orthogonalizes in bfloat16 there.
    assert offered == set(TORCH) | {("muon", "decoupled_lr")}
