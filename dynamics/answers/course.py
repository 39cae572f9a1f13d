"""What a regularizer does over a whole run with its schedule: what is left, when it acts, what is still remembered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from dynamics.answers.decay_time import silent_share, undefined, without_gradient
from dynamics.answers.predict import Prediction, closed_rms
from dynamics.answers.schedule import Plan, counted
from dynamics.answers.setting import Setting
from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.given import number

# Up to here rules are stepped in Python, for every coupling; beyond compiled, for the setting's own alone, up to the second.
_EVERY_COUPLING, _SIMULATED = 100_000, 10_000_000
# A part of 1 by which a path may rise and still counts as one that falls.
_ROUNDING = 1e-12
# Sizes below this are told as such.
_NOTHING = 1e-30
# Less than this part of a weight left: less than a hundredth of its square, and the equilibrium is reached.
_REACHED = 0.1


@dataclass(frozen=True)
class Left:
    """Of a weight of size 1 without a gradient, from fresh state, what the run leaves.

    size: None if there is no number; how: "closed form" or "simulated", or why there is none. halvings: -log2 of the size.
    half_by: the step by which half of the halvings are done. in_warmup, in_last_tenth: shares of the
    halvings, which fall in the warmup and in the last tenth of the steps. All four None where the weight does not only shrink.
    """

    size: float | None
    how: str
    halvings: float | None = None
    half_by: int | None = None
    in_warmup: float | None = None
    in_last_tenth: float | None = None


@dataclass(frozen=True)
class Memory:
    """1/(share of a weight that a step takes off): over so many steps, and epochs, updates are averaged. None: no end, or no
    number of steps an epoch."""

    steps: float | None
    epochs: float | None


@dataclass(frozen=True)
class Course:
    """A run under a schedule. left: of a silent weight; couplings: the same by other couplings of the same strength.

    at_peak, at_end: effective memories; None where the pull on a weight is no share that lr and strength alone set.
    memories: how many memories the run is long, -ln of what is left; equilibrium: the size under noise at the largest
    learning rate by closed form, reached: whether less than a tenth of a weight, a hundredth of its square, is left of the start.
    """

    schedule: str
    steps: int
    warmup: int
    left: Left
    at_peak: Memory | None
    at_end: Memory | None
    memories: float | None
    equilibrium: Prediction | None
    reached: bool | None
    couplings: dict[str, Left]


def course(setting: Setting, plan: Plan, sigma: float = 1e-3, steps_per_epoch: float | None = None) -> Course:
    """What a setting does over a run, its lr being the largest.

    Args:
        setting: rule, coupling and their numbers.
        plan: the schedule, `dynamics.answers.schedule.plan`.
        sigma: root mean square of the gradients, for the equilibrium.
        steps_per_epoch: above 0; None: epochs are not spoken of.

    Returns:
        The Course.

    Raises:
        InputError: for a number out of range.

    Example:
        >>> from dynamics.answers.schedule import plan
        >>> from dynamics.answers.setting import parse
        >>> found = course(parse("adamw lr=1e-3 weight_decay=0.1"), plan("cosine", 20_000))
        >>> round(found.left.size, 4), found.left.half_by, found.at_peak.steps, found.reached
        (0.3678, 5295, 10000.0, False)

    Source:
        The product of the shares kept: algebra (F). Memory: Wang, Aitchison, arXiv 2405.13698, their timescale.
    """
    if steps_per_epoch is not None:
        number("steps_per_epoch", steps_per_epoch, 1e-12)
    left, share = remaining(setting, plan), silent_share(setting)
    pulls = bool(setting.coupling.doors) and setting.strength > 0 and setting.lr > 0
    at_peak = at_end = memories = reached = None
    if pulls and share is not None and left.size is not None:
        _, multipliers = plan.blocks
        last = plan.multipliers(np.array([plan.steps - 1]))
        peak = float(np.max(share(setting.lr * multipliers, multipliers)))
        end = float(share(setting.lr * last, last)[0])
        at_peak, at_end = _memory(peak, steps_per_epoch), _memory(end, steps_per_epoch)
        memories = None if left.halvings is None else left.halvings * math.log(2)
        reached = abs(left.size) < _REACHED
    others = {
        name: left if name == setting.coupling.name else remaining(replace(setting, coupling=c), plan, _EVERY_COUPLING)
        for name, c in COUPLINGS.items()
        if c.doors
    }
    equilibrium = _equilibrium(setting, sigma) if pulls else None
    return Course(plan.said, plan.steps, plan.warmup, left, at_peak, at_end, memories, equilibrium, reached, others)


def _equilibrium(setting: Setting, sigma: float) -> Prediction:
    try:
        return closed_rms(setting, sigma)
    except InputError as error:
        return Prediction(None, "closed form", str(error))


def _memory(share: float, steps_per_epoch: float | None) -> Memory:
    steps = 1 / share if share > 0 else math.inf
    if not math.isfinite(steps):
        return Memory(None, None)
    return Memory(steps, None if steps_per_epoch is None else steps / steps_per_epoch)


def remaining(setting: Setting, plan: Plan, most: int = _SIMULATED) -> Left:
    """What a run leaves of a weight of size 1 without a gradient: by closed form, or stepped for at most `most` steps."""
    if not setting.coupling.doors or not setting.strength:
        return Left(1.0, "nothing pulls", 0.0)
    share = silent_share(setting)
    if share is not None and not undefined(setting, 1.0):
        edges, multipliers = plan.blocks
        lost = share(setting.lr * multipliers, multipliers) * np.ones(len(multipliers))
        # Above 1 a share turns the sign over.
        sign = -1.0 if np.sum(np.diff(edges)[lost > 1]) % 2 else 1.0
        with np.errstate(divide="ignore"):
            logs = np.append(0.0, np.cumsum(np.log1p(-np.where(lost > 1, 2 - lost, lost)) * np.diff(edges)))
        return _told(plan, edges, logs, sign, "closed form")
    if plan.steps > most:
        return Left(None, f"not simulated beyond {most:,} steps")
    edges, path = _path(setting, plan)
    if not np.isfinite(path).all():
        if setting.hyper.get("eps") == 0 and undefined(setting, 1.0):
            return Left(None, "with eps 0 a step without a gradient is 0 / 0")
        return Left(None, f"it diverges within {plan.steps:,} steps")
    with np.errstate(divide="ignore"):
        how = "simulated"
        if (turned := np.flatnonzero(path <= 0)).size:
            how += f"; it passes 0 by step {int(edges[turned[0]]):,}"
        return _told(plan, edges, np.log(np.abs(path)), float(np.sign(path[-1])), how)


def _told(plan: Plan, edges: np.ndarray, logs: np.ndarray, sign: float, how: str) -> Left:
    """From the logarithm of the size at the steps `edges`."""
    total = float(logs[-1])
    size = sign * math.exp(total) if total < 700 else None
    if size is None:
        return Left(None, "it grows beyond all bounds")
    halvings = -total / math.log(2) if math.isfinite(total) else None
    with np.errstate(invalid="ignore"):
        falls = total < 0 and not np.any(np.diff(logs) > _ROUNDING)
    if not falls:
        return Left(size, f"{how}; it grows" if total > 0 else how, 0.0 if total == 0 else None)
    if halvings is None:
        return Left(0.0, f"{how}; 0 from step {int(edges[np.argmin(logs)]):,} on")
    half = round(float(np.interp(-total / 2, -logs, edges)) + 0.5 - 1e-9)
    tenth = plan.steps - plan.steps // 10
    warm, late = (float(np.interp(step, edges, logs)) / total for step in (plan.warmup, tenth))
    return Left(size, how, halvings, half, warm, 1 - late)


def _path(setting: Setting, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Step numbers, and the weight at them, by the rule's own step."""
    start = setting.rule.fresh(1.0, setting.hyper)
    if plan.steps <= _EVERY_COUPLING:
        multipliers = plan.multipliers(np.arange(plan.steps))
        return np.arange(plan.steps + 1), np.fromiter(_stepped(setting, start, multipliers), float)
    from dynamics.simulate.lanes import simulate

    record = np.unique(np.append(np.linspace(0, plan.steps, 2_001, dtype=np.int64), plan.warmup))
    lanes = {"lr": setting.lr, "strength": setting.strength, **setting.hyper}
    found = simulate(setting.rule, setting.coupling, record=record, lanes=lanes, schedule=plan.multipliers)
    return record, found.w[:, 0]


