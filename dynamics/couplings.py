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
from typing import Any, cast

from dynamics.door import check_fields
from dynamics.given import among
from dynamics.rule import Rule
from dynamics.words import Words, bind, maximum, sign

Share = Callable[..., Any]
DOORS = ("gradient", "sign", "before", "after", "cautious")


@dataclass(frozen=True, eq=False)
class Coupling:
    """One way for a regularizer to meet an update; a door that is None stays closed.

    Each door takes a function share(strength, lr, multiplier), the share of the weight that goes through it.

    Args:
        name: small letters, digits and _.
        label: words for a reader.
        source: the library or paper that it comes from.
        gradient: share of w that joins the gradient.
        sign: share of sign(w) that joins the gradient.
        before: share of w that is taken off before the step; a rule that takes the pull itself gets it within the step.
        after: share of w that is taken off after the step, or within it, as for `before`.
        cautious: share of w that is taken off where the step by itself does not move w away from zero.

    Example:
        >>> from undertow import simulate
        >>> def half(strength, lr, multiplier):
        ...     return 0.5 * lr * strength
        >>> halved = Coupling("halved", "half the weight decay x lr", "made up", before=half)
        >>> simulate("sgd", halved, record=[0, 1], lanes={"lr": 0.1, "strength": 0.5}).w[:, 0].round(4).tolist()
        [1.0, 0.975]
    """

    name: str
    label: str
    source: str
    gradient: Share | None = None
    sign: Share | None = None
    before: Share | None = None
    after: Share | None = None
    cautious: Share | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def doors(self) -> dict[str, Share]:
        """The open doors, in the order in which a step passes them."""
        return {name: share for name in DOORS if (share := getattr(self, name)) is not None}

    @property
    def in_gradient(self) -> bool:
        """Whether the pull goes through the rule as a gradient does."""
        return self.gradient is not None or self.sign is not None


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
l1 = Coupling("l1", "L1 in the gradient", "Tibshirani 1996; sign(0) = 0", sign=_strength)
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
    cautious=_strength_lr,
)

COUPLINGS: Mapping[str, Coupling] = MappingProxyType(
    {c.name: c for c in (none, l2, l1, decoupled_lr, decoupled_schedule, decoupled_constant, corrected, cautious)}
)


def find_coupling(coupling: str | Coupling) -> Coupling:
    """The coupling of that name (a Coupling is handed back as it is); InputError for an unknown name."""
    if isinstance(coupling, Coupling):
        return coupling
    return COUPLINGS[among("coupling", coupling, tuple(COUPLINGS))]


# What `composed` binds in `_update` beside words: a rule's step, and whether that step takes the pull itself.
step: Any = None
takes_pull = False


def grows(w, start):
    """1 where w lies further from zero than start did, on the same side; else 0."""
    return maximum(sign((w - start) * start), 0.0)


def _update(w, g, inner, lr, hyper, gradient, signed, before, after, cautious):
    if gradient is not None:
        g = g + gradient * w
    if signed is not None:
        g = g + signed * sign(w)
    start = w
    if takes_pull:
        share = before if after is None else after if before is None else before + after
        pull = 0 if share is None else share * w
        if cautious is not None:
            moved = step(w, g, pull, *inner, lr, *hyper)[0]
            pull = pull + cautious * ((1 - grows(moved, start)) * start)
        return step(w, g, pull, *inner, lr, *hyper)
    if before is not None:
        w = w - before * w
    found = step(w, g, *inner, lr, *hyper)
    w = found[0]
    if after is not None:
        w = w - after * w
    if cautious is not None:
        w = w - cautious * ((1 - grows(w, start)) * start)
    return (w, *found[1:])


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def composed(rule: Rule, words: Words, compiler: Callable[..., Any] = _as_it_is) -> Callable[..., tuple[Any, ...]]:
    """One step of a rule with regularizers over the vocabulary `words`, the shares being known: the only composition.

    Returns update(w, g, inner, lr, hyper, *shares) -> (w, *inner): inner is the rule's state and clock, lr the learning
    rate of this step (schedule included), hyper the rule's other hyperparameters in its order, shares one a door in the
    order of DOORS, None where it is closed. compiler: what a function goes through before another may call it.
    """
    parts = {name: compiler(bind(part, words)) for name, part in (("step", rule.step), ("grows", grows))}
    return cast(
        Callable[..., tuple[Any, ...]], compiler(bind(_update, {**words, **parts, "takes_pull": rule.takes_pull}))
    )


def compose(rule: Rule, coupling: Coupling, words: Words) -> Callable[..., tuple[Any, ...]]:
    """The whole update, rule and coupling together, over the vocabulary `words`.

    Returns step(w, g, inner, lr, multiplier, strength, hyper) -> (w, *inner): as `composed`, with the shares computed
    from the strength, lr and the schedule's multiplier.
    """
    update = composed(rule, words)
    doors = {name: bind(share, words) for name, share in coupling.doors.items()}

    def step(
        w: Any, g: Any, inner: tuple[Any, ...], lr: Any, multiplier: Any, strength: Any, hyper: Any
    ) -> tuple[Any, ...]:
        shares = {name: share(strength, lr, multiplier) for name, share in doors.items()}
        return update(w, g, inner, lr, hyper, *map(shares.get, DOORS))

    return step
