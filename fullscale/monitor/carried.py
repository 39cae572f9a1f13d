"""How much of the regularizer the buffers of an update rule keep.

It is no longer seen in the buffer itself: m = beta m + (1 - beta)(g + strength w) is one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamics.answers.setting import Setting
from dynamics.theory.attributed import Attributed
from dynamics.theory.pull import attribute, carriers
from dynamics.words import FLOATS


@dataclass(frozen=True)
class Carried:
    """How much of the regularizer a rule's buffers keep. kind: "nothing"; "linear", then pull' = keep pull + take w (or
    sign(w)) in the one field, so that pull is `whole` times the running mean of w; "rest", where only the rule can tell."""

    kind: str
    field: str = ""
    keep: float = 0.0
    take: float = 0.0
    of_sign: bool = False

    @property
    def whole(self) -> float:
        """What the field holds of a weight of 1 at rest."""
        return self.take / (1 - self.keep)


def carried(setting: Setting) -> Carried:
    """Found by running the rule over attributed numbers, from different states."""
    rule, coupling = setting.rule, setting.coupling
    names = carriers(rule)
    if not names or not coupling.doors or not setting.strength:
        return Carried("nothing")

    def step(state: Mapping[str, Any], g: float, strength: float) -> dict[str, Any]:
        given, outer = Attributed(g, g, 0.0), (0.1, 1.0, strength, tuple(setting.hyper.values()))
        return attribute(rule, coupling, FLOATS, 1.0, given, tuple(state.values()), outer)[1]

    # Not the first step: there an average that begins is what comes in.
    start = dict(zip(rule.inner, rule.fresh(1.0, setting.hyper), strict=True))
    start = step({name: Attributed(x, x, 0.0) if name in names else x for name, x in start.items()}, 0.5, 0.0)

    def after(held: float, strength: float, other: float) -> dict[str, float]:
        state = dict(start)
        for name in rule.state:
            state[name] = Attributed(other, other - held, held) if name in names else other
        return {name: float(x.pull) for name, x in step(state, 0.5 * other, strength).items() if name in names}

    if not any(after(0.0, 1.0, 1.0).values()):
        return Carried("nothing")
    if len(names) > 1 or rule.unit != "weight" or rule.clock_follows_lr:
        return Carried("rest")
    field = names[0]
    keep, again = (after(1.0, 0.0, other)[field] for other in (1.0, 3.0))
    take, too = (after(0.0, 1.0, other)[field] for other in (1.0, 3.0))
    if keep != again or take != too:
        return Carried("rest")
    return Carried("linear", field, keep, take * setting.strength, coupling.sign is not None)