def _stepped(setting: Setting, inner: tuple[float, ...], multipliers: np.ndarray) -> Iterator[float]:
    advance, w = without_gradient(setting), 1.0
    yield w
    for multiplier in multipliers.tolist():
        w, *rest = advance(w, inner, multiplier)
        inner = tuple(rest)
        yield w


def in_words(found: Course) -> list[str]:
    """The lines of a course for people."""
    left = found.left
    lines = [f"Over the run, {found.schedule}:"]
    size = left.how if left.size is None else f"{_number(left)} of it is left{_halved(left)} ({left.how})"
    lines += [f"  a weight of size 1 without a gradient: {size}"]
    if left.half_by is not None and left.in_warmup is not None and left.in_last_tenth is not None:
        parts = [f"{left.in_warmup:.1%} of it in the warmup"] if found.warmup else []
        parts += [f"{left.in_last_tenth:.1%} in the last tenth of the run"]
        lines += [f"  half of this is done by step {left.half_by:,}; {', '.join(parts)}"]
    if found.at_peak is not None and found.at_end is not None:
        lines += [
            f"  memory, 1/(share a step): {_remembers(found.at_peak)} at the peak, {_remembers(found.at_end)} at the end"
        ]
        if found.memories is not None:
            lines += [f"  the run is {found.memories:.3g} memories long"]
    if found.equilibrium is not None and found.equilibrium.value is not None:
        value = f"  equilibrium size at the peak: {found.equilibrium.value:.3g} ({found.equilibrium.how})"
        said = {True: "; reached", False: "; not reached: the start still counts", None: ""}[found.reached]
        lines += [value + said]
    lines += ["  left by this and by other couplings of the same strength:"]
    for name, one in found.couplings.items():
        lines += [f"    {COUPLINGS[name].label:30} {_size(one)}"]
    return lines


def one_line(found: Course) -> str:
    """What is left, with when half was done and the memory at the peak."""
    half = "" if found.left.half_by is None else f"; half of it done by step {found.left.half_by:,}"
    memory = "" if found.at_peak is None else f"; memory at the peak {_remembers(found.at_peak)}"
    return f"{_size(found.left)}{half}{memory}"


def _halved(left: Left) -> str:
    return f", {left.halvings:.3g} halvings" if left.halvings is not None and left.halvings > 0 else ""


def _size(left: Left) -> str:
    return left.how if left.size is None else f"{_number(left)} ({left.how})"


def _number(left: Left) -> str:
    # A size of 0 with halvings is one that a float64 cannot hold.
    small = left.size is not None and abs(left.size) < _NOTHING and (left.size or left.halvings)
    return f"below {_NOTHING:g}" if small else f"{left.size:.4g}"


def _remembers(memory: Memory) -> str:
    if memory.steps is None:
        return "all steps"
    epochs = "" if memory.epochs is None else f" ({memory.epochs:.3g} epochs)"
    return f"{counted(round(memory.steps), 'step')}{epochs}"
