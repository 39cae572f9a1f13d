"""Pulls that change differently with time: by how much, why, and the constant that is right on average."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dynamics.answers.pull_rate import GLANCE, Gradients, pull_rates
from dynamics.answers.setting import Setting
from dynamics.estimate import Estimate, ratio_interval

# Settings that keep their pull must do so over this many times the time in which they settle.
_AGES = 8


@dataclass(frozen=True)
class Horizon:
    """The best constant where the two pulls change differently with time: right on average from step `first` to `steps`.

    early, late: pull of the source over that of the constant in the first and in the last eighth.
    """

    first: int
    steps: int
    strength: float
    early: float
    late: float


def drifted(source: Setting, found: Setting, gradients: Gradients, size: float, age: int) -> Estimate | None:
    """By which factor the pull of `found` over that of `source` changes from `age` to _AGES times it; None where a seed
    sees no pull beside the noise."""
    at = (gradients.rms, gradients.arrival, size)
    ratio = [
        pull_rates(found, *at, after=t, looks=GLANCE)[0, 0] / pull_rates(source, *at, after=t, looks=GLANCE)[0, 0]
        for t in (age, _AGES * age)
    ]
    change = ratio[1] / ratio[0]
    return ratio_interval(change, "times the ratio", "seeds") if np.all(change > 0) else None


def why_drifting(source: Setting, found: Setting, drift: float, age: int) -> str:
    """The cause, in words with numbers."""
    cause = {
        "sum": "sum of squares grows for ever, so its pull falls as 1 / sqrt(t)",
        "largest mean": "denominator never falls, so its pull falls for as long as larger gradients turn up",
    }
    aging = [s.rule for s in (source, found) if s.rule.divides_by in cause and s.coupling.in_gradient]
    reason = "; ".join(f"{rule.label}'s {cause[rule.divides_by]}" for rule in aging)
    reason = reason or "the two pulls change differently with time"
    return f"{reason}: from step {age:,} to {_AGES * age:,} the ratio of the two changes by a factor of {drift:.3g}"


def best_constant(source: Setting, found: Setting, gradients: Gradients, size: float, steps: int) -> Horizon | None:
    """The best constant of `found` up to `steps`; None where the pull of either is no share of the weight all along."""
    first, length = steps // 16, steps - steps // 16
    looks = (0, length // 8, length - length // 8, length)
    one, other = (
        pull_rates(s, gradients.rms, gradients.arrival, size, after=first, looks=looks)[:, 0].mean(axis=1)
        for s in (source, found)
    )
    spans = np.diff(looks)
    scale = float(one @ spans / (other @ spans))
    if not math.isfinite(scale):
        return None
    early, _, late = (one / other / scale).tolist()
    return Horizon(first, steps, found.strength * scale, early, late)
