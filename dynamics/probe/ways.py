"""Ways for a regularizer to enter a step: ours, and those that come about where one is written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dynamics import couplings
from dynamics.couplings import COUPLINGS, Coupling, compose, composed, grows
from dynamics.probe.follow import WORDS, Candidate, Update, candidate
from dynamics.probe.slips import with_pull_at
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.words import bind


def _by_base(strength: Any, lr: Any, multiplier: Any) -> Any:
    return strength * lr / multiplier


def _by_square(strength: Any, lr: Any, multiplier: Any) -> Any:
    return strength * lr * lr


# What a share of the weight may be proportional to; the first four are those of our couplings.
_SHARES: dict[str, Callable[..., Any]] = {
    "x lr": couplings.decoupled_lr.doors["before"],
    "constant": couplings.decoupled_constant.doors["before"],
    "x schedule": couplings.decoupled_schedule.doors["after"],
    "x lr^2 / base lr": couplings.corrected.doors["before"],
    "x lr^2": _by_square,
    "x base lr, whatever the schedule": _by_base,
}
_DIVISION, _AFTER = "weight decay {} by division, after the step", "weight decay {}, after the step"
# What a weight decay x lr may be and is called so: to first order it is the same.
KIN = (_DIVISION.format("x lr"), _AFTER.format("x lr"))
_DOORS = {
    "before": "weight decay {}",
    "after": _AFTER,
    "gradient": "L2 in the gradient, {}",
    "sign": "L1 in the gradient, {}",
    "cautious": "weight decay {}, cautious",
}


def known(rule: Rule) -> Iterator[Candidate]:
    """A rule with each of our couplings."""
    for coupling in COUPLINGS.values():
        yield candidate(rule, coupling)


def without(of: Candidate) -> Candidate:
    """The same without a regularizer."""
    rule = of.rule
    if of.rule.takes_pull and not RULES.get(rule.name, rule).takes_pull:  # it took one by a slip
        rule = RULES[rule.name]
    return replace(candidate(rule, COUPLINGS["none"]), slips=of.slips)


def _opened(name: str, label: str, share: Callable[..., Any], *doors: str) -> Coupling:
    return Coupling(name, label, "", **dict.fromkeys(doors, share))


def unusual(rule: Rule) -> Iterator[Candidate]:
    """A rule with ways that none of our couplings is, the plainer ones first."""
    for door, words in _DOORS.items():
        for said, share in _SHARES.items():
            label = words.format(said)
            coupling = _opened("other", label, share, door)
            yield Candidate(rule, "", compose(rule, coupling, WORDS), f"{rule.label}, {label}", (label,))
    for said in ("x lr", "x schedule", "constant"):
        of = _SHARES[said]
        for label, make in _MADE.items():
            yield Candidate(rule, "", make(rule, of), f"{rule.label}, {label.format(said)}", (label.format(said),))


def within(rule: Rule) -> Iterator[Candidate]:
    """A rule whose regularizer joins one part of the step or another, as none of our couplings does."""
    for said in ("constant", "x lr", "x schedule"):
        coupling = _opened("other", "", _SHARES[said], "before")
        for where, changed in with_pull_at(rule):
            label = f"a regularizer {said} within the step: {where}"
            yield Candidate(changed, "", compose(changed, coupling, WORDS), f"{rule.label}, {label}", (label,))


def _around(rule: Rule, of: Callable[..., Any], take: Callable[[Any, Any, Any, Any], Any]) -> Update:
    """A step without a regularizer, and then take(w, w before, g, share)."""
    step = composed(rule, WORDS)

    def update(w: Any, g: Any, inner: Any, lr: Any, multiplier: Any, strength: Any, hyper: Any) -> tuple[Any, ...]:
        moved, *rest = step(w, g, inner, lr, hyper, None, None, None, None, None)
        return take(moved, w, g, of(strength, lr, multiplier)), *rest

    return update


def _where_it_has_a_gradient(rule: Rule, of: Callable[..., Any]) -> Update:
    return _around(rule, of, lambda moved, w, g, share: moved - share * w * (g != 0))


def _proximal(rule: Rule, of: Callable[..., Any]) -> Update:
    return _around(rule, of, lambda moved, w, g, share: moved / (1 + share))


def _incautious(rule: Rule, of: Callable[..., Any]) -> Update:
    grown = bind(grows, WORDS)
    return _around(rule, of, lambda moved, w, g, share: moved - share * w * grown(moved, w))


def _drift(rule: Rule, of: Callable[..., Any]) -> Update:
    return _around(rule, of, lambda moved, w, g, share: moved - share)


def _sign(rule: Rule, of: Callable[..., Any]) -> Update:
    return _around(rule, of, lambda moved, w, g, share: moved - share * np.sign(w))


def _square(rule: Rule, of: Callable[..., Any]) -> Update:
    return _around(rule, of, lambda moved, w, g, share: moved - share * w * np.abs(w))


def _twice(rule: Rule, of: Callable[..., Any]) -> Update:
    return compose(rule, _opened("other", "", of, "before", "after"), WORDS)


def _both(rule: Rule, of: Callable[..., Any]) -> Update:
    coupling = Coupling("other", "", "", gradient=_SHARES["constant"], before=of)
    return compose(rule, coupling, WORDS)


_MADE: dict[str, Callable[[Rule, Callable[..., Any]], Update]] = {
    "weight decay {}, but only of weights whose gradient is not 0": _where_it_has_a_gradient,
    _DIVISION: _proximal,
    "weight decay {}, only where the step makes the weight larger": _incautious,
    "weight decay {} of the weight's sign, as L1": _sign,
    "weight decay {} of the weight's square": _square,
    "a constant {} taken from every weight, whatever its size or sign": _drift,
    "weight decay {}, before and after the step": _twice,
    "L2 in the gradient and weight decay {}": _both,
}
