"""For the tests of those who write optimizers: assertions, what hypothesis draws, and faults that a test suite should notice.

    from undertow.testing import assert_equals

    def test_it_is_adamw():
        assert_equals(MyAdamW, "adam", "decoupled_lr")

Plain functions, for any test runner. What hypothesis draws is in `undertow.testing.strategies`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from dynamics.couplings import COUPLINGS, Coupling, find_coupling
from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.given import shown
from dynamics.probe import probe
from dynamics.probe.claims import claims_of
from dynamics.probe.find import find_subject
from dynamics.probe.fit import measured
from dynamics.probe.follow import candidate
from dynamics.probe.identify import EXACT, drives_of, is_whole, noise_of, seen_on
from dynamics.probe.slips import slips
from dynamics.probe.source import function_of, tree_of
from dynamics.rule import Rule
from dynamics.rules import find_rule


@checked
def assert_equals(
    factory: Any, rule: str | Rule, coupling: str | Coupling = "none", *, tolerance: float = EXACT, **values: float
) -> None:
    """Assert that an optimizer is a rule with a coupling, in float64, on every kind of parameter that it takes.

    Args:
        factory: as `undertow.probe` takes it.
        rule: a name of `undertow.RULES`, or a Rule.
        coupling: a name of `undertow.COUPLINGS`, or a Coupling.
        tolerance: how far it may be off at any step, over how far the weight moves.
        **values: lr, strength and hyperparameters that it must have; those that are not given are what its parameter
            groups claim, or the rule's defaults.

    Raises:
        AssertionError: if it is not; it says from which step on.
        InputError: for unknown names, and for what is no optimizer.

    Example:
        >>> import torch
        >>> from undertow.testing import assert_equals
        >>> assert_equals(torch.optim.AdamW, "adam", "decoupled_lr", strength=0.01)
    """
    known, way = find_rule(rule), find_coupling(coupling)
    of = candidate(known, way)
    for name, value in values.items():
        if name not in of.names:
            raise InputError(f"{name} {shown(value)}: {of.words} has {', '.join(of.names)}")
    subject = find_subject(factory)
    for k, place in enumerate(subject.places):
        if not place.held:
            continue
        claims = claims_of(subject.name, subject.groups[place.group])
        usual = {"lr": known.lr, "strength": 0.0, **known.defaults, **claims.values, **values}
        drives = drives_of(subject, k, is_whole(subject, k, noise_of(subject, k)))
        seen = [
            replace(one, grain=0.0) for one in seen_on(subject, k, drives, 0.0)
        ]  # the tolerance is what is asked for
        found = measured(of, seen, {name: float(usual[name]) for name in of.names})
        if found.off > tolerance:
            settings = ", ".join(f"{name} {value:g}" for name, value in found.values.items())
            raise AssertionError(
                f"{subject.name} on {place.label} parameters is not {of.words} ({settings}): {found.off:.1e} off, first at "
                f"step {found.first}; undertow.probe says what it is"
            )


@checked
def assert_decay(factory: Any, coupling: str | Coupling, strength: float | None = None) -> None:
    """Assert that an optimizer's weight decay enters as a coupling says, and at the strength that is claimed.

    Whatever the rule is. Of a function of a network every parameter in a group that claims a strength must have it, and
    all others none.

    Args:
        factory: as `undertow.probe` takes it.
        coupling: a name of `undertow.COUPLINGS`, or a Coupling.
        strength: the one that acts; what its parameter groups claim if not given.

    Raises:
        AssertionError: if another acts, or none, or where none is claimed.
        InputError: for unknown names, and for what is no optimizer.

    Example:
        >>> import torch
        >>> from undertow.testing import assert_decay
        >>> assert_decay(lambda parameters: torch.optim.SGD(parameters, weight_decay=1e-4), "l2")
    """
    wanted = find_coupling(coupling)
    found = probe(factory)
    for answer in found.answers:
        asked = answer.claimed.get("strength", 0.0) if strength is None else strength
        acts = answer.values.get("strength", 0.0)
        same = abs(acts - asked) <= 1e-6 * abs(asked)
        if not (answer.found and same and (answer.coupling == wanted.name or not asked)):
            raise AssertionError(
                f"{found.name} on {answer.parameter} parameters: not {wanted.label} of {asked:g}, but {answer}\n{found}"
            )


@dataclass(frozen=True)
class Fault:
    """An optimizer with one fault. what: the fault, in words; factory: makes it, of parameters and its usual settings."""

    what: str
    factory: Callable[..., Any]


def faults(rule: str | Rule, coupling: str | Coupling) -> Iterator[Fault]:
    """Torch optimizers that are a rule with a coupling, but for one fault each: the regularizer's first, then the rule's.

    Args:
        rule: a name of `undertow.RULES`, or a Rule.
        coupling: a name of `undertow.COUPLINGS`, or a Coupling.

    Returns:
        Faults; each factory takes parameters, lr, weight_decay and the rule's hyperparameters.

    Example:
        >>> from undertow.testing import faults
        >>> [fault.what for fault in faults("adam", "decoupled_lr")][:3]
        ['no decay', 'the decay has the opposite sign', 'L2 in the gradient in the place of weight decay x lr']
    """
    known, way = find_rule(rule), find_coupling(coupling)
    if way.doors:
        for what, factor in (("no decay", 0.0), ("the decay has the opposite sign", -1.0)):
            shares: dict[str, Any] = {door: _times(factor, share) for door, share in way.doors.items()}
            yield Fault(what, _factory(known, replace(way, **shares)))
        for other in ("l2", "decoupled_lr", "decoupled_constant", "decoupled_schedule"):
            if other != way.name:
                yield Fault(f"{COUPLINGS[other].label} in the place of {way.label}", _factory(known, COUPLINGS[other]))
    for what, slipped in slips(known):
        if slipped.defaults.keys() == known.defaults.keys():
            yield Fault(what, _factory(slipped, way))


def unnoticed(test: Callable[[Callable[..., Any]], object], rule: str | Rule, coupling: str | Coupling) -> list[str]:
    """The faults that a test suite does not notice.

    Args:
        test: your tests: takes a function that makes an optimizer of parameters and settings, and raises if it finds a fault.
        rule, coupling: what your optimizer is.

    Returns:
        The faults, in words, of those optimizers on which `test` raises nothing; none if it notices all.

    Raises:
        AssertionError: if the test fails on a rule and coupling without a fault.

    Example:
        >>> import torch
        >>> from undertow.testing import unnoticed
        >>> def test(factory):
        ...     w = torch.nn.Parameter(torch.ones(3))
        ...     optimizer = factory([w], lr=0.1, weight_decay=0.1)
        ...     w.grad = torch.ones(3)
        ...     optimizer.step()
        ...     assert (w < 1).all()
        >>> "the decay has the opposite sign" in unnoticed(test, "sgd", "l2")
        True
    """
    try:
        test(_factory(find_rule(rule), find_coupling(coupling)))
    except Exception as error:
        raise AssertionError(f"the test fails where nothing is wrong: {type(error).__name__}: {error}") from error
    return [fault.what for fault in faults(rule, coupling) if _passes(test, fault.factory)]


def _passes(test: Callable[[Callable[..., Any]], object], factory: Callable[..., Any]) -> bool:
    try:
        test(factory)
    except Exception:  # whatever a test raises says that it noticed
        return False
    return True


def _times(factor: float, share: Callable[..., Any]) -> Callable[..., Any]:
    definition = tree_of(share)
    last = definition.body[-1]
    assert isinstance(last, ast.Return)
    assert last.value is not None
    last.value = ast.BinOp(ast.Constant(factor), ast.Mult(), last.value)
    return function_of(definition, share)


def _factory(rule: Rule, coupling: Coupling) -> Callable[..., Any]:
    def make(parameters: Any, **settings: Any) -> Any:
        from dynamics.optimizer import Optimizer

        return Optimizer(parameters, rule, coupling, **settings)

    return make
