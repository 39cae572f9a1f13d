"""The strength that forgets as fast over a schedule: what `undertow convert --preserve timescale` answers.

Couplings follow a schedule of the learning rate in different ways: two that pull alike at its start do not over its course.
The timescale is 1 over the mean share of a weight that is taken off a step; for AdamW at a constant lr that is
1 / (lr strength), in steps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dynamics.answers.practice import unusual
from dynamics.answers.pull_rate import Gradients, formula_rate, sees_gradients
from dynamics.answers.setting import Setting, as_setting, parse_target, unit_note
from dynamics.errors import InputError
from dynamics.given import function, kind, whole
from dynamics.libraries.catalogue import elsewhere
from dynamics.simulate.schedules import Schedule

_LONGEST = 10_000_000
# A strength whose pull is slow beside any momentum.
_LITTLE = 1e-12


@dataclass(frozen=True)
class SameTimescale:
    """The outcome. timescale: in steps, of both. start: the pull of the target over that of the source at the first step."""

    source: str
    target: str
    strength: float
    steps: int
    timescale: float
    start: float
    library: str
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def same_timescale(
    source: Setting | str, target: Setting | str, schedule: Schedule, steps: int, gradients: Gradients | None = None
) -> SameTimescale:
    """The strength of one setting that forgets as fast as another does, over a schedule of the learning rate.

    Args:
        source: the setting whose timescale is wanted, or its text; lr is that at a multiplier of 1.
        target: the setting whose strength is asked for, or its text; its own strength is ignored.
        schedule: the multiplier of lr from an array of step numbers (`dynamics.simulate.schedules`).
        steps: how long training is, from 1 to ten million.
        gradients: their size and the share of steps at which they come; None where neither pull depends on them.

    Returns:
        The SameTimescale.

    Raises:
        InputError: for settings without a regularizer, for a pull that has no closed form, and for no gradients where one
            depends on them.

    Example:
        >>> from dynamics.simulate.schedules import cosine
        >>> found = same_timescale("adamw lr=1e-3 wd=0.1", "adam lr=1e-3 coupling=decoupled_constant", cosine(1000), 1000)
        >>> round(found.strength / 1e-4, 2), round(found.timescale)  # on average a cosine is a half
        (0.5, 19980)

    Source:
        Wang, Aitchison, arXiv 2405.13698, for AdamW at a constant lr; derived for the rest.
    """
    source = as_setting("source", source)
    target = parse_target(target) if isinstance(target, str) else as_setting("target", target)
    whole("steps", steps, 1, _LONGEST)
    if gradients is not None:
        kind("gradients", gradients, Gradients, "Gradients(rms, arrival)")
    if not source.coupling.doors or source.strength == 0:
        raise InputError(f"setting {str(source)!r} has no regularizer: one with a strength above 0 is accepted")
    multipliers = np.asarray(function("schedule", schedule)(np.arange(steps)), dtype=np.float64)
    first, unit = _rate(source, gradients), _rate(replace(target, strength=_LITTLE), gradients)
    mean, other = first * _course(source, multipliers), unit * _course(target, multipliers)
    if not (mean > 0 and other > 0):
        raise InputError(f"schedule of {steps} steps: one with a learning rate above 0 is accepted")
    found = replace(target, strength=mean / other * _LITTLE)
    now = _rate(found, gradients)
    said = (*source.notes, *target.notes, unit_note(source), unit_note(found), unusual(source, found, now))
    return SameTimescale(
        source=str(source),
        target=str(found),
        strength=found.strength,
        steps=steps,
        timescale=1 / mean,
        start=now / first,
        library=elsewhere(found.rule).offered.get(found.coupling.name, ""),
        notes=tuple(dict.fromkeys(note for note in said if note)),
    )


def _rate(setting: Setting, gradients: Gradients | None) -> float:
    """The share a step at a multiplier of 1."""
    if gradients is None and sees_gradients(setting):
        raise InputError(
            f"gradient rms is needed: the pull of {setting.rule.name} with {setting.coupling.name} depends on it"
        )
    rate = formula_rate(setting, gradients or Gradients(1.0))
    if not rate:
        raise InputError(
            f"{str(setting)!r}: a rule and coupling whose pull has a closed form are accepted, with lr and strength above 0"
        )
    return rate


def _course(setting: Setting, multipliers: np.ndarray) -> float:
    """The mean pull over a schedule, as a part of that at a multiplier of 1."""
    for share in (setting.coupling.before, setting.coupling.after):
        if share is not None:
            course = [share(1.0, m, m) for m in multipliers.tolist()]
            return float(np.mean(course)) / float(share(1.0, 1.0, 1.0))
    return float(multipliers.mean())  # through the gradient it is in proportion to lr
