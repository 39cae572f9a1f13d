"""What a rule is: one step of one weight, and what must be known to run and to explain it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dynamics.errors import InputError

# What each hyperparameter may be: (accepts, in words). Names are shared by all rules, so their ranges are too.
_BELOW_ONE = (lambda x: 0 <= x < 1, "in [0, 1)")
_NOT_NEGATIVE = (lambda x: 0 <= x < math.inf, "a finite number >= 0")
RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "lr": _NOT_NEGATIVE,
    "strength": _NOT_NEGATIVE,
    "momentum": _BELOW_ONE,
    "alpha": _BELOW_ONE,
    "rho": _BELOW_ONE,
    "beta1": _BELOW_ONE,
    "beta2": _BELOW_ONE,
    "beta3": _BELOW_ONE,
    "momentum_decay": _NOT_NEGATIVE,
    "initial_accumulator": _NOT_NEGATIVE,
    "trust": _NOT_NEGATIVE,
    "eps": _NOT_NEGATIVE,
}


def as_float(name: str, value: Any) -> float:
    """`value` as a float; InputError, naming it, if it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} {value!r} is no number: a number is accepted") from None


def check(name: str, value: float) -> float:
    """`value` as a float if hyperparameter `name` may take it; InputError, one line, if not."""
    accepts, words = RANGES[name]
    number = as_float(name, value)
    if not accepts(number):
        raise InputError(f"{name} {value!r} is out of range: accepted is {words}")
    return number


@dataclass(frozen=True, eq=False)
class Rule:
    """One update rule with its metadata. `step` is the formula; everything else here describes it.

    step(w, g, *state, *clock, lr, *hyperparameters) -> (w, *state, *clock)
    step(w, g, pull, *state, ...) for a rule that takes weight decay itself, because it keeps the weight in more than
    one place or rescales the whole update: pull is what a decoupled regularizer takes off w at this step.

    state: fields that each weight carries; they start at 0, or as `starts` says: at the first weight ("w") or at the
    hyperparameter of that name. clock: fields that depend on the hyperparameters and the number of steps alone (powers
    of beta), with their start; carried, since recomputing powers each step costs more than the step. clock_follows_lr: the clock
    depends on the learning rates as well. defaults: hyperparameters with the values of `semantics`. lr: the learning
    rate when none is given. unit: what one application of the rule needs to see: a weight alone, its whole tensor
    (norms), or a matrix. average: for a rule whose gradient point w is not the weight to evaluate with, that weight from
    (w, *state, *hyperparameters). offered: for each coupling, the libraries' names for this rule with it.
    """

    name: str
    step: Callable[..., Any]
    state: tuple[str, ...]
    clock: Mapping[str, float]
    defaults: Mapping[str, float]
    lr: float
    paper: str
    semantics: str
    adaptive: bool
    differs: str = ""
    starts: Mapping[str, str] = field(default_factory=dict)
    unit: Literal["weight", "tensor", "matrix"] = "weight"
    clock_follows_lr: bool = False
    average: Callable[..., Any] | None = None
    offered: Mapping[str, str] = field(default_factory=dict)
    inner: tuple[str, ...] = field(init=False)
    takes_pull: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", (*self.state, *self.clock))
        given = list(inspect.signature(self.step).parameters)
        object.__setattr__(self, "takes_pull", "pull" in given)
        expected = ["w", "g", *(["pull"] if self.takes_pull else []), *self.inner, "lr", *self.defaults]
        if given != expected:
            raise TypeError(f"rule {self.name}: its step must take {', '.join(expected)}")

    def hyperparameters(self, **given: float) -> dict[str, float]:
        """All hyperparameters but lr, checked, in the step's order; InputError for a name or value it cannot take."""
        for name in given:
            if name not in self.defaults:
                known = ", ".join(self.defaults) or "none"
                raise InputError(f"{self.name} has no hyperparameter {name!r}: it has {known}")
        return {name: check(name, given.get(name, default)) for name, default in self.defaults.items()}

    def fresh(self, w: Any, hyper: Mapping[str, Any]) -> tuple[Any, ...]:
        """State and clock before the first step of weight `w`, with all hyperparameters given."""
        starts = {"w": w, **hyper}
        return (
            *(starts[self.starts[name]] if name in self.starts else 0.0 for name in self.state),
            *self.clock.values(),
        )
