"""A run's schedule by name, as torch's schedulers mean it: the multiplier of the learning rate at each of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dynamics.errors import InputError
from dynamics.given import among, number, whole
from dynamics.simulate import schedules
from dynamics.simulate.schedules import LAST, Schedule

# Runs up to here are looked at step by step; longer ones in about so many blocks, each by its middle.
EXACT, _BLOCKS = 2**20, 2**17


@dataclass(frozen=True)
class Plan:
    """A schedule over a run. said: in words; warmup: steps; multipliers: of the setting's lr, from step numbers; knots: steps
    at which the schedule has a bend."""

    said: str
    steps: int
    warmup: int
    multipliers: Schedule
    knots: tuple[int, ...] = ()

    @cached_property
    def blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """(n + 1,) step numbers between which a block of steps lies, and (n,) multipliers, each of its block's middle.

        Up to 2^20 steps a block is a step. Beyond, blocks end at the bends, so that a sum over the run is off by less than
        1e-9 of itself.
        """
        edges = np.arange(self.steps + 1 if self.steps <= EXACT else 0)
        if self.steps > EXACT:
            even = np.rint(np.linspace(0, self.steps, _BLOCKS + 1)).astype(np.int64)
            edges = np.unique(np.append(even, [k for k in self.knots if 0 < k < self.steps]).astype(np.int64))
        return edges, np.asarray(self.multipliers((edges[:-1] + edges[1:] - 1) / 2), dtype=np.float64)


# (steps, warmup or None, final, decay steps) -> multipliers, steps of warmup, bends
_Made = tuple[Schedule, int, tuple[int, ...]]
_Maker = Callable[[int, int | None, float, int], _Made]


def _after_warmup(make: Callable[[int, float], Schedule], *thirds: int) -> _Maker:
    """A schedule of the steps that a warmup leaves, with bends at so many thirds of them."""

    def made(steps: int, warmup: int | None, final: float, _: int) -> _Made:
        rise = warmup or 0
        left = steps - rise
        bends = (rise, *(rise + k * left // 3 for k in thirds))
        return schedules.warmed(make(left, final), rise), rise, bends

    return made


def _one_cycle(steps: int, warmup: int | None, final: float, _: int) -> _Made:
    rise = 0.3 * steps if warmup is None else warmup
    return schedules.one_cycle(steps, rise), int(rise), (int(rise),)


def _trapezoid(steps: int, warmup: int | None, final: float, fall: int) -> _Made:
    rise = warmup or 0
    return schedules.warmed(schedules.trapezoid(steps - rise, fall, final), rise), rise, (rise, steps - fall)


_COSINE = ("CosineAnnealingLR", _after_warmup(schedules.cosine))
_NAMED: dict[str, tuple[str, _Maker]] = {
    "constant": ("ConstantLR", _after_warmup(lambda steps, final: schedules.constant())),
    "onecycle": ("OneCycleLR", _one_cycle),
    "cosine": _COSINE,
    "step": ("MultiStepLR", _after_warmup(lambda n, final: schedules.step_decay([n // 3, 2 * n // 3]), 1, 2)),
    "warmup-cosine": _COSINE,
    "linear": ("LinearLR", _after_warmup(schedules.linear)),
    "trapezoid": ("ConstantLR, then LinearLR", _trapezoid),
}
_WITH_FINAL = ("cosine", "warmup-cosine", "linear", "trapezoid")
SCHEDULES = tuple(_NAMED)


def plan(
    schedule: str, steps: int, warmup: int | None = None, final: float = 0.0, decay_steps: int | None = None
) -> Plan:
    """A run's schedule by name.

    Args:
        schedule: "constant"; "onecycle", torch's OneCycleLR, warmup being pct_start times the steps and 30% of them if not
            given (its change of momentum is left out); "cosine", CosineAnnealingLR to the end of the run; "step", MultiStepLR
            by a tenth at a third and at two thirds; "linear", LinearLR to the end; "trapezoid", ConstantLR, then LinearLR over
            the last decay_steps, which have to be given (warmup-stable-decay with a linear decay). All but onecycle begin, if
            there is a warmup, with a LinearLR from 1/(warmup + 1) to 1 and are as long as the steps that are left, as in a
            SequentialLR.
            "warmup-cosine" is "cosine" whose warmup has to be given.
        steps: of the run, from 1 to 2^53.
        warmup: in steps, below `steps`; None: none, or that of onecycle.
        final: the multiplier to which cosine, linear and trapezoid fall, in [0, 1].
        decay_steps: of a trapezoid, from 1 to the steps that its warmup leaves; None for the others.

    Returns:
        The Plan; its multipliers are those of the peak, 1.

    Raises:
        InputError: for an unknown name, for numbers out of range, and for a final or decay_steps of a schedule that has none.

    Example:
        >>> plan("warmup-cosine", 6, warmup=2).multipliers(np.arange(6)).round(3).tolist()
        [0.333, 0.667, 1.0, 0.854, 0.5, 0.146]

    Source:
        torch.optim.lr_scheduler, against which it is tested.
    """
    torch, make = _NAMED[among("schedule", schedule, SCHEDULES)]
    whole("steps", steps, 1, LAST)
    if schedule == "warmup-cosine" and warmup is None:
        raise InputError("warmup-cosine without warmup: its steps are needed")
    if number("final", final, 0, 1) and schedule not in _WITH_FINAL:
        raise InputError(f"final {final:g}: {schedule} has none, {', '.join(_WITH_FINAL)} have")
    if warmup is not None and whole("warmup", warmup, 0, LAST) >= steps:
        raise InputError(f"warmup {warmup:,}: fewer than the {steps:,} steps of the run are accepted")
    fall = _decay(schedule, decay_steps, steps - (warmup or 0))
    multipliers, rise, bends = make(steps, warmup, final, fall)
    said = f"{schedule} (torch's {torch}), {counted(steps, 'step')}"
    said += f", the first {rise:,} of them warmup" if rise else ""
    said += f", the last {fall:,} decay" if fall else ""
    said += f", to {final:g} of the peak" if final else ""
    return Plan(said, steps, rise, multipliers, bends)


def _decay(schedule: str, decay_steps: int | None, most: int) -> int:
    """The decay steps of a trapezoid; 0 for the others."""
    if schedule == "trapezoid":
        if decay_steps is None:
            raise InputError("trapezoid without decay_steps: the steps of its linear decay are needed")
        return whole("decay_steps", decay_steps, 1, most)
    if decay_steps is not None:
        raise InputError(f"decay_steps {decay_steps}: {schedule} has none, trapezoid has")
    return 0


def counted(number: int, word: str) -> str:
    """A number with a word, as in 1 step, 2,000 steps."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
