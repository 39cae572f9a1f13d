"""By which law a weight without a gradient decays: found on the path, not looked up by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dynamics.answers.decay_time import DecayTime, decay_time
from dynamics.answers.setting import Setting

# Times twice as long or half as long mean an exponent; this far from it they still count as that law.
_NEAR = 0.05


@dataclass(frozen=True)
class Law:
    """half_life: steps from 1 to 1/2, fresh; text: the law in words.

    shape: how the time for the next halving follows the first, 1 for a constant share a step, 1/2 for constant speed.
    by_strength: how the half-life follows the strength, -1 for inversely, 0 for not at all. None where it never halves.
    """

    half_life: DecayTime
    shape: float | None
    by_strength: float | None
    text: str

    @property
    def free_of_strength(self) -> bool:
        """Whether twice the strength makes the half-life no shorter."""
        return self.by_strength is not None and abs(self.by_strength) <= _NEAR


def silent_law(setting: Setting) -> Law:
    """The law of decay of a weight of size 1 that gets no gradient, from fresh state."""
    half = decay_time(setting, 1.0, 0.5)
    if half.steps is None:
        return Law(half, None, None, half.how)
    quarter, stronger = (
        decay_time(setting, 1.0, 0.25),
        decay_time(replace(setting, strength=2 * setting.strength), 1.0, 0.5),
    )
    if quarter.steps is None or stronger.steps is None:
        return Law(half, None, None, f"halves in {half.steps:,} steps")
    shape = (quarter.steps - half.steps) / half.steps
    power = math.log2(stronger.steps / half.steps)
    return Law(half, shape, power, f"{_shape(shape, half.steps)}, {_power(power)}")


def _shape(shape: float, half: int) -> str:
    if half < 20 or shape == 0:
        return f"halves in {half:,} step{'s' if half > 1 else ''}"
    if abs(shape - 1) <= _NEAR:
        return f"geometric: it loses {-math.expm1(-math.log(2) / half):.3g} of itself a step"
    if abs(shape - 0.5) <= _NEAR:
        return f"at constant speed: it loses {0.5 / half:.3g} a step"
    slows = f"it slows down {'more' if shape > 1 else 'less'} than in proportion to its size"
    kind = slows if shape > 0.5 else "it speeds up"
    return f"{kind}: {half:,} steps for the first half, {shape:.2g} times that for the next"


def _power(power: float) -> str:
    if abs(power) <= _NEAR:
        return "whatever the strength"
    if abs(power + 1) <= _NEAR:
        return "in proportion to the strength"
    return f"twice the strength making it {2**-power:.2g} times as fast"
