"""Of one update, what part is the regularizer's: the rule itself, run over attributed numbers."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import Any

import numpy as np

from dynamics.couplings import Coupling, compose, find_coupling, none
from dynamics.errors import InputError
from dynamics.given import array, mapping, number, shown
from dynamics.rule import Rule, as_float, check
from dynamics.rules import find_rule
from dynamics.theory.attributed import Attributed, Pull, attributed
from dynamics.words import FLOATS, NUMPY, Words, symbols, tensors


@dataclass(frozen=True, eq=False)
class PullShare:
    """One update split in two: the weight after it is the weight before + loss + pull, up to rounding.

    loss, pull: displacements, of the weight's shape. share: abs(pull) / (abs(pull) + abs(loss)), element by element
    whatever the rule; NaN where both are 0. w: the weight after. state: state and clock after, to be given to the next
    step; the fields that hold gradients remember how much of them is pull.
    """

    loss: Any
    pull: Any
    share: Any
    w: Any
    state: dict[str, Any]


@dataclass(frozen=True)
class _Arithmetic:
    kind: type
    words: Words
    zeros: Callable[[Any], Any]
    share: Callable[[Any, Any], Any]
    guard: AbstractContextManager[Any]


def pull_share(
    rule: str | Rule,
    coupling: str | Coupling,
    w: Any,
    g: Any,
    state: Mapping[str, Any] | None = None,
    *,
    lr: Any = None,
    strength: Any,
    multiplier: Any = 1.0,
    **hyper: Any,
) -> PullShare:
    """Split one update of weight w under gradient g into what the loss does to it and what the regularizer does.

    Args:
        rule: a name or an object, as `dynamics.rules` has them.
        coupling: a name or an object, as `dynamics.couplings` has them.
        w: the weight before the step: a float, a NumPy array, a sympy expression or a torch tensor. A torch tensor is
            one parameter; numbers of an array are weights of their own, as everywhere (a norm or a matrix is then that
            of one number).
        g: the loss gradient, of w's kind and shape.
        state: every field of the rule's state and clock before the step, as an optimizer holds it (what its buffers
            hold then counts as the loss's) or as the last call returned it; None: fresh.
        lr: the learning rate of this step; None: the rule's default.
        strength: of the regularizer, as in `dynamics.couplings`.
        multiplier: the schedule's part of lr, dimensionless.
        **hyper: the rule's other hyperparameters.

    Returns:
        The PullShare: displacements, share, the weight after and the state after.

    Raises:
        InputError: for unknown names, fields missing or unknown, values out of range and shapes that differ.

    Example:
        >>> split = pull_share("sgd", "l2", 1.0, 0.5, lr=0.1, strength=0.5)
        >>> split.loss, split.pull, split.share
        (-0.05, -0.05, 0.5)

    Source:
        Derived. What is linear splits. Roots, products and norms see the whole gradient, pull included, and are a scale
        by which both parts are divided alike; so is the size of what a sign is taken of (`dynamics.theory.attributed`).
    """
    rule, coupling = find_rule(rule), find_coupling(coupling)
    arithmetic = _arithmetic(w)
    for name, value in (("weight", w), ("gradient", g)):
        _check_kind(name, value, arithmetic.kind)
    lr = _checked("lr", rule.lr if lr is None else lr)
    strength = _checked("strength", strength)
    multiplier = multiplier if _symbolic(multiplier) else number("multiplier", multiplier)
    values = _hyperparameters(rule, hyper)
    _check_shapes(rule, w, g)
    with arithmetic.guard:
        inner = _begin(rule, w, state, values, arithmetic.kind)
        given = Attributed(g, g, arithmetic.zeros(g))
        after, held = attribute(
            rule, coupling, arithmetic.words, w, given, inner, (lr, multiplier, strength, tuple(values.values()))
        )
        share = arithmetic.share(abs(after.pull), abs(after.loss))
    return PullShare(after.loss, after.pull, share, after.total, held)


def attribute(
    rule: Rule, coupling: Coupling, words: Words, w: Any, g: Attributed, inner: tuple[Any, ...], outer: tuple[Any, ...]
) -> tuple[Attributed, dict[str, Any]]:
    """One composed step over attributed numbers: w after it with the two parts of its displacement, and the state.

    inner: state and clock, `carriers` attributed; outer: lr, multiplier, strength and the tuple of hyperparameters.
    """
    lr, multiplier, strength, hyper = outer
    after, *rest = compose(rule, coupling, attributed(words))(w, g, inner, lr, multiplier, Pull(strength), hyper)
    held = dict(zip(rule.inner, rest, strict=True))
    for name in _followers(rule):  # how far it is from w has parts, where both are has none
        held[name] = Attributed(held[name].total, held[name].loss - after.loss, held[name].pull - after.pull)
    return after, held


def _followers(rule: Rule) -> tuple[str, ...]:
    return tuple(name for name, start in rule.starts.items() if start == "w")


@cache
def carriers(rule: Rule) -> tuple[str, ...]:
    """The fields of the state that hold gradients, or steps, and so have parts; the others are scales."""
    step = compose(rule, none, attributed(FLOATS))
    inner = rule.fresh(1.0, rule.defaults)
    _, *after = step(1.0, Attributed(0.5, 0.5, 0.0), inner, rule.lr, 1.0, Pull(0.0), tuple(rule.defaults.values()))
    return tuple(name for name, value in zip(rule.inner, after, strict=True) if isinstance(value, Attributed))


def _begin(
    rule: Rule, w: Any, state: Mapping[str, Any] | None, values: Mapping[str, Any], kind: type
) -> tuple[Any, ...]:
    held = dict(zip(rule.inner, rule.fresh(w, values), strict=True)) if state is None else mapping("state", state)
    if set(held) != set(rule.inner):
        known = ", ".join(rule.inner) or "nothing"
        raise InputError(f"state with {', '.join(sorted(map(str, held))) or 'nothing'}: {rule.name} has {known}")
    for name, value in held.items():
        if not isinstance(value, Attributed):
            _check_kind(f"state {name}", value, kind)
    for name in carriers(rule):
        if not isinstance(held[name], Attributed):
            own = held[name] - w if name in _followers(rule) else held[name]
            held[name] = Attributed(held[name], own, 0)
    return tuple(held[name] for name in rule.inner)


def _symbolic(value: Any) -> bool:
    return hasattr(value, "free_symbols")


def _checked(name: str, value: Any) -> Any:
    return value if _symbolic(value) else check(name, value)


def _hyperparameters(rule: Rule, given: Mapping[str, Any]) -> dict[str, Any]:
    # A symbol has no range; its name is checked like any.
    numbers = {name: rule.defaults.get(name, 0.0) if _symbolic(x) else x for name, x in given.items()}
    return rule.hyperparameters(**numbers) | {name: x for name, x in given.items() if _symbolic(x)}


def _check_shapes(rule: Rule, w: Any, g: Any) -> None:
    shape, other = (tuple(getattr(x, "shape", ())) for x in (w, g))
    if shape != other:
        raise InputError(f"gradient of shape {other}: that of the weight, {shape}, is accepted")
    if rule.unit == "matrix" and not isinstance(w, np.ndarray) and len(shape) not in (0, 2):
        raise InputError(f"weight of shape {shape}: {rule.name} accepts a matrix")


def _dense(x: Any) -> bool:
    return not x.is_meta and x.is_floating_point() and str(x.layout) == "torch.strided"


def _check_kind(name: str, value: Any, kind: type) -> None:
    """InputError where `value` is neither a real number nor of that kind."""
    if isinstance(value, kind):
        if isinstance(value, np.ndarray):
            array(name, value)
        elif hasattr(value, "is_meta") and not _dense(value):
            raise InputError(f"{name} {shown(value)}: a dense tensor of real floating point numbers is accepted")
    elif not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} {shown(value)}: a number or a {kind.__name__}, as the weight is, is accepted")
    else:
        as_float(name, value)


def _arithmetic(w: Any) -> _Arithmetic:
    def part(pull: Any, loss: Any) -> Any:
        return pull / (pull + loss)

    def part_of_numbers(pull: Any, loss: Any) -> Any:
        return part(pull, loss) if pull + loss else math.nan

    torch, sympy = sys.modules.get("torch"), sys.modules.get("sympy")
    if isinstance(w, Real) and not isinstance(w, bool):
        return _Arithmetic(float, FLOATS, lambda x: 0.0, part_of_numbers, nullcontext())
    if isinstance(w, np.ndarray):
        return _Arithmetic(np.ndarray, NUMPY, np.zeros_like, part, np.errstate(divide="ignore", invalid="ignore"))
    if torch is not None and isinstance(w, torch.Tensor):
        # The gradient of a tensor without a dimension may be a number.
        zeros = lambda g: torch.zeros_like(g) if torch.is_tensor(g) else 0.0  # noqa: E731
        return _Arithmetic(torch.Tensor, tensors(), zeros, part, torch.no_grad())
    if sympy is not None and isinstance(w, sympy.Basic):
        return _Arithmetic(sympy.Basic, symbols(), lambda x: sympy.Integer(0), part, nullcontext())
    raise InputError(f"weight {shown(w)}: a float, a NumPy array, a sympy expression or a torch tensor is accepted")
