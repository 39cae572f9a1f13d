"""An optimizer's state in the words of the rules: its fields, and its clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from dynamics.answers.live import setting_of
from dynamics.answers.setting import Setting
from dynamics.errors import InputError
from dynamics.libraries.catalogue import FIELDS, IN_GROUP
from dynamics.rule import Rule
from dynamics.simulate.clock import clock_after

# The fields of the rules' states that an update is divided by, and what makes a size of each. Of several the first divides.
SIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "vmax": torch.sqrt, "v": torch.sqrt, "s": torch.sqrt, "n": torch.sqrt, "u": torch.abs,
}  # fmt: skip
# Those that are a mean of gradients or a sum of updates, the first of several.
MOMENTS = ("m", "b")


def bare(optimizer: Any) -> Any:
    """The optimizer inside what accelerate and others wrap around it, whose step has the hooks of torch.

    Raises InputError for what is none.
    """
    inner = optimizer
    # A scheduler has an optimizer, too, and is none.
    while isinstance(inner, torch.optim.Optimizer) and not hasattr(inner, "_optimizer_step_pre_hooks"):
        inner = getattr(inner, "optimizer", None)
    if not isinstance(inner, torch.optim.Optimizer) or not hasattr(inner, "_optimizer_step_pre_hooks"):
        said = f"class {optimizer.__name__}" if isinstance(optimizer, type) else f"of type {type(optimizer).__name__}"
        raise InputError(f"optimizer {said}: a torch.optim.Optimizer is accepted")
    return inner


def left_out(optimizer: Any) -> bool:
    """Whether the coming step moves nothing, because GradScaler found a gradient that is not finite.

    Of most optimizers it then does not call the step at all; those that are fused look themselves.
    """
    found = getattr(optimizer, "found_inf", None)
    return torch.is_tensor(found) and bool(found)


def understood(optimizer: Any, group: Mapping[str, Any]) -> tuple[Setting, float]:
    """The setting of a parameter group and its schedule's multiplier. InputError for one that is none of the rules."""
    setting, _ = setting_of(optimizer, group)
    first = group.get("base_lr", optimizer.defaults.get("lr"))
    return setting, setting.lr / float(first) if first else 1.0


def steps_taken(optimizer: Any, group: Mapping[str, Any], p: Tensor) -> float | None:
    """How many steps a parameter has taken; 0 before the first, None where the optimizer does not count them."""
    held = optimizer.state.get(p)
    if not held:
        return 0
    told = held.get("step", group.get("step", group.get("k")))
    return None if told is None else float(told)


def fields(optimizer: Any, rule: Rule, p: Tensor) -> dict[str, Tensor]:
    """The rule's state of parameter p before its next step, clock apart: the optimizer's own tensors, or a fresh start.

    Raises InputError where the optimizer keeps no field of a name that is known.
    """
    held = optimizer.state.get(p) or {}
    found: dict[str, Tensor] = {}
    for name in rule.state:
        key = next((key for key in (name, *FIELDS.get(name, ())) if torch.is_tensor(held.get(key))), None)
        if key is not None:
            found[name] = held[key]
        elif not held or name == "b":  # the momentum of torch's SGD is None before its first step
            start = rule.starts.get(name)
            found[name] = p.detach() if start == "w" else torch.zeros_like(p)
        else:
            raise InputError(f"{type(optimizer).__name__} keeps no {name} of {rule.name} under a name that is known")
    return found


def clock(
    optimizer: Any, group: Mapping[str, Any], rule: Rule, hyper: Mapping[str, float], p: Tensor
) -> tuple[float, ...]:
    """The rule's clock of parameter p before its next step. InputError where the optimizer does not tell it."""
    held = optimizer.state.get(p)
    if not held or not rule.clock:
        return tuple(rule.clock.values())
    found = {name: float(held[name]) for name in rule.clock if name in held}
    if rule.clock_follows_lr:
        found |= {name: float(group[key]) for name, key in IN_GROUP.items() if name in rule.clock and key in group}
    if found.keys() != rule.clock.keys():
        taken = steps_taken(optimizer, group, p)
        if taken is None:
            raise InputError(f"the optimizer does not tell how many steps it has taken, which {rule.name} needs")
        found = clock_after(rule, hyper, int(taken), float(group["lr"])) | found
    return tuple(found[name] for name in rule.clock)


def divisor(rule: Rule) -> str | None:
    """The field that a rule divides its update by; None where it divides by nothing."""
    return next((name for name in SIZES if name in rule.state), None)


def correction(rule: Rule, times: Mapping[str, float]) -> float:
    """What a rule divides the field of `divisor` by for its start at 0, before its next step; 1 where it does not.

    times: the rule's clock. A rule that corrects it carries the power of the hyperparameter by which it forgets squares.
    """
    return 1 - times.get(rule.memory.replace("beta", "power"), 0.0) if rule.memory.startswith("beta") else 1.0
