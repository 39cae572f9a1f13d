"""The two sides of a comparison with another library: our update over arrays or whole tensors, and a torch optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from properties.draws import RANGES, rates, strengths

from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.words import NUMPY, Words, tensors

STEPS = 100
# Two orders of the same few operations in float64, carried through as many steps.
TOLERANCE = 1e-12
MATRIX = (4, 3)

# beta1 stays away from 0, where AdaBelief divides by eps alone and schedule-free's average by beta1.
DRAWS = {
    **RANGES,
    "beta1": st.floats(0.3, 0.99),
    "momentum_decay": st.floats(0.0, 1.0),
    "initial_accumulator": st.floats(0.1, 2.0),
}


def spelled(hyper: dict[str, float]) -> dict[str, Any]:
    """Hyperparameters as torch's users spell them: betas as one."""
    betas = tuple(hyper[name] for name in ("beta1", "beta2", "beta3") if name in hyper)
    rest = {name: value for name, value in hyper.items() if name not in ("beta1", "beta2", "beta3")}
    return rest | ({"betas": betas} if betas else {})


def gradients(seed: int, steps: int = STEPS, size: int = 6, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Noise about a mean that differs by element; a fifth of the entries exactly zero, as of a selective feature."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(steps, size, generator=random, dtype=dtype) + torch.linspace(-1, 1, size, dtype=dtype)
    return noise * (torch.rand(steps, size, generator=random) > 0.2)


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
    lr, strength, seed = draw(rates), draw(strengths), draw(st.integers(0, 1000))
    return make_setting(rule, coupling, lr, strength, hyper, seed, first)


def words_for(rule: Rule) -> Words:
    return NUMPY if rule.unit == "weight" else tensors()


def ours(
    setting: Setting,
    rule: Rule | None = None,
    coupling: Coupling | None = None,
    words: Words | None = None,
) -> np.ndarray:
    """Our weights after each step (steps, *shape)."""
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
        rows.append(w)
    return np.stack([np.asarray(row) for row in rows])


def theirs(
    make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
    setting: Setting,
    evaluated: bool = False,
    by_hand: str = "none",
) -> np.ndarray:
    """The weights of a torch optimizer after each step, its lr following the schedule; evaluated: after its eval().

    by_hand: the coupling whose pull is done around the steps, for an optimizer that has none.
    """
    weights = torch.nn.Parameter(torch.from_numpy(setting.start.copy()))
    optimizer: Any = make([weights])
    if hasattr(optimizer, "train"):
        optimizer.train()
    strength, rows = setting.strength, []
    for g, rate, multiplier in zip(setting.given, setting.rates, setting.multipliers, strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        weights.grad = torch.from_numpy(g.copy())
        if by_hand == "l1":
            weights.grad += strength * weights.detach().sign()
        elif by_hand in ("decoupled_lr", "decoupled_constant", "corrected"):
            shares = {"decoupled_lr": rate, "decoupled_constant": 1.0, "corrected": rate * multiplier}
            weights.data.mul_(1 - shares[by_hand] * strength)
        start = weights.detach().clone() if by_hand == "cautious" else None
        optimizer.step()
        if by_hand == "decoupled_schedule":
            weights.data.mul_(1 - strength * multiplier)
        elif start is not None:
            weights.data.sub_(rate * strength * start * ((weights.detach() - start) * start <= 0))
        if evaluated:
            optimizer.eval()
        rows.append(weights.detach().numpy().copy())
        if evaluated:
            optimizer.train()
    return np.stack(rows)


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference, relative to the largest weight on the path; inf if either is not finite."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))


@contextmanager
def scalars(dtype: torch.dtype) -> Iterator[None]:
    """Let torch keep its step counts and products of momenta in this type: it takes the default, float32, for any weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
