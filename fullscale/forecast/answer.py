"""The forecast as an answer: who is about to die, when, and of what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dynamics.answers.setting import Setting, as_setting
from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.given import array, kind, whole
from dynamics.result import Result
from fullscale.forecast.course import COURSES, MECHANISMS, follow
from fullscale.forecast.rates import Rates
from fullscale.forecast.seen import Seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# More steps are not followed: a year of them.
MOST = 10**9
# So many multipliers say how a schedule goes on.
_POINTS = 10_000


@dataclass(frozen=True, eq=False)
class Forecast(Result):
    """Of each filter, arrays (filters,): will it be dead after the coming steps?

    Args:
        seen: what it rests on.
        setting: of the optimizer, in words.
        steps: those to come.
        probability: of being dead at their end; 1 of filters that are dead already, NaN of those that are not forecast, for want
            of a scale.
        step: the median step of death of the courses that die, counted from the start of the training; NaN where none does.
        mechanism: what most of these die of: "regularizer", "noise" or "starvation" (`fullscale.forecast.course`); "" where
            none does.

    Example:
        >>> from fullscale.forecast.study import example
        >>> found = forecast(example(), "adam lr=1e-2 l2=5e-3", 4500)
        >>> found.rows()[0]["layer"]
        'first'
    """

    seen: Seen
    setting: str
    steps: int
    probability: Array
    step: Array
    mechanism: tuple[str, ...]

    @property
    def share(self) -> float:
        """The expected share of dead filters at the end, of all that are dead or forecast."""
        known = self.probability[np.isfinite(self.probability)]
        return float(known.mean()) if len(known) else float("nan")

    def rows(self) -> list[dict[str, Any]]:
        """One row a filter, the layers in their order and in each the filter nearest to its death first."""
        order = np.lexsort((np.nan_to_num(-self.probability, nan=1.0), self.seen.layer))
        return [
            {
                "layer": self.seen.names[self.seen.layer[i]],
                "channel": int(self.seen.channel[i]),
                "dead": bool(self.dead[i]),
                "probability": _number(self.probability[i]),
                "step": _number(self.step[i]),
                "mechanism": self.mechanism[i],
            }
            for i in order.tolist()
        ]

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Which are dead already, (filters,)."""
        return ~self.seen.alive & np.isfinite(self.probability)

    @property
    def finding(self) -> str:
        """How many die, and of what, in one sentence."""
        seen, dead = self.seen, int(self.dead.sum())
        known = int(np.isfinite(self.probability).sum())
        if not known:
            return "no filter has a scale that a forecast could follow"
        expected = self.share * known
        counts = Counter(name for name, p in zip(self.mechanism, self.probability, strict=True) if name and p > 0.5)
        causes = ", ".join(f"{counts[name]:,} by {name}" for name in MECHANISMS if counts[name])
        return (
            f"step {seen.step:,}: {dead:,} of {known:,} filters are dead; {self.steps:,} steps on {expected:,.0f} are expected"
            f" to be ({100 * self.share:.0f}%){f'; likely deaths: {causes}' if causes else ''}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "step": self.seen.step, "steps": self.steps, "setting": self.setting, "share": self.share, "filters": self.rows(),
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [self.finding, self.setting, ""]
        lines += [f"{'layer':24} {'filters':>7} {'dead':>5} {'expected':>8}  next to die (probability, step)"]
        for number, name in enumerate(self.seen.names):
            of = np.flatnonzero((self.seen.layer == number) & np.isfinite(self.probability))
            if not len(of):
                continue
            coming = [i for i in of[np.argsort(-self.probability[of], kind="stable")] if self.seen.alive[i]][:3]
            said = ", ".join(
                f"{self.seen.channel[i]} ({self.probability[i]:.2f}"
                + (f", {self.step[i]:,.0f})" if np.isfinite(self.step[i]) else ")")
                for i in coming
            )
            lines.append(
                f"{name[:24]:24} {len(of):7,} {int(self.dead[of].sum()):5,} {self.probability[of].sum():8.1f}  {said}"
            )
        return "\n".join(lines)

    def _draw(self, axes: Axes) -> None:
        """Probabilities by layer; dark: dead already, or of a filter of high probability."""
        shown = np.isfinite(self.probability)
        if not shown.any():
            raise InputError(
                "nothing to draw: no filter has a scale that a forecast could follow; one that has is accepted"
            )
        for number, _ in enumerate(self.seen.names):
            of = (self.seen.layer == number) & shown
            values = np.sort(self.probability[of])[::-1]
            axes.plot(
                number + np.linspace(-0.35, 0.35, len(values)), values, ".", color=f"C{number % 10}", markersize=4
            )
        axes.set(ylabel="probability to be dead at the end", ylim=(-0.03, 1.03), xlabel="layer")
        axes.set_xticks(range(len(self.seen.names)), self.seen.names, rotation=45, ha="right", fontsize=7)


@checked
def forecast(
    seen: Seen,
    setting: str | Setting,
    steps: int,
    *,
    multipliers: Sequence[float] | NDArray[Any] | None = None,
    courses: int = COURSES,
    seed: int = 0,
) -> Forecast:
    """Which filters will be dead after the coming steps: the theory's answer, without a fitted number.

    Args:
        seen: a monitor's record up to now (`seen_at`).
        setting: of the optimizer, as `undertow.explain` takes it; its lr is that at which the multipliers are 1.
        steps: those to come, up to 10^9.
        multipliers: the schedule's at each of them, (steps,), or evenly over them; None: 1.
        courses: that are drawn of each filter, 2 to 10^4: more of them say a probability more finely.
        seed: of these.

    Returns:
        The Forecast.

    Raises:
        InputError: for a rule that looks at more than one weight, and for numbers out of range.

    Example:
        >>> from fullscale.forecast.study import example
        >>> found = forecast(example(), "adam lr=1e-2 l2=5e-3", 4500)
        >>> print(found.finding)
        step 500: 0 of 24 filters are dead; 4,500 steps on 12 are expected to be (49%); likely deaths: 12 by regularizer

    Source:
        derived here: B1, B6, B7, A9, E8 and E10 of docs/theory.md, put together in `fullscale.forecast.course`.
    """
    kind("seen", seen, Seen, "what seen_at gives")
    asked = as_setting("setting", setting)
    steps = whole("steps", steps, 1, MOST)
    if asked.rule.unit != "weight":
        raise InputError(f"setting {asked}: a rule that takes weights one by one is accepted")
    levels = np.ones(min(steps, _POINTS)) if multipliers is None else array("multipliers", multipliers).ravel()
    if not len(levels) or (levels < 0).any():
        raise InputError("multipliers: one or more numbers from 0 on are accepted")
    return _forecast(seen, asked, steps, levels, whole("courses", courses, 2, 10**4), whole("seed", seed, 0, 2**63 - 1))


def rates_of(seen: Seen, setting: Setting) -> Rates:
    """The rates of a setting around the sizes that were seen."""
    sizes = np.sqrt(seen.square[seen.alive & (seen.square > 0)])
    scales = seen.gamma[seen.alive & (seen.gamma > 0)]
    typical = float(np.exp(np.log(sizes).mean())) if len(sizes) else 1.0
    return Rates(setting, typical, float(np.median(scales)) if len(scales) else 1.0)


def _forecast(seen: Seen, setting: Setting, steps: int, multipliers: Array, courses: int, seed: int) -> Forecast:
    found = follow(seen, rates_of(seen, setting), multipliers, steps, courses=courses, seed=seed)
    known = np.isfinite(seen.gamma) & np.isfinite(seen.square)
    dead = ~seen.alive & known
    return Forecast(
        seen, str(setting), steps,
        np.where(dead, 1.0, found.probability),
        found.step,
        tuple(MECHANISMS[i] if i >= 0 else "" for i in found.mechanism.tolist()),
    )  # fmt: skip


def _number(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
