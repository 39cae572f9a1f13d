"""What a rule is: one step of one weight, and what must be known to run and to explain it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from dynamics.door import check_fields
from dynamics.errors import InputError
from dynamics.given import shown

# What a hyperparameter may be: (accepts, in words).
Range = tuple[Callable[[float], bool], str]
BELOW_ONE: Range = (lambda x: 0 <= x < 1, "in [0, 1)")
NOT_NEGATIVE: Range = (lambda x: 0 <= x < math.inf, "a finite number >= 0")
# Names are shared by all rules, and so are their ranges and how they are written in a formula. A rule may add its own.
_ranges = {
    **dict.fromkeys(("lr", "strength"), NOT_NEGATIVE),
    **dict.fromkeys(("momentum", "alpha", "rho", "beta1", "beta2", "beta3"), BELOW_ONE),
    **dict.fromkeys(("momentum_decay", "initial_accumulator", "trust", "eps"), NOT_NEGATIVE),
}
_written = {
    **{"lr": "eta", "strength": "lambda", "multiplier": "kappa", "target": "w_star"},
    **{"momentum": "mu", "eps": "epsilon", "momentum_decay": "psi", "initial_accumulator": "s_0"},
}
# So many steps show whether a rule is linear: RAdam's first five are.
_STEPS = 40
SHARED: tuple[str, ...] = tuple(_ranges)
RANGES: Mapping[str, Range] = MappingProxyType(_ranges)
WRITTEN: Mapping[str, str] = MappingProxyType(_written)


def as_float(name: str, value: Any) -> float:
    """`value`, a number or a text that writes one down, as a float; InputError, naming it, if it is none."""
    try:
        if isinstance(value, bool | bytes) or (hasattr(value, "__array_interface__") and value.ndim):
            raise TypeError
        return float(
            value.detach() if hasattr(value, "detach") else value
        )  # torch warns of one that asks for a gradient
    except Exception:  # whatever another's class raises
        raise InputError(f"{name} {shown(value)} is no number: a number is accepted") from None


def check(name: str, value: float) -> float:
    """`value` as a float if hyperparameter `name` may take it; InputError, one line, if not."""
    accepts, words = RANGES[name]
    if isinstance(value, str):
        raise InputError(f"{name} {shown(value)} is no number: a number is accepted")
    number = as_float(name, value)
    if not accepts(number):
        raise InputError(f"{name} {shown(value)} is out of range: accepted is {words}")
    return number


def _add(rule: str, known: dict[str, Any], own: Mapping[str, Any]) -> None:
    for name, value in own.items():
        if known.setdefault(name, value) != value:
            raise InputError(f"rule {rule}: {name} means something else already, a name of its own is needed")


@dataclass(frozen=True, eq=False)
class Rule:
    """One update rule with its metadata. `step` is the formula; everything else here describes it.

    Args:
        name: small letters, digits and _.
        step: step(w, g, *state, *clock, lr, *hyperparameters) -> (w, *state, *clock), one step of one weight in the
            words of `dynamics.words`. A rule that takes weight decay itself, because it keeps the weight in more than
            one place or rescales the whole update, has step(w, g, pull, *state, ...): pull is what a decoupled
            regularizer takes off w at this step.
        state: fields that each weight carries; they start at 0, or as `starts` says.
        clock: fields that depend on the hyperparameters and the number of steps alone (powers of beta), with their
            start; carried, since recomputing powers each step costs more than the step.
        defaults: hyperparameters, in the step's order, with the values of `semantics`.
        lr: the learning rate when none is given.
        paper: where the rule was published.
        semantics: the library or paper whose arithmetic and defaults it has.
        label: its name for a reader; "": `name`.
        starts: fields of the state that start at the first weight ("w") or at the hyperparameter of that name.
        unit: what one application of the rule needs to see: a weight alone, its whole tensor (norms), or a matrix.
        clock_follows_lr: the clock depends on the learning rates as well.
        average: for a rule whose gradient point w is not the weight to evaluate with, that weight from (w, *state,
            *hyperparameters).
        memory: the hyperparameter by which it forgets squares, if it keeps a running mean or maximum of them.
        divides_by: what its step is the gradient over, or a mean of gradients: "mean", sqrt(v) + eps with v the running
            mean of g^2; "largest mean", sqrt(vmax) + eps with vmax the largest v so far; "maximum", u, a fading maximum
            of abs(g) + eps; "sum", sqrt(s) + eps with s the sum of all g^2; "" for all else. The fields have these
            names.
        ranges: what those hyperparameters may be that no other rule has (BELOW_ONE, NOT_NEGATIVE).
        written: how names of its own are written in a formula.

    Raises:
        InputError: for a step that takes other arguments than state, clock and defaults say, and for facts that
            disagree.

    Example:
        >>> from undertow import simulate
        >>> def heavy(w, g, m, lr, momentum):
        ...     m = momentum * m + g
        ...     return w - lr * m, m
        >>> rule = Rule("heavy", heavy, state=("m",), clock={}, defaults={"momentum": 0.9}, lr=0.1)
        >>> simulate(rule, "l2", record=[0, 1, 2], lanes={"strength": 0.5}).w[:, 0].round(4).tolist()
        [1.0, 0.95, 0.8575]
    """

    name: str
    step: Callable[..., Any]
    state: tuple[str, ...]
    clock: Mapping[str, float]
    defaults: Mapping[str, float]
    lr: float
    paper: str = ""
    semantics: str = ""
    label: str = ""
    starts: Mapping[str, str] = field(default_factory=dict)
    unit: Literal["weight", "tensor", "matrix"] = "weight"
    clock_follows_lr: bool = False
    average: Callable[..., Any] | None = None
    memory: str = ""
    divides_by: Literal["", "mean", "largest mean", "maximum", "sum"] = ""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    inner: tuple[str, ...] = field(init=False)
    takes_pull: bool = field(init=False)

    def __post_init__(self) -> None:
        check_fields(self)
        given = list(inspect.signature(self.step).parameters)
        derived = {"label": self.label or self.name, "inner": (*self.state, *self.clock), "takes_pull": "pull" in given}
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        expected = ["w", "g", *(["pull"] if self.takes_pull else []), *self.inner, "lr", *self.defaults]
        if given != expected:
            raise InputError(f"rule {self.name}: its step must take {', '.join(expected)}")
        _add(self.name, _ranges, self.ranges)
        _add(self.name, _written, self.written)
        for name in self.defaults:
            if name not in RANGES:
                raise InputError(f"rule {self.name}: what {name} may be must stand in its `ranges`")
        if self.memory and self.memory not in self.defaults:
            raise InputError(f"rule {self.name}: its memory {shown(self.memory)} is none of its hyperparameters")
        needs = {"mean": "v", "largest mean": "vmax", "maximum": "u", "sum": "s"}.get(self.divides_by)
        if needs and not ({needs, "eps"} <= {*self.state, *self.defaults} and (self.memory or needs == "s")):
            raise InputError(
                f"rule {self.name}: dividing by the {self.divides_by} takes a field {needs}, eps and a memory"
            )

    @cached_property
    def adaptive(self) -> bool:
        """Whether the step is anything but linear in the gradients, found by running it.

        Raises what the step raises, and TypeError where it returns something else than w, state and clock.
        """
        from dynamics.words import FLOATS, bind  # loads NumPy, which `undertow --help` does not need

        def moved(along: float, across: float) -> float:
            step, w, inner = bind(self.step, FLOATS), 1.0, self.fresh(1.0, self.defaults)
            for t in range(_STEPS):
                g = along * math.cos(t) + across * math.cos(3 * t + 1)
                w, *rest = step(w, g, *([0.0] if self.takes_pull else []), *inner, self.lr, *self.defaults.values())
                inner = tuple(map(float, rest))
                if len(inner) != len(self.inner):
                    raise TypeError(f"rule {self.name}: its step must return {', '.join(('w', *self.inner))}")
            return float(w) - 1

        try:
            along, across, both, twice = (moved(*parts) for parts in ((1, 0), (0, 1), (1, 1), (2, 0)))
        except ZeroDivisionError:  # it divides by what it gathers
            return True
        return not all(
            math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in ((both, along + across), (twice, 2 * along))
        )

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
