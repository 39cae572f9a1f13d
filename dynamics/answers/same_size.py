"""The strength that leaves weights the same size under noise: what `undertow convert --preserve equilibrium` answers.

The same pull and the same size are two things: a weight rests where the pull balances the noise of the steps, and two rules
that pull alike may step differently.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from dynamics.answers.practice import unusual
from dynamics.answers.predict import equilibrium_square
from dynamics.answers.pull_rate import Gradients, formula_rate
from dynamics.answers.setting import Setting, as_setting, parse_target, unit_note
from dynamics.errors import InputError
from dynamics.given import kind
from dynamics.libraries.catalogue import elsewhere

# The size falls with the strength: it is looked for between these, to this part of itself.
_WEAKEST, _STRONGEST, _CLOSE = 1e-10, 1e3, 1e-9


@dataclass(frozen=True)
class SameSize:
    """The outcome. size: root mean square of a weight under noise, by closed form. target: with the strength found; None with
    `why` where none does it. regimes: what the two closed forms assume. rates: the share of the weight that each takes off a
    step, by closed form, where there is one."""

    source: str
    target: str | None
    strength: float | None
    size: float
    regimes: tuple[str, str] | None
    rates: tuple[float | None, float | None]
    why: str
    library: str
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def same_size(source: Setting | str, target: Setting | str, gradients: Gradients) -> SameSize:
    """The strength of one setting at which noise leaves weights as large as another does.

    Args:
        source: the setting whose size is wanted, or its text.
        target: the setting whose strength is asked for, or its text; its own strength is ignored.
        gradients: their root mean square when they arrive, and the share of steps at which they do; they have mean 0.

    Returns:
        The SameSize: the target with its strength, or why none does it.

    Raises:
        InputError: for settings without a regularizer, and for a rule and coupling whose size under noise has no closed form.

    Example:
        >>> found = same_size("sgd lr=0.1 l2=1e-3", "sgd lr=0.2", Gradients(1.0))
        >>> round(found.strength, 6)  # lr^2 / (2 lr strength) is to stay
        0.002

    Source:
        `dynamics.theory.closed.equilibrium`, which has the source of each form.
    """
    source = as_setting("source", source)
    target = parse_target(target) if isinstance(target, str) else as_setting("target", target)
    kind("gradients", gradients, Gradients, "Gradients(rms, arrival)")
    if not source.coupling.doors or source.strength == 0:
        raise InputError(f"setting {str(source)!r} has no regularizer: one with a strength above 0 is accepted")
    wanted, how = equilibrium_square(source, gradients.rms, gradients.arrival)
    found = _search(target, wanted, gradients)
    said = (note for setting in (source, target) for note in (*setting.notes, unit_note(setting)))
    notes = tuple(dict.fromkeys(note for note in said if note))
    if found is None:
        why = f"no strength of {target.rule.name} with {target.coupling.name}, for which its closed form holds, leaves this size"
        return SameSize(str(source), None, None, math.sqrt(wanted), None, (None, None), why, "", notes)
    rates = formula_rate(source, gradients), formula_rate(found, gradients)
    told = unusual(source, found, rates[1]) if rates[1] else ""
    return SameSize(
        source=str(source),
        target=str(found),
        strength=found.strength,
        size=math.sqrt(wanted),
        regimes=(how, equilibrium_square(found, gradients.rms, gradients.arrival)[1]),
        rates=rates,
        why="",
        library=elsewhere(found.rule).offered.get(found.coupling.name, ""),
        notes=(*notes, told) if told else notes,
    )


def _search(target: Setting, wanted: float, gradients: Gradients) -> Setting | None:
    """By bisection of the strength's logarithm; too strong for the closed form is too strong."""

    def larger(strength: float) -> bool:
        try:
            return equilibrium_square(replace(target, strength=strength), gradients.rms, gradients.arrival)[0] > wanted
        except InputError:
            return False

    # That the form holds at all is said here, not in the search.
    equilibrium_square(replace(target, strength=_WEAKEST), gradients.rms, gradients.arrival)
    low, high = _WEAKEST, _STRONGEST
    if not larger(low):
        return None
    while high / low > 1 + _CLOSE:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if larger(middle) else (low, middle)
    found = replace(target, strength=low)
    size = equilibrium_square(found, gradients.rms, gradients.arrival)[0]
    return found if math.isclose(size, wanted, rel_tol=1e-6) else None
