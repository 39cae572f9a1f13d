"""Our own updates along a drive, many settings at once: the first axis of every array is the setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.probe.drive import Array, Drive
from dynamics.rule import Rule
from dynamics.words import NUMPY, Words, bind, newton_schulz

# update(w, g, inner, lr, multiplier, strength, hyper) -> (w, *inner), as `dynamics.couplings.compose` gives it.
Update = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Candidate:
    """What an optimizer may be.

    rule: with the state, the clock and the hyperparameters that belong to `update`; coupling: "" where the regularizer is
    none of ours; words: what it is, for a reader; slips: how it departs from the rule and the coupling as they are.
    """

    rule: Rule
    coupling: str
    update: Update
    words: str
    slips: tuple[str, ...] = ()

    @property
    def way(self) -> str:
        """How its regularizer enters, in words."""
        return self.words.removeprefix(f"{self.rule.label}, ")

    @property
    def names(self) -> tuple[str, ...]:
        """Its hyperparameters, with lr and, where it has a regularizer, strength."""
        return ("lr", *self.rule.defaults, *(() if self.coupling == "none" else ("strength",)))


def _over(x: Any) -> tuple[int, ...]:
    return tuple(range(1, np.ndim(x)))


def _norm(x: Any) -> Any:
    return np.sqrt(np.sum(np.square(x), axis=_over(x), keepdims=True))


def _turned(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


_matrix = {"largest": np.maximum, "norm": _norm, "times": np.matmul, "transpose": _turned, "range": range}
_wide = bind(newton_schulz, _matrix)
_number = NUMPY["orthogonal"]


def _orthogonal(x: Any, eps: Any) -> Any:
    if np.ndim(x) != 3:
        return _number(x, eps)
    return _wide(x, eps) if x.shape[-2] <= x.shape[-1] else _turned(_wide(_turned(x), eps))


def _shape_factor(x: Any) -> float:
    return float(np.sqrt(max(1.0, x.shape[-2] / x.shape[-1]))) if np.ndim(x) == 3 else 1.0


# Over arrays whose first axis is the setting and whose others are one parameter; what overflows there is infinite.
WORDS: Words = {**NUMPY, "power": np.power, "norm": _norm, "orthogonal": _orthogonal, "shape_factor": _shape_factor}


@cache
def candidate(rule: Rule, coupling: Coupling) -> Candidate:
    """A rule with a coupling, as they are."""
    return Candidate(rule, coupling.name, compose(rule, coupling, WORDS), f"{rule.label}, {coupling.label}")


def plain(rule: Rule) -> Candidate:
    """A rule without a regularizer."""
    return candidate(rule, COUPLINGS["none"])


def path(of: Candidate, drive: Drive, values: Mapping[str, Array]) -> Array:
    """The weights after each step, (steps, settings, *shape); values: each (settings,), for every name of the candidate."""
    count = len(next(iter(values.values())))
    lanes = (count, *(1,) * drive.start.ndim)
    held = {name: np.asarray(value, float).reshape(lanes) for name, value in values.items()}
    hyper = {name: held[name] for name in of.rule.defaults}
    start = np.broadcast_to(drive.start, (count, *drive.start.shape))
    lr, strength = held["lr"] * drive.base, held.get("strength", 0.0)
    w: Any = start
    # As arrays: numbers of Python raise where they are divided by 0, of which nothing but NaN is wanted here.
    inner: tuple[Any, ...] = tuple(map(np.asarray, of.rule.fresh(start, hyper)))
    rows = np.empty((drive.steps, *start.shape))
    with np.errstate(all="ignore"):
        for t, (g, multiplier) in enumerate(zip(drive.gradients, drive.multipliers, strict=True)):
            w, *rest = of.update(w, g[None], inner, lr * multiplier, float(multiplier), strength, tuple(hyper.values()))
            inner = tuple(rest)
            rows[t] = w
            if drive.pinned:
                w = start
    return rows
