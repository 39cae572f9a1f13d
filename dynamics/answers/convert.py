"""The strength that gives one setting the pull of another, where there is one: the answer behind `undertow convert`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.answers.horizon import Horizon, best_constant, drifted, why_drifting
from dynamics.answers.practice import unusual
from dynamics.answers.pull_rate import (
    LANES,
    LARGEST,
    SMALLEST,
    Gradients,
    formula_rate,
    pull_rates,
    sees_gradients,
    settling,
)
from dynamics.answers.setting import Setting, as_setting, parse_target, unit_note
from dynamics.errors import InputError
from dynamics.estimate import Estimate, ratio_interval
from dynamics.given import kind, number, whole
from dynamics.libraries.catalogue import elsewhere
from dynamics.result import Result
from dynamics.theory.closed import critical_arrival

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLOSE = 0.1  # a range holds to this
_FACTORS = (1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
_ROUNDS = 10
# The longest horizon: it is simulated, in half a minute.
LONGEST = 1_000_000


@dataclass(frozen=True)
class Range:
    """From low to high all else equal; None: no bound was found up to a factor of 100, or up to arrival 1."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class Conversion(Result):
    """The outcome. `target` holds the strength found; None with `why` where no constant strength gives the same pull.

    rate: share of the weight a step. formula: the strength by closed form, where both settings have one. ratio: measured
    pull of target over source, an estimate over seeds. holds: what may change by how much until they differ by 10%.
    gradients: under which the pulls are equal; None: under any. notes: which numbers are a library's defaults, what numbers
    about one weight leave out, and where the strength is far from that of published recipes.
    """

    source: str
    target: str | None
    strength: float | None
    rate: float | None
    formula: float | None
    ratio: Estimate | None
    holds: dict[str, Range]
    why: str
    horizon: Horizon | None
    library: str
    notes: tuple[str, ...]
    gradients: Gradients | None = None

    def __str__(self) -> str:
        from dynamics.answers.printed import conversion

        return conversion(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    def rows(self) -> list[dict[str, Any]]:
        """One row, so that those of several conversions stand below each other."""
        from dynamics.answers.drawing import row_of_conversion

        return [row_of_conversion(self)]

    @property
    def finding(self) -> str:
        """The strength, or why there is none."""
        if self.target is None:
            return f"{self.source}: no constant strength gives the same pull: {self.why}"
        return f"{self.target} pulls like {self.source}, within a tenth as far as the lines reach"

    def _draw(self, axes: Axes) -> None:
        from dynamics.answers.drawing import draw_conversion

        draw_conversion(self, axes)


def convert(
    source: Setting | str,
    target: Setting | str,
    gradients: Gradients | None = None,
    *,
    weight: float | None = None,
    steps: int = 10_000,
) -> Conversion:
    """The strength of one setting at which its pull is that of another under given gradients, where there is one.

    Args:
        source: the setting whose pull is wanted, or its text.
        target: the setting whose strength is asked for, or its text; its own strength is ignored.
        gradients: their root mean square when they arrive, and the share of steps at which they do; None where neither pull
            depends on them, as from SGD to SGD with momentum.
        weight: the size of the weight at which the pulls are compared; None: small, so that the pull is a small part of
            the gradients and a share of the weight.
        steps: the horizon, in steps, for the best constant where pulls change with time; 100 to a million.

    Returns:
        The Conversion: the target with its strength, or why no constant strength gives the same pull.

    Raises:
        InputError: for settings without a regularizer, for values out of range, and for no gradients where a pull depends
            on them.

    Example:
        >>> from dynamics.answers.pull_rate import Gradients
        >>> found = convert("adam lr=1e-3 l2=1e-4", "adamw lr=1e-3", Gradients(rms=1e-3))
        >>> round(found.strength, 3)
        0.1

    Source:
        Derived for the closed forms (`dynamics.theory.closed`); measured on the rule itself elsewhere
        (`dynamics.answers.pull_rate`).
    """
    source = as_setting("source", source)
    target = parse_target(target) if isinstance(target, str) else as_setting("target", target)
    if gradients is not None:
        kind("gradients", gradients, Gradients, "Gradients(rms, arrival)")
    steps = whole("steps", steps, 100, LONGEST)
    weight = None if weight is None else number("weight", weight, SMALLEST, LARGEST)
    if not source.coupling.doors or source.strength == 0:
        raise InputError(f"setting {str(source)!r} has no regularizer: one with a strength above 0 is accepted")
    if not target.coupling.doors:
        raise InputError(f"setting {str(target)!r} names no coupling: one such as decoupled_lr is accepted")
    for setting in (source, target):
        if setting.lr == 0:
            raise InputError(f"lr 0 in {str(setting)!r}: a positive learning rate is accepted")
    found = _converted(source, target, gradients or _any(source, target), weight, steps)
    return replace(found, gradients=gradients)


def _converted(source: Setting, target: Setting, gradients: Gradients, weight: float | None, steps: int) -> Conversion:
    size = weight or min(_small(source, source.strength, gradients), 1.0)
    for setting in (source, target):
        reason = _never(setting, gradients)
        if reason:
            return _none(source, None, reason)
    # Both are measured at one age, so that a pull that falls with time falls for both.
    age = max(settling(source), settling(target))
    rates = pull_rates(source, gradients.rms, gradients.arrival, size, after=age)[0, 0]
    rate = float(rates.mean())
    if not rate > 0:
        return _none(source, None, f"the pull of {source} on a weight of size {size:g} is no share of the weight")
    formula = _formula(source, target, gradients)
    guess = formula
    if guess is None and (source.rule, source.coupling) == (target.rule, target.coupling):
        guess = source.strength * source.lr / target.lr
    found, tried = _search(target, rate, guess, gradients, size, weight is not None, age)
    if found is None:
        return _none(
            source,
            rate,
            f"no strength of {target.rule.name} with {target.coupling.label} was found to pull like that: {tried}",
        )
    size = size if weight is not None else min(size, _small(found, found.strength, gradients))
    rates, others = (pull_rates(s, gradients.rms, gradients.arrival, size, after=age)[0, 0] for s in (source, found))
    if not (np.all(rates > 0) and np.all(others > 0)):
        return _none(source, rate, "the two pulls do not stand out from the gradients' noise")
    drift = drifted(source, found, gradients, size, age)
    # What the seeds alone could have done is no drift.
    if drift and abs(drift.value - 1) >= _CLOSE and not drift.low <= 1 <= drift.high:
        return replace(
            _none(source, rate, why_drifting(source, found, drift.value, age)),
            horizon=best_constant(source, found, gradients, size, steps),
        )
    return Conversion(
        source=str(source),
        target=str(found),
        strength=found.strength,
        rate=rate,
        formula=formula,
        ratio=ratio_interval(others / rates, f"times the pull; {LANES} weights a seed", "seeds"),
        holds=_ranges(source, found, gradients, size, age),
        why="",
        horizon=None,
        library=elsewhere(found.rule).offered.get(found.coupling.name, ""),
        notes=tuple(note for note in (*_notes(source, found), unusual(source, found, rate)) if note),
    )


def _any(source: Setting, target: Setting) -> Gradients:
    """Gradients for two pulls that do not depend on them; InputError where one does."""
    seeing = [setting for setting in (source, target) if sees_gradients(setting)]
    if seeing:
        raise InputError(
            f"gradient rms is needed: the pull of {seeing[0].rule.name} with {seeing[0].coupling.name} depends on it; accepted is "
            "the root mean square of p.grad over a layer's weights and a few batches, as undertow.gradient_scale measures it"
        )
    return Gradients(1.0)


def _notes(*settings: Setting) -> tuple[str, ...]:
    said = (note for setting in settings for note in (*setting.notes, unit_note(setting)))
    return tuple(dict.fromkeys(note for note in said if note))


def _none(source: Setting, rate: float | None, why: str) -> Conversion:
    return Conversion(str(source), None, None, rate, None, None, {}, why, None, "", _notes(source))


def _small(setting: Setting, strength: float, gradients: Gradients) -> float:
    """A weight whose pull is a thirtieth of the gradients, where it joins them and they set its scale."""
    if not setting.coupling.in_gradient or not setting.rule.adaptive or strength == 0:
        return 1.0
    return gradients.rms * math.sqrt(gradients.arrival) / (30 * strength)


def _never(setting: Setting, gradients: Gradients) -> str:
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


def _formula(source: Setting, target: Setting, gradients: Gradients) -> float | None:
    """The strength by closed form, where both settings have one: pulls are in proportion to their strength."""
    little = 1e-12  # a strength for which the pull is slow beside any momentum
    known, unit = formula_rate(source, gradients), formula_rate(replace(target, strength=little), gradients)
    if known is None or not unit:
        return None
    found = known / unit * little
    if not math.isfinite(found) or formula_rate(replace(target, strength=found), gradients) is None:
        return None
    return found


def _search(
    target: Setting, rate: float, guess: float | None, gradients: Gradients, size: float, fixed: bool, age: int
) -> tuple[Setting | None, str]:
    """`target` with the strength at which its pull is `rate`, and what was tried last: the pull is nearly proportional to
    it, so few rounds do."""
    strength = rate / target.lr * gradients.rms if guess is None else guess
    for _ in range(_ROUNDS):
        tried = replace(target, strength=strength)
        at = size if fixed else min(size, _small(target, strength, gradients))
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


def _ranges(source: Setting, found: Setting, gradients: Gradients, size: float, age: int) -> dict[str, Range]:
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
            good = np.abs(other / one - 1) <= _CLOSE
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
