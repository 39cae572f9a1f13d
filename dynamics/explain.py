"""What an optimizer setting does to a weight: the answer behind `undertow explain`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import sympy as sp

from . import closed, formula
from .couplings import COUPLINGS, Coupling, compose, find_coupling
from .rule import Rule, check
from .rules import find_rule
from .words import FLOATS

# Stepping in Python answers within a second up to here; beyond it the compiled simulator takes over.
_PYTHON_STEPS = 200_000
_COMPILED_STEPS = 10_000_000


@dataclass(frozen=True)
class Passage:
    """Steps a weight needs from one size to another without a gradient; None: not within `searched` steps, or never.

    how: "closed form", "simulated", or the reason why there is no number.
    """

    steps: int | None
    how: str


@dataclass(frozen=True)
class Stability:
    """The largest stable learning rate on curvature h with denominator P = sqrt(v) + eps, as formula, and without a
    gradient (h = 0, P = eps for rules with a denominator, else 1) as number; None: no learning rate is too large."""

    formula: str
    latex: str
    without_gradient: float | None
    settles: bool


@dataclass(frozen=True)
class Explanation:
    """One setting explained. JSON by `as_dict`."""

    optimizer: str
    coupling: str
    lr: float
    strength: float
    hyperparameters: dict[str, float]
    paper: str
    semantics: str
    formula: dict[str, str]
    latex: dict[str, str]
    one_step_formula: str
    one_step_from_1: float
    steps_from_1_to_1e_3: dict[str, Passage]
    stability: Stability
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def explain(
    optimizer: str | Rule, coupling: str | Coupling, *, lr: float | None = None, strength: float = 0.0, **hyper: float
) -> Explanation:
    """Explain `optimizer` with a regularizer of `strength` entering by `coupling`, at learning rate lr (None: default).

    Raises InputError for unknown names and values out of range.
    """
    rule, coupled = find_rule(optimizer), find_coupling(coupling)
    rate = check("lr", rule.lr if lr is None else lr)
    strength = check("strength", strength)
    values = rule.hyperparameters(**hyper)
    numbers = {
        formula.symbol(k): v for k, v in ({"lr": rate, "strength": strength, "multiplier": 1.0} | values).items()
    }
    written = formula.update(rule, coupled).written()
    first = one_step(rule, coupled, rate, strength, values)
    passages = {
        name: passage(rule, c, rate, strength, values, 1.0, 1e-3) for name, c in COUPLINGS.items() if name != "none"
    }
    stability = _stability(rule, coupled, rate, numbers)
    return Explanation(
        optimizer=rule.name,
        coupling=coupled.name,
        lr=rate,
        strength=strength,
        hyperparameters=values,
        paper=rule.paper,
        semantics=rule.semantics,
        formula={name: str(e) for name, e in written.items()},
        latex={name: sp.latex(e) for name, e in written.items()},
        one_step_formula=str(formula.silent_step(rule, coupled)),
        one_step_from_1=first,
        steps_from_1_to_1e_3=passages,
        stability=stability,
        warnings=_warnings(rule, coupled, rate, strength, stability),
    )


def one_step(
    rule: Rule, coupling: Coupling, lr: float, strength: float, hyper: dict[str, float], start: float = 1.0
) -> float:
    """Where the first step from fresh state takes a weight of size `start` that gets no gradient."""
    step = compose(rule, coupling, FLOATS)
    return float(_without_gradient(step, start, rule.fresh(), lr, strength, tuple(hyper.values()))[0])


def _without_gradient(
    step: Callable[..., tuple[Any, ...]],
    w: float,
    inner: tuple[float, ...],
    lr: float,
    strength: float,
    hyper: tuple[float, ...],
) -> tuple[Any, ...]:
    try:
        return step(w, 0.0, inner, lr, 1.0, strength, hyper)
    except ZeroDivisionError:  # 0 / 0 of a rule without eps at w = 0: the weight is where it wants to be
        return (w, *inner)


def passage(
    rule: Rule, coupling: Coupling, lr: float, strength: float, hyper: dict[str, float], start: float, target: float
) -> Passage:
    """Steps from `start` until |w| <= target, fresh and without a gradient: closed form if any, else stepped."""
    if strength == 0 or (lr == 0 and coupling.name not in ("decoupled_schedule", "decoupled_constant")):
        return Passage(None, "never: nothing pulls")
    if coupling.gradient is None:
        shares = [share(strength, lr, 1.0) for share in (coupling.before, coupling.after) if share]
        if len(shares) == 1 and 0 < shares[0] < 2:
            return Passage(closed.geometric_steps(shares[0], target / start), "closed form")
    elif rule.name == "sgd" and lr * strength < 2:
        return Passage(closed.geometric_steps(lr * strength, target / start), "closed form")

    step, given = compose(rule, coupling, FLOATS), tuple(hyper.values())
    w, inner = start, rule.fresh()
    for t in range(1, _PYTHON_STEPS + 1):
        w, *rest = _without_gradient(step, w, inner, lr, strength, given)
        inner = tuple(rest)
        if abs(w) <= target:
            return Passage(t, "simulated")
        if not math.isfinite(w):
            return Passage(None, f"never: it diverges after {t} steps")
    if not rule.adaptive and "momentum" in hyper:
        slow = closed.momentum_roots(lr * strength, hyper["momentum"], rule.name == "nesterov")[0].real
        return Passage(_PYTHON_STEPS + math.ceil(math.log(target / abs(w)) / math.log(slow)), "closed form")
    if strength * abs(w) < 1e-3 * hyper["eps"]:
        # The denominator is eps from here on: plain decay by lr strength / eps a step.
        share = lr * strength / hyper["eps"]
        return Passage(_PYTHON_STEPS + closed.geometric_steps(share, target / abs(w)), "closed form")
    return _passage_compiled(rule, coupling, lr, strength, hyper, start, target)


def _passage_compiled(
    rule: Rule, coupling: Coupling, lr: float, strength: float, hyper: dict[str, float], start: float, target: float
) -> Passage:
    from .simulator import simulate

    lanes = {"lr": lr, "strength": strength} | hyper
    low, high = _PYTHON_STEPS, _COMPILED_STEPS
    # Ever finer looks at the same path: the first record at or below target brackets the passage.
    while high - low > 1:
        steps = np.unique(np.linspace(low, high, 4_000, dtype=np.int64))[1:]
        below = np.abs(simulate(rule, coupling, record=steps, lanes=lanes, start=start).w[:, 0]) <= target
        if not below.any():
            return Passage(None, f"not within {high} steps")
        at = int(below.argmax())
        low, high = int(steps[at - 1]) if at else low, int(steps[at])
    return Passage(high, "simulated")


def _stability(rule: Rule, coupling: Coupling, lr: float, numbers: dict[sp.Symbol, float]) -> Stability:
    limit = formula.stability_limit(rule, coupling)
    denominator = formula.symbol("P")
    eps = numbers.get(formula.symbol("eps"), 1.0)
    alone = limit.subs({formula.symbol("h"): 0, denominator: eps}).subs(numbers)
    largest = float(alone) if alone.is_finite and alone.is_number else None
    return Stability(str(limit), sp.latex(limit), largest, largest is None or lr < largest)


def _warnings(rule: Rule, coupling: Coupling, lr: float, strength: float, stability: Stability) -> list[str]:
    found = []
    if not stability.settles:
        found.append(
            f"lr {lr:g} is above the stability limit {stability.without_gradient:.3g} of a weight without a gradient: "
            "near 0 it never settles, but comes back in bursts"
        )
    if coupling.name == "none" and strength:
        found.append(f"strength {strength:g} with coupling none has no effect")
    if rule.adaptive and coupling.gradient is not None:
        found.append(
            "the strength hardly sets the speed: without a gradient the step is about lr, whatever the strength"
        )
    return found
