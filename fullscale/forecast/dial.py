"""The knob as a dial: the strength, or learning rate, that silences as many filters as one wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dynamics.answers.setting import Setting
from dynamics.couplings import COUPLINGS, find_coupling
from dynamics.errors import InputError
from dynamics.given import number
from fullscale.forecast.answer import Forecast, forecast
from fullscale.forecast.seen import Seen

# A dial is turned by up to this factor to either side.
FARTHEST = 1e3
_HALVINGS = 14


@dataclass(frozen=True)
class Change:
    """One change of a setting from now on. knob: "strength", "lr" or "coupling"; factor: of the number, NaN of a coupling; setting:
    the new one; share: of dead filters that is then expected at the end."""

    knob: str
    factor: float
    setting: str
    share: float


def changes(
    seen: Seen, setting: Setting, steps: int, share: float, *, multipliers: NDArray[np.float64] | None = None
) -> list[Change]:
    """What to change from now on, so that this share of all filters is dead at the end: the smallest change first.

    Args:
        seen: a monitor's record up to now.
        setting: of the optimizer as it runs now.
        steps: those to come.
        share: of the filters, in [0, 1].
        multipliers: as `forecast` takes them.

    Returns:
        The strength and the learning rate that come nearest to the share, each turned alone and by up to 1,000, the smaller
        factor first; then every other coupling at equal strength, the nearest share first. A dial without effect is left out.

    Raises:
        InputError: for a share outside [0, 1], and as `forecast` does.

    Example:
        >>> from dynamics.answers.setting import parse
        >>> from fullscale.forecast.study import example
        >>> [change.knob for change in changes(example(), parse("adam lr=1e-2 l2=5e-3"), 4500, 0.4)][:2]
        ['lr', 'strength']
    """
    share = number("share", share, 0.0, 1.0)
    found = []
    for knob in ("strength", "lr"):
        value = getattr(setting, knob)
        if value > 0:
            factor = _turned(partial(_expected, seen, setting, knob, steps, multipliers), share)
            if factor is not None:
                other = replace(setting, **{knob: factor * value})
                found.append(Change(knob, factor, str(other), _share(seen, other, steps, multipliers)))
    # One number's factor against another's: the nearer to 1.
    found.sort(key=lambda change: abs(np.log(change.factor)))
    couplings = []
    for name in COUPLINGS:
        if name in (setting.coupling.name, "none") or not setting.strength:
            continue
        other = replace(setting, coupling=find_coupling(name))
        couplings.append(Change("coupling", float("nan"), str(other), _share(seen, other, steps, multipliers)))
    couplings.sort(key=lambda change: abs(change.share - share))
    return [*found, *couplings]


def _share(seen: Seen, setting: Setting, steps: int, multipliers: NDArray[np.float64] | None) -> float:
    return forecast(seen, setting, steps, multipliers=multipliers).share


def _expected(
    seen: Seen, setting: Setting, knob: str, steps: int, multipliers: NDArray[np.float64] | None, factor: float
) -> float:
    """The share with one number of the setting multiplied."""
    return _share(seen, replace(setting, **{knob: factor * getattr(setting, knob)}), steps, multipliers)


def _turned(expected: Callable[[float], float], share: float) -> float | None:
    """The factor at which the share is met, by halving; the nearest end where it is not met, None where nothing changes."""
    low, high = np.log(1 / FARTHEST), np.log(FARTHEST)
    least, most = expected(float(np.exp(low))), expected(float(np.exp(high)))
    if not (np.isfinite(least) and np.isfinite(most)):
        raise InputError("a forecast of no filters: a record of filters with a scale is accepted")
    if least == most:
        return None
    rising = most > least
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if (expected(float(np.exp(middle))) < share) == rising:
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))


def as_text(found: list[Change], wanted: float, now: Forecast) -> str:
    """The changes for people."""
    lines = [f"for {100 * wanted:.0f}% dead at the end ({100 * now.share:.0f}% are expected as it is), one of:"]
    for change in found:
        turned = f"{change.knob} x {change.factor:.3g}" if np.isfinite(change.factor) else "another coupling"
        lines.append(f"  {turned:22} {change.setting}: {100 * change.share:.0f}%")
    return "\n".join(lines)
