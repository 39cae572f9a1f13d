"""Ways for a regularizer to enter a step: ours, and those that come about where one is written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dynamics.couplings import COUPLINGS, Coupling, compose, composed, grows
from dynamics.probe.follow import WORDS, Candidate, Update, candidate
from dynamics.probe.slips import with_pull_at
from dynamics.rule import Rule
from dynamics.words import bind

# What a share of the weight may be proportional to: (power of the base learning rate, power of the multiplier).
_SHARES: dict[tuple[int, int], str] = {
    (1, 1): "x lr",
    (0, 0): "constant",
    (0, 1): "x schedule",
    (1, 2): "x lr^2 / base lr",
    (2, 2): "x lr^2",
    (1, 0): "x base lr, whatever the schedule",
}
_DOORS = {
    "before": "weight decay {}",
    "after": "weight decay {}, after the step",
    "gradient": "L2 in the gradient, {}",
    "sign": "L1 in the gradient, {}",
    "cautious": "weight decay {}, cautious",
}


def known(rule: Rule) -> Iterator[Candidate]:
    """A rule with each of our couplings."""
    for coupling in COUPLINGS.values():
        yield candidate(rule, coupling)


def share_of(powers: tuple[int, int]) -> Callable[..., Any]:
    """The share of the weight that is proportional to these powers."""
    base, schedule = powers

    def share(strength: Any, lr: Any, multiplier: Any) -> Any:
        return strength * (lr / multiplier) ** base * multiplier**schedule

    return share


def _opened(name: str, label: str, share: Callable[..., Any], *doors: str) -> Coupling:
    return Coupling(name, label, "", **dict.fromkeys(doors, share))


def unusual(rule: Rule) -> Iterator[Candidate]:
    """A rule with ways that none of our couplings is, the plainer ones first."""
    for door, words in _DOORS.items():
        for powers, said in _SHARES.items():
            label = words.format(said)
            coupling = _opened("other", label, share_of(powers), door)
            yield Candidate(rule, "", compose(rule, coupling, WORDS), f"{rule.label}, {label}", (label,))
    for powers in ((1, 1), (0, 1), (0, 0)):
        of, said = share_of(powers), _SHARES[powers]
        for label, make in _MADE.items():
            yield Candidate(rule, "", make(rule, of), f"{rule.label}, {label.format(said)}", (label.format(said),))
    for powers in ((0, 0), (1, 1), (0, 1)):
        coupling = _opened("other", "", share_of(powers), "before")
        for where, changed in with_pull_at(rule):
            label = f"a regularizer {_SHARES[powers]} within the step: {where}"
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


def _sign(rule: Rule, of: Callable[..., Any]) -> Update:
    return _around(rule, of, lambda moved, w, g, share: moved - share * np.sign(w))


def _square(rule: Rule, of: Callable[..., Any]) -> Update:
    return _around(rule, of, lambda moved, w, g, share: moved - share * w * np.abs(w))


def _twice(rule: Rule, of: Callable[..., Any]) -> Update:
    return compose(rule, _opened("other", "", of, "before", "after"), WORDS)


def _both(rule: Rule, of: Callable[..., Any]) -> Update:
    coupling = Coupling("other", "", "", gradient=share_of((0, 0)), before=of)
    return compose(rule, coupling, WORDS)


_MADE: dict[str, Callable[[Rule, Callable[..., Any]], Update]] = {
    "weight decay {}, but only of weights whose gradient is not 0": _where_it_has_a_gradient,
    "weight decay {} by division, after the step": _proximal,
    "weight decay {}, only where the step makes the weight larger": _incautious,
    "weight decay {} of the weight's sign, as L1": _sign,
    "weight decay {} of the weight's square": _square,
    "weight decay {}, before and after the step": _twice,
    "L2 in the gradient and weight decay {}": _both,
}
