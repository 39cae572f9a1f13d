"""Reading a live torch optimizer: what it does to a weight that gets no gradient, from the object itself.

`read(optimizer)` works on torch.optim's classes, on the common ones of timm and schedulefree, and on
`dynamics.optimizer.Optimizer`. Nothing is stepped or changed. torch itself is not imported: an optimizer that can be
handed over brings it along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dynamics.answers.course import Course, course, in_words
from dynamics.answers.decay_time import DecayTime, decay_time
from dynamics.answers.law import Law, silent_law
from dynamics.answers.parameters import Kind, by_module, kinds, named
from dynamics.answers.schedule import Plan
from dynamics.answers.scheduler import plan_of, rates
from dynamics.answers.setting import Setting, make
from dynamics.answers.usual import pulls, warnings_of
from dynamics.errors import InputError
from dynamics.given import shown
from dynamics.libraries.catalogue import FIELDS
from dynamics.libraries.readers import betas, reader
from dynamics.result import Result
from dynamics.simulate.clock import clock_after

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where rules gather the sizes of gradients; all but u are squares.
_GATHERED = ("v", "vmax", "s", "u")
# Corrections of the bias are over after so many steps.
_SETTLED = 100_000


@dataclass(frozen=True)
class Now:
    """A typical weight of the group as it stands, silent from now on: its median size, and the median size that its rule
    has gathered of gradients (the root of v, corrected for its bias, or of the sum s; u). summed: it is a sum's root."""

    weight: float
    gradient: float
    half_life: DecayTime
    summed: bool = False


@dataclass(frozen=True)
class Group:
    """One param group: its setting in the words of `dynamics.answers.setting`, and what a weight without a gradient meets.

    law: for a gradient of exact zeros, fresh state, size 1. now: the same from the state as it stands, where the rule keeps
    the size of gradients and has taken a step. A gradient of None is another matter: torch then skips the parameter.
    decays: whether its regularizer pulls; kinds: what its parameters are; warnings: what is probably not meant. run: over a
    run with its schedule, where one is given; setting and law are then those at the run's largest lr.
    """

    index: int
    tensors: int
    weights: int
    setting: str
    law: Law
    now: Now | None
    notes: list[str]
    decays: bool
    kinds: list[Kind]
    run: Course | None
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"group {self.index}: {self.tensors} tensors, {self.weights:,} weights; {self.setting}"]
        lines += [f"  grad is None: left alone; grad is 0: {self.law.text}"]
        if self.now is not None:
            half = self.now.half_life
            halves = f"has not halved: {half.how}" if half.steps is None else f"halves in {half.steps:,} steps"
            had = "squared gradients of a root sum of" if self.now.summed else "gradients of"
            lines += [
                f"  now: a weight of {self.now.weight:.3g} that had {had} {self.now.gradient:.3g} and falls silent {halves}"
            ]
        lines += [] if self.run is None else [f"  {line}" for line in in_words(self.run)]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


class Groups(list[Group], Result):
    """The param groups of an optimizer, a row each."""

    def rows(self) -> list[dict[str, Any]]:
        """One row a group."""
        from dynamics.answers.drawing import row_of_group

        return [row_of_group(group) for group in self]

    @property
    def finding(self) -> str:
        """How many of the groups decay."""
        from dynamics.answers.drawing import read_of

        return read_of(self)

    def _draw(self, axes: Axes) -> None:
        from dynamics.answers.drawing import draw_groups

        draw_groups(self, axes)


def read(
    optimizer: Any,
    *,
    net: Any = None,
    scheduler: Any = None,
    steps: int | None = None,
    every: int = 1,
    steps_per_epoch: float | None = None,
) -> Groups:
    """What a live optimizer does to a weight that gets no gradient; nothing is stepped or changed.

    Args:
        optimizer: one of torch.optim, of the common ones of timm and schedulefree, or `dynamics.optimizer.Optimizer`.
        net: the network that it trains, whose modules and names say what the parameters are.
        scheduler: of the optimizer, of torch.optim.lr_scheduler, but ReduceLROnPlateau; its copy is stepped. Or a schedule of
            `dynamics.answers.schedule.plan`, the groups' lr being the largest.
        steps: those of the run that are still to come; with a scheduler of torch.
        every: steps of the optimizer in one of the scheduler: those of an epoch, if it is stepped once an epoch.
        steps_per_epoch: to speak of the run's epochs too.

    Returns:
        A list of one Group a param group, str() of which says it in words; the list shows itself as a table.

    Raises:
        InputError: for a class or an option that is none of the rules here, naming those that are; for a network that is none,
            and a scheduler that cannot be read ahead.

    Example:
        >>> import torch
        >>> weights = [torch.nn.Parameter(torch.ones(3))]
        >>> adamw = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.1)
        >>> print(read(adamw)[0])
        group 0: 1 tensors, 3 weights; adam lr=0.001 decoupled_lr=0.1
          grad is None: left alone; grad is 0: geometric: it loses 0.0001 of itself a step, in proportion to the strength
        >>> falling = torch.optim.lr_scheduler.CosineAnnealingLR(adamw, 20_000)
        >>> round(read(adamw, scheduler=falling, steps=20_000)[0].run.left.size, 4)
        0.3678
    """
    if not hasattr(optimizer, "param_groups"):
        raise InputError(f"{type(optimizer).__name__} has no param_groups: a torch optimizer is accepted")
    if net is not None and not (hasattr(net, "named_parameters") and hasattr(net, "modules")):
        raise InputError(f"net {shown(net)}: a torch.nn.Module is accepted")
    names, modules = named(optimizer, net), by_module(net)
    present = [setting_of(optimizer, group) for group in optimizer.param_groups]
    settings = [setting for setting, _ in present]
    runs: list[Course | None] = [None] * len(settings)
    if scheduler is not None:
        planned = _planned(optimizer, scheduler, steps, every, settings)
        settings = [setting for setting, _ in planned]
        runs = [course(setting, plan, steps_per_epoch=steps_per_epoch) for setting, plan in planned]
    elif steps is not None or steps_per_epoch is not None:
        raise InputError("steps without scheduler: the optimizer's scheduler is needed")
    found = Groups()
    for index, (group, setting, run) in enumerate(zip(optimizer.param_groups, settings, runs, strict=True)):
        params = list(group["params"])
        sorted_ = kinds(params, names, modules)
        found.append(
            Group(
                index=index,
                tensors=len(params),
                weights=sum(p.numel() for p in params),
                setting=str(setting),
                law=silent_law(setting),
                now=_now(optimizer, present[index][0], params),
                notes=present[index][1],
                decays=pulls(setting),
                kinds=sorted_,
                run=run,
                warnings=warnings_of(optimizer, index, settings, sorted_, run),
            )
        )
    return found


