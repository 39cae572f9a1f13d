"""Where a regularizer's pull enters an update: the piece that every rule can be composed with.

A coupling opens one of three doors. Through each goes a share of the weight itself: into the gradient (then the rule
rescales it like any gradient), off the weight before the step, or off the weight after it. A share is a plain function
of (strength, lr, multiplier), lr being the learning rate of the moment and multiplier the schedule's part of it
(1 at the start): lr = base lr x multiplier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.words import Words, bind

Share = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Coupling:
    """One way for a regularizer to meet an update; a door that is None stays closed. label: words for a reader."""

    name: str
    label: str
    source: str
    gradient: Share | None = None
    before: Share | None = None
    after: Share | None = None

    @property
    def doors(self) -> tuple[Share | None, Share | None, Share | None]:
        """The three doors in the order in which a step passes them."""
        return self.gradient, self.before, self.after


def _strength(strength, lr, multiplier):  # type: ignore[no-untyped-def]
    return strength


def _strength_lr(strength, lr, multiplier):  # type: ignore[no-untyped-def]
    return lr * strength


def _strength_schedule(strength, lr, multiplier):  # type: ignore[no-untyped-def]
    return multiplier * strength


none = Coupling("none", "no regularizer", "")
l2 = Coupling("l2", "L2 in the gradient", "torch.optim.Adam(weight_decay=)", gradient=_strength)
decoupled_lr = Coupling("decoupled_lr", "weight decay x lr", "torch.optim.AdamW", before=_strength_lr)
decoupled_schedule = Coupling(
    "decoupled_schedule",
    "weight decay x schedule",
    "Loshchilov, Hutter, arXiv 1711.05101; after the step, as Mehta et al., arXiv 1905.04967, state it",
    after=_strength_schedule,
)
decoupled_constant = Coupling("decoupled_constant", "weight decay, constant", "Hanson, Pratt 1988", before=_strength)

COUPLINGS: Mapping[str, Coupling] = MappingProxyType(
    {c.name: c for c in (none, l2, decoupled_lr, decoupled_schedule, decoupled_constant)}
)


def find_coupling(coupling: str | Coupling) -> Coupling:
    """The coupling of that name (a Coupling is handed back as it is); InputError for an unknown name."""
    if isinstance(coupling, Coupling):
        return coupling
    if coupling not in COUPLINGS:
        raise InputError(f"coupling {coupling!r} is unknown: accepted are {', '.join(COUPLINGS)}")
    return COUPLINGS[coupling]


def compose(rule: Rule, coupling: Coupling, words: Words) -> Callable[..., tuple[Any, ...]]:
    """The whole update, rule and coupling together, over the vocabulary `words`.

    Returns step(w, g, inner, lr, multiplier, strength, hyper) -> (w, *inner), where inner is the rule's state and
    clock, lr the learning rate of this step (schedule included), hyper the rule's other hyperparameters in its order.
    """
    inner_step = bind(rule.step, words)
    gradient, before, after = (door and bind(door, words) for door in coupling.doors)

    def step(
        w: Any, g: Any, inner: tuple[Any, ...], lr: Any, multiplier: Any, strength: Any, hyper: Any
    ) -> tuple[Any, ...]:
        if gradient:
            g = g + gradient(strength, lr, multiplier) * w
        if before:
            w = w - before(strength, lr, multiplier) * w
        w, *inner_after = inner_step(w, g, *inner, lr, *hyper)
        if after:
            w = w - after(strength, lr, multiplier) * w
        return (w, *inner_after)

    return step
