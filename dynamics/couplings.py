"""Where a regularizer's pull enters an update: the piece that every rule can be composed with.

A coupling opens one of five doors. Through each goes a share of the weight itself: into the gradient (then the rule
rescales it like any gradient), off the weight before the step, off the weight after it, or off the weight where the
step does not grow it; or, into the gradient, a share of its sign. A share is a plain function of (strength, lr,
multiplier), lr being the learning rate of the moment and multiplier the schedule's part of it (1 at the start):
lr = base lr x multiplier.
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
DOORS = ("gradient", "slope", "before", "after", "agreeing")


@dataclass(frozen=True, eq=False)
class Coupling:
    """One way for a regularizer to meet an update; a door that is None stays closed. label: words for a reader.

    gradient, slope: a share of w, or of sign(w), joins the gradient. before, after: a share of w is taken off around the
    step; a rule that takes the pull itself gets it within the step. agreeing: a share of w is taken off where the
    step by itself does not move w away from zero.
    """

    name: str
    label: str
    source: str
    gradient: Share | None = None
    slope: Share | None = None
    before: Share | None = None
    after: Share | None = None
    agreeing: Share | None = None

    @property
    def doors(self) -> dict[str, Share]:
        """The open doors, in the order in which a step passes them."""
        return {name: share for name in DOORS if (share := getattr(self, name)) is not None}

    @property
    def in_gradient(self) -> bool:
        """Whether the pull goes through the rule as a gradient does."""
        return self.gradient is not None or self.slope is not None


def _strength(strength, lr, multiplier):
    return strength


def _strength_lr(strength, lr, multiplier):
    return lr * strength


def _strength_schedule(strength, lr, multiplier):
    return multiplier * strength


def _strength_lr_schedule(strength, lr, multiplier):
    return lr * multiplier * strength


none = Coupling("none", "no regularizer", "")
l2 = Coupling("l2", "L2 in the gradient", "torch.optim.Adam(weight_decay=)", gradient=_strength)
l1 = Coupling("l1", "L1 in the gradient", "Tibshirani 1996; sign(0) = 0", slope=_strength)
decoupled_lr = Coupling("decoupled_lr", "weight decay x lr", "torch.optim.AdamW", before=_strength_lr)
decoupled_schedule = Coupling(
    "decoupled_schedule",
    "weight decay x schedule",
    "Loshchilov, Hutter, arXiv 1711.05101; after the step, as Mehta et al., arXiv 1905.04967, state it",
    after=_strength_schedule,
)
decoupled_constant = Coupling("decoupled_constant", "weight decay, constant", "Hanson, Pratt 1988", before=_strength)
corrected = Coupling(
    "corrected",
    "weight decay x lr^2 / base lr",
    "Defazio, arXiv 2506.02285; base lr being the largest of the schedule",
    before=_strength_lr_schedule,
)
cautious = Coupling(
    "cautious",
    "weight decay x lr, cautious",
    "Chen et al., arXiv 2510.12402: where update and weight agree in sign, or the update is 0",
    agreeing=_strength_lr,
)

COUPLINGS: Mapping[str, Coupling] = MappingProxyType(
    {c.name: c for c in (none, l2, l1, decoupled_lr, decoupled_schedule, decoupled_constant, corrected, cautious)}
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
    doors = {name: bind(share, words) for name, share in coupling.doors.items()}
    sign, maximum = words["sign"], words["maximum"]

    def grows(w: Any, start: Any) -> Any:
        return maximum(sign((w - start) * start), 0.0)

    def step(
        w: Any, g: Any, inner: tuple[Any, ...], lr: Any, multiplier: Any, strength: Any, hyper: Any
    ) -> tuple[Any, ...]:
        shares = {name: share(strength, lr, multiplier) for name, share in doors.items()}
        if "gradient" in shares:
            g = g + shares["gradient"] * w
        if "slope" in shares:
            g = g + shares["slope"] * sign(w)
        start = w
        if rule.takes_pull:
            pull = sum(shares[name] * w for name in ("before", "after") if name in shares)
            if "agreeing" in shares:
                moved = inner_step(w, g, pull, *inner, lr, *hyper)[0]
                pull = pull + shares.pop("agreeing") * ((1 - grows(moved, start)) * start)
            w, *inner_after = inner_step(w, g, pull, *inner, lr, *hyper)
        else:
            if "before" in shares:
                w = w - shares["before"] * w
            w, *inner_after = inner_step(w, g, *inner, lr, *hyper)
            if "after" in shares:
                w = w - shares["after"] * w
        if "agreeing" in shares:
            w = w - shares["agreeing"] * ((1 - grows(w, start)) * start)
        return (w, *inner_after)

    return step
