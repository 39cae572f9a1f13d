"""What eps does in a rule, with a coupling."""

from __future__ import annotations

import math

from dynamics.answers.setting import Setting
from dynamics.couplings import compose, none
from dynamics.theory import formula
from dynamics.words import FLOATS


def eps_role(setting: Setting) -> str:
    """What eps does, in words with numbers; empty for rules without one."""
    rule, hyper = setting.rule, setting.hyper
    if "eps" not in hyper:
        return ""
    if not setting.coupling.in_gradient or not setting.strength:
        if not _moves_at_eps_zero(setting):
            text = "it sets the size of the first steps: at eps = 0 none is ever taken"
        else:
            text = "it bounds the step of the loss where gradients are small"
        if not setting.coupling.doors or not setting.strength:
            return text
        if rule.takes_pull and rule.unit == "tensor":
            return f"{text}; beside gradients, the smaller that step the larger the pull's part of a step of lr abs(w)"
        return f"{text}; the decay does not see it"
    if setting.hyper.get("initial_accumulator"):
        root = math.sqrt(hyper["initial_accumulator"])
        return (
            f"it joins {root:.3g}, the root of the initial accumulator: no denominator is smaller than the two together"
        )
    found = formula.at_eps_zero(rule, setting.coupling)
    first = formula.text(found.first_step, order="none")
    text = f"at eps = 0 the first step without a gradient is w <- {first}"
    text += ", and the whole path is free of the strength" if found.free_of_strength else ""
    if rule.divides_by == "mean" and hyper["eps"] > 0 and setting.coupling.gradient:
        size = hyper["eps"] / setting.strength
        share = setting.lr * setting.strength / hyper["eps"]
        text += (
            f"; with it, weights far below eps / strength = {size:.3g} that have had no gradient for long see plain "
            f"gradient descent on L2 with lr strength / eps = {share:.3g}"
        )
    return text


def _moves_at_eps_zero(setting: Setting) -> bool:
    """Whether a first gradient moves a fresh weight where eps is 0."""
    step, hyper = compose(setting.rule, none, FLOATS), {**setting.hyper, "eps": 0.0}
    try:
        return bool(
            step(1.0, 1.0, setting.rule.fresh(1.0, hyper), setting.rule.lr, 1.0, 0.0, tuple(hyper.values()))[0] != 1
        )
    except ZeroDivisionError:
        return True
