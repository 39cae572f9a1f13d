"""How the strength of equal pull is found: where none exists, by closed form, by simulation, and how far it reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dynamics.answers.pull_rate import Gradients, formula_rate, pull_rates
from dynamics.answers.setting import Setting
from dynamics.theory.closed import critical_arrival

CLOSE = 0.1  # a range holds to this
_FACTORS = (1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
_ROUNDS = 10


@dataclass(frozen=True)
class Range:
    """From low to high all else equal; None: no bound was found up to a factor of 100, or up to arrival 1."""

    low: float | None
    high: float | None


def small(setting: Setting, strength: float, gradients: Gradients) -> float:
    """A weight whose pull is a thirtieth of the gradients, where it joins them and they set its scale."""
    if not setting.coupling.in_gradient or not setting.rule.adaptive or strength == 0:
        return 1.0
    return gradients.rms * math.sqrt(gradients.arrival) / (30 * strength)


def never(setting: Setting, gradients: Gradients) -> str:
    """Why this setting has no pull that is a constant share of the weight, if that is known beforehand."""
    if setting.coupling.sign is not None:
        return "L1 pulls equally at weights of all sizes: no share of the weight is the same pull"
    memory = setting.rule.memory
    if setting.rule.divides_by == "mean" and setting.coupling.gradient is not None:
        critical = critical_arrival(setting.hyper[memory])
        if gradients.arrival <= critical:
            return (
                f"arrival {gradients.arrival:g} is below the critical {critical:.3g} = 1 - sqrt({memory}): between gradients "
                "sqrt(v) falls faster than they come, the mean of 1 / sqrt(v) is infinite, and the pull of L2 is no "
                "constant share"
            )
    return ""


def closed_form(source: Setting, target: Setting, gradients: Gradients) -> float | None:
    """The strength by closed form, where both settings have one: pulls are in proportion to their strength."""
    little = 1e-12  # a strength for which the pull is slow beside any momentum
    known, unit = formula_rate(source, gradients), formula_rate(replace(target, strength=little), gradients)
    if known is None or not unit:
        return None
    found = known / unit * little
    if not math.isfinite(found) or formula_rate(replace(target, strength=found), gradients) is None:
        return None
    return found


def search(
    target: Setting, rate: float, guess: float | None, gradients: Gradients, size: float, fixed: bool, age: int
) -> tuple[Setting | None, str]:
    """`target` with the strength at which its pull is `rate`, and what was tried last: the pull is nearly proportional to
    it, so few rounds do."""
    strength = rate / target.lr * gradients.rms if guess is None else guess
    for _ in range(_ROUNDS):
        tried = replace(target, strength=strength)
        at = size if fixed else min(size, small(target, strength, gradients))
        got = float(pull_rates(tried, gradients.rms, gradients.arrival, at, after=age)[0, 0].mean())
        last = f"at strength {strength:.3g} its pull is {got:.3g} of a weight a step, {rate:.3g} is to be matched"
        if abs(got / rate - 1) < 2e-3:
            return tried, last
        if math.isnan(got):  # so strong that weights change sign
            last = f"at strength {strength:.3g} its pull is no share of the weight"
            strength /= 10
        else:
            strength *= rate / got if got > 0 else 10
        if not 0 < strength < 1e9:
            return None, last
    return (tried if abs(got / rate - 1) < 0.02 else None), last


def ranges(source: Setting, found: Setting, gradients: Gradients, size: float, age: int) -> dict[str, Range]:
    """How far weight, gradient size and arrival may move, one at a time, until the two pulls differ by 10%."""
    factors = np.array([1 / f for f in _FACTORS[:0:-1]] + list(_FACTORS))
    middle = len(_FACTORS) - 1
    ranges = {}
    for name, nominal in (("weight", size), ("gradient_rms", gradients.rms), ("arrival", gradients.arrival)):
        values = nominal * factors
        if name == "arrival":
            values = np.minimum(values, 1.0)
        at: dict[str, Any] = {"gradient_rms": gradients.rms, "arrival": gradients.arrival, "weight": size, name: values}
        one, other = (
            pull_rates(s, at["gradient_rms"], at["arrival"], at["weight"], after=age)[0].mean(axis=1)
            for s in (source, found)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            good = np.abs(other / one - 1) <= CLOSE
        low = middle
        while low > 0 and good[low - 1]:
            low -= 1
        high = middle
        while high < len(values) - 1 and good[high + 1]:
            high += 1
        ends = (float(values[low]), float(values[high]))
        ranges[name] = Range(
            None if low == 0 else ends[0], None if high == len(values) - 1 or ends[1] == 1.0 else ends[1]
        )
    return ranges
