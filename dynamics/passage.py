"""How long a weight without a gradient takes from one size to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics import closed
from dynamics.couplings import Coupling, compose
from dynamics.rule import Rule
from dynamics.words import FLOATS

# Stepping in Python answers within a second up to here; beyond it the compiled simulator takes over.
_PYTHON_STEPS = 200_000
_COMPILED_STEPS = 10_000_000


@dataclass(frozen=True)
class Passage:
    """Steps a weight needs from one size to another without a gradient.

    steps: None if it never gets there or was not seen to; how: "closed form", "simulated", or why there is no number.
    """

    steps: int | None
    how: str


@dataclass(frozen=True)
class Setting:
    """A rule with a coupling and numbers: what `passage` and `one_step` are asked about. hyper: all of the rule's."""

    rule: Rule
    coupling: Coupling
    lr: float
    strength: float
    hyper: Mapping[str, float]


def _without_gradient(setting: Setting) -> Callable[[float, tuple[Any, ...]], tuple[Any, ...]]:
    step, hyper = compose(setting.rule, setting.coupling, FLOATS), tuple(setting.hyper.values())

    def advance(w: float, inner: tuple[Any, ...]) -> tuple[Any, ...]:
        try:
            return step(w, 0.0, inner, setting.lr, 1.0, setting.strength, hyper)
        except ZeroDivisionError:  # a rule without eps divides 0 by 0: where arrays give NaN, floats raise
            return (math.nan, *inner)

    return advance


def one_step(setting: Setting, start: float = 1.0) -> float:
    """Where the first step from fresh state takes a weight of size `start` that gets no gradient."""
    return float(_without_gradient(setting)(start, setting.rule.fresh())[0])


def passage(setting: Setting, start: float = 1.0, target: float = 1e-3) -> Passage:
    """Steps from `start` until |w| <= target, fresh and without a gradient: closed form if any, else stepped."""
    rule, coupling, lr, strength = setting.rule, setting.coupling, setting.lr, setting.strength
    shares = [share(strength, lr, 1.0) for share in coupling.doors if share]
    if not any(shares) or (coupling.gradient and lr == 0):
        return Passage(None, "never: nothing pulls")
    if len(shares) == 1 and (coupling.gradient is None or rule.name == "sgd"):
        share = shares[0] * (lr if coupling.gradient else 1.0)
        if 0 < share < 2:
            return Passage(closed.geometric_steps(share, target / start), "closed form")
        return Passage(None, f"never: each step multiplies it by {1 - share:g}")

    advance, w, inner = _without_gradient(setting), start, rule.fresh()
    roots = (
        None
        if rule.adaptive or "momentum" not in setting.hyper
        else closed.momentum_roots(lr * strength, setting.hyper["momentum"], rule.name == "nesterov")
    )
    for t in range(1, _PYTHON_STEPS + 1):
        w, *rest = advance(w, inner)
        inner = tuple(rest)
        if abs(w) <= target:
            return Passage(t, "simulated")
        if not abs(w) < math.inf:
            return Passage(None, f"never: it diverges within {t} steps")
        if roots and t % 1_000 == 0 and abs(roots[1] / roots[0]) ** t < 1e-16 and abs(roots[0]) < 1:
            # The faster of the two rates is gone: what is left is one power. Both rates are real then, and
            # (1 - slow) (1 - fast) = lr strength keeps the digits that 1 - slow would lose.
            rate = math.log1p(-(lr * strength / (1 - roots[1])).real)
            return Passage(t + math.ceil(math.log(target / abs(w)) / rate), "simulated, then closed form")
    if rule.adaptive and strength * abs(w) < 1e-3 * setting.hyper["eps"]:
        # The denominator is eps from here on: plain decay by lr strength / eps a step.
        share = lr * strength / setting.hyper["eps"]
        return Passage(_PYTHON_STEPS + closed.geometric_steps(share, target / abs(w)), "simulated, then closed form")
    return _compiled(setting, start, target)


def _compiled(setting: Setting, start: float, target: float) -> Passage:
    from dynamics.simulator import simulate

    lanes = {"lr": setting.lr, "strength": setting.strength, **setting.hyper}
    low, high = _PYTHON_STEPS, _COMPILED_STEPS
    # Ever finer looks at the same path: the first record at or below target brackets the passage.
    while high - low > 1:
        steps = np.unique(np.linspace(low, high, 4_000, dtype=np.int64))[1:]
        below = (
            np.abs(simulate(setting.rule, setting.coupling, record=steps, lanes=lanes, start=start).w[:, 0]) <= target
        )
        if not below.any():
            return Passage(None, f"not within {high} steps")
        at = int(below.argmax())
        low, high = int(steps[at - 1]) if at else low, int(steps[at])
    return Passage(high, "simulated")