def _planned(
    optimizer: Any, scheduler: Any, steps: int | None, every: int, settings: list[Setting]
) -> list[tuple[Setting, Plan]]:
    """Each group's setting at its largest learning rate, with its schedule."""
    if isinstance(scheduler, Plan):
        if steps is not None:
            raise InputError(f"steps {steps} beside a plan, which has {scheduler.steps:,}: one of the two is accepted")
        return [(setting, scheduler) for setting in settings]
    if steps is None:
        raise InputError("scheduler without steps: the steps of the run are needed")
    found = []
    for setting, of_group in zip(settings, rates(scheduler, optimizer, steps, every).T, strict=True):
        plan, peak = plan_of(scheduler, steps, of_group)
        found.append((replace(setting, lr=peak), plan))
    return found


def setting_of(optimizer: Any, group: Mapping[str, Any]) -> tuple[Setting, list[str]]:
    """The setting of one param group, and notes on what it does not say."""
    own = type(optimizer).__module__.startswith("dynamics.")
    name, coupling, hyper, notes = ("", "", {}, []) if own else reader(optimizer)(group)
    rate, strength = float(group["lr"]), float(group["weight_decay"])
    if own:
        values = dict(group) | betas(group)
        hyper = {name: float(values[name]) for name in optimizer.rule.defaults}
        return make(optimizer.rule, optimizer.coupling, lr=rate, strength=strength, **hyper), []
    if group.get("maximize"):
        notes.append("maximize flips the loss gradient only: the regularizer pulls as ever")
    if hasattr(group["lr"], "item"):
        notes.append("lr is a tensor: this is its value now")
    return make(name, coupling if strength else "none", lr=rate, strength=strength, **hyper), notes


def _now(optimizer: Any, setting: Setting, params: list[Any]) -> Now | None:
    """From medians of the weights and of what was gathered; momentum at rest, corrections of the bias as they stand."""
    names = [name for name in setting.rule.state if name in _GATHERED]
    if not names or setting.rule.starts.keys() - {"s"} or setting.rule.unit != "weight":
        return None
    found: dict[str, float] = {}
    for name in names:
        held = [optimizer.state.get(p, {}) for p in params]
        tensors = [state[key] for state in held for key in (name, *FIELDS[name]) if key in state]
        if not tensors:
            return None
        found[name] = _median(tensors)
    weight = _median([p.detach().abs() for p in params])
    if not (weight > 0 and any(found.values()) and all(math.isfinite(x) for x in (weight, *found.values()))):
        return None
    clock = clock_of(setting, [optimizer.state[p] for p in params if p in optimizer.state])
    if clock is None:
        return None
    inner = [found.get(name, clock.get(name, 0.0)) for name in setting.rule.inner]
    size = found[names[-1]] if names == ["u"] else math.sqrt(found[names[-1]] / (1 - clock.get("power2", 0.0)))
    return Now(weight, size, decay_time(setting, weight, weight / 2, inner), setting.rule.divides_by == "sum")


def clock_of(setting: Setting, states: list[Mapping[str, Any]]) -> dict[str, float] | None:
    """The rule's clock of the parameter that has taken most steps; settled if no state counts them, None before the first."""
    rule, names = setting.rule, setting.rule.clock.keys()
    known = [state for state in states if names and names <= state.keys()]
    if known:
        return {name: float(known[0][name]) for name in names}
    taken = max((int(state["step"]) for state in states if "step" in state), default=_SETTLED)
    return clock_after(rule, setting.hyper, taken, setting.lr) if taken else None


def _median(tensors: list[Any]) -> float:
    """Over all elements, each tensor at its own device; a median of a large list is one of a regular sample."""
    parts = [t.detach().real.flatten()[:: max(1, t.numel() // 10_000)].double().cpu() for t in tensors]
    return float(parts[0].new_tensor([x for part in parts for x in part.tolist()]).median())
