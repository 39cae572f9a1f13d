"""The two sides of a comparison with another library: our update over arrays or whole tensors, and a torch optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from conformance.oracle import STEPS, gradients
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.words import NUMPY, Words, tensors

MATRIX = (4, 3)

# Ranges in which float64 can be held to 1e-12. The memory of squares stays between 0.5 and 0.999: above, 1 - beta2^t
# loses digits, below, a step divided by the last gradient alone magnifies the rounding of nearly cancelling gradients.
# beta1 stays away from 0, where AdaBelief divides by eps alone and schedule-free's average by beta1.
DRAWS = {
    "momentum": st.floats(0.01, 0.99),
    "alpha": st.floats(0.5, 0.999),
    "rho": st.floats(0.5, 0.999),
    "beta1": st.floats(0.3, 0.99),
    "beta2": st.floats(0.5, 0.999),
    "beta3": st.floats(0.5, 0.999),
    "momentum_decay": st.floats(0.0, 1.0),
    "initial_accumulator": st.floats(0.1, 2.0),
    "trust": st.floats(1e-3, 0.1),
    "eps": st.sampled_from([1e-10, 1e-8, 1e-4, 1e-1]),
}


@dataclass(frozen=True)
class Setting:
    """One run: given (steps, *shape) holds the gradients, multipliers (steps,) the schedule, start (*shape) the weights."""

    rule: str
    coupling: str
    lr: float
    strength: float
    hyper: dict[str, float]
    given: np.ndarray = field(repr=False)
    multipliers: np.ndarray = field(repr=False)
    start: np.ndarray = field(repr=False)

    @property
    def rates(self) -> np.ndarray:
        return self.lr * self.multipliers

    def steady(self) -> Setting:
        """The same with a constant learning rate."""
        return replace(self, multipliers=np.ones(len(self.multipliers)))


def make_setting(
    rule: str, coupling: str, lr: float, strength: float, hyper: Mapping[str, float], seed: int, first: bool = False
) -> Setting:
    """A setting with gradients and schedule of that seed; first: no entry of the first gradient is zero."""
    whole = RULES[rule].unit != "weight"
    shape = MATRIX if whole else (6,)
    given = gradients(seed, size=int(np.prod(shape))).numpy().reshape(STEPS, *shape)
    given[0] += first * (given[0] == 0)
    multipliers = np.random.default_rng(seed).uniform(0.1, 1.0, STEPS)
    multipliers[0] = 1.0
    start = np.linspace(-1.0, 2.0, int(np.prod(shape))).reshape(shape)
    return Setting(rule, coupling, lr, strength, dict(hyper), given, multipliers, start)


@st.composite
def drawn(draw: st.DrawFn, rule: str, coupling: str, fixed: Mapping[str, float] = {}, first: bool = False) -> Setting:
    """A setting of the rule with every hyperparameter drawn, but for the fixed ones."""
    hyper = {name: fixed[name] if name in fixed else draw(DRAWS[name]) for name in RULES[rule].defaults}
    lr, strength, seed = draw(st.floats(1e-4, 0.3)), draw(st.floats(1e-5, 0.5)), draw(st.integers(0, 1000))
    return make_setting(rule, coupling, lr, strength, hyper, seed, first)


def words_for(rule: Rule) -> Words:
    return NUMPY if rule.unit == "weight" else tensors()


def ours(
    setting: Setting,
    rule: Rule | None = None,
    coupling: Coupling | None = None,
    words: Words | None = None,
    evaluated: bool = False,
) -> np.ndarray:
    """Our weights after each step (steps, *shape); evaluated: the rule's average of them instead."""
    rule = rule or RULES[setting.rule]
    step = compose(rule, coupling or COUPLINGS[setting.coupling], words or words_for(rule))
    whole = rule.unit != "weight"
    w: Any = torch.from_numpy(setting.start) if whole else setting.start
    inner, rows = rule.fresh(w, setting.hyper), []
    hyper = tuple(setting.hyper.values())
    for g, multiplier in zip(setting.given, setting.multipliers, strict=True):
        rate = setting.lr * multiplier
        w, *inner = step(
            w, torch.from_numpy(g) if whole else g, tuple(inner), rate, multiplier, setting.strength, hyper
        )
        if evaluated:
            assert rule.average is not None
            rows.append(rule.average(w, *inner[: len(rule.state)], *hyper))
        else:
            rows.append(w)
    return np.stack([np.asarray(row) for row in rows])


def theirs(
    make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer], setting: Setting, evaluated: bool = False
) -> np.ndarray:
    """The weights of a torch optimizer after each step, its lr following the schedule; evaluated: after its eval()."""
    weights = torch.nn.Parameter(torch.from_numpy(setting.start.copy()))
    optimizer: Any = make([weights])
    if hasattr(optimizer, "train"):
        optimizer.train()
    rows = []
    for g, rate in zip(setting.given, setting.rates, strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        weights.grad = torch.from_numpy(g.copy())
        optimizer.step()
        if evaluated:
            optimizer.eval()
        rows.append(weights.detach().numpy().copy())
        if evaluated:
            optimizer.train()
    return np.stack(rows)


def difference(our_path: np.ndarray, their_path: Any) -> float:
    """The largest difference, relative to the largest weight on the path; inf if either is not finite."""
    other = np.asarray(their_path)
    if not (np.isfinite(our_path).all() and np.isfinite(other).all()):
        return float("inf")
    return float(np.abs(our_path - other).max() / max(1.0, np.abs(other).max()))
