"""What a claim is, and how an estimate becomes a verdict: nothing holds without its n and an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from dynamics.errors import InputError
from dynamics.estimate import EXTREMES, Estimate, every_cell, holm, mean_interval, ratio_interval, spread
from dynamics.given import number
from dynamics.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["holds", "fails", "undecided"]
# When a margin was chosen, seen from the data that it judges. "with the data": both entered the project's history in one
# commit, so that it cannot be told.
Margin = Literal["before", "with the data", "after"]


@dataclass(frozen=True)
class Decision:
    """How an interval becomes a verdict: holds if all of it is in the range low to high, fails if none of it is.

    An interval from the smallest sample to the largest (`spread`) is for a statement about every sample: one outside
    refutes it. open_ends: the ends of the range themselves are outside.
    """

    low: float = -math.inf
    high: float = math.inf
    open_ends: bool = False

    def __call__(self, estimate: Estimate) -> Verdict:
        """The verdict on an estimate whose numbers are finite."""
        if self.open_ends:
            inside = self.low < estimate.low and estimate.high < self.high
            outside = estimate.high <= self.low or estimate.low >= self.high
        else:
            inside = self.low <= estimate.low and estimate.high <= self.high
            outside = estimate.high < self.low or estimate.low > self.high
        return "holds" if inside else "fails" if outside or estimate.interval == EXTREMES else "undecided"

    def worst(self, cells: Mapping[str, Estimate]) -> Estimate:
        """Of the cells of a grid the one that is most against the claim, named in its interval: farthest outside if one
        refutes it, else one that is not of finite numbers, else the one that comes nearest to an end of the range.

        Without cells an estimate of nothing, which decides nothing.
        """
        if not cells:
            return Estimate(math.nan, math.nan, math.nan, 0, "", "no cell of the grid can be judged")

        def against(cell: str) -> tuple[bool, bool, float]:
            estimate = cells[cell]
            if not _known(estimate):
                return False, True, 0.0
            fails = self(estimate) == "fails"
            least, most = (estimate.high, estimate.low) if fails else (estimate.low, estimate.high)
            return fails, False, max(self.low - least, most - self.high)

        name = max(cells, key=against)
        return replace(cells[name], interval=f"{cells[name].interval}, the worst: {name}") if name else cells[name]

    def in_words(self, unit: str) -> str:
        """When a claim holds, e.g. "interval above 0 percentage points"; unit: of the estimate."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            where = f"within [{_exact(self.low)}, {_exact(self.high)}]"
        elif math.isfinite(self.low):
            where = f"{'above' if self.open_ends else 'at least'} {_exact(self.low)}"
        else:
            where = f"{'below' if self.open_ends else 'at most'} {_exact(self.high)}"
        return f"interval {where} {unit}".rstrip()


def _known(estimate: Estimate) -> bool:
    return all(math.isfinite(x) for x in (estimate.value, estimate.low, estimate.high))


def _exact(number: float) -> str:
    """A threshold without loss: 1 + 1e-9 is not 1."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def above(threshold: float) -> Decision:
    """A decision that holds if the whole interval is above the threshold, and fails if it is all at or below it.

    Args:
        threshold: in the estimate's unit.

    Returns:
        The Decision.

    Example:
        >>> above(0)(mean_interval([1.0, 1.1, 0.9], "steps", "seeds"))
        'holds'
    """
    return Decision(low=number("threshold", threshold), open_ends=True)


def below(threshold: float) -> Decision:
    """A decision that holds if the whole interval is below the threshold, and fails if it is all at or above it.

    Args:
        threshold: in the estimate's unit.

    Returns:
        The Decision.

    Example:
        >>> below(0)(mean_interval([1.0, 1.1, 0.9], "steps", "seeds"))
        'fails'
    """
    return Decision(high=number("threshold", threshold), open_ends=True)


def never_above(threshold: float) -> Decision:
    """A decision that holds if the whole interval is at or below the threshold: none of the samples above it.

    Args:
        threshold: in the estimate's unit.

    Returns:
        The Decision.

    Example:
        >>> never_above(2)(spread([1, 2, 4], "steps"))
        'fails'
    """
    return Decision(high=number("threshold", threshold))


def within(low: float, high: float) -> Decision:
    """A decision that holds if the whole interval lies in [low, high], and fails if none of it does.

    Args:
        low: in the estimate's unit.
        high: in the estimate's unit.

    Returns:
        The Decision.

    Example:
        >>> within(0, 3)(mean_interval([1.0, 2.0, 4.0], "steps", "seeds"))
        'undecided'
    """
    return Decision(number("low", low), number("high", high))


@dataclass(frozen=True)
class Claim:
    """A sentence that data can overturn, as `evidence.registry.claim` declares it.

    source: who says so; experiment: whose data bear on it; estimate: reads them, and gives one estimate, or one a cell where
    the sentence is about every cell; decision: what follows from the estimate, of several from the worst.
    measured: what the estimate is, in words; formula: what is claimed, as text; figure: the picture in which it is seen;
    empty where there is none. margin: when the decision's numbers were chosen; against: ids of claims whose data say the
    opposite.
    """

    id: str
    sentence: str
    source: str
    experiment: str
    estimate: Callable[[Any], Estimate | Mapping[str, Estimate]]
    decision: Decision
    measured: str = ""
    formula: str = ""
    figure: str = ""
    margin: Margin = "with the data"
    against: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding(Result):
    """A claim, what the data say, and the verdict that follows."""

    claim: Claim
    estimate: Estimate
    verdict: Verdict

    @property
    def holds_if(self) -> str:
        """The decision in words, in the estimate's unit, and when its numbers were chosen."""
        rule, margin = self.claim.decision.in_words(self.estimate.unit), self.claim.margin
        if self.estimate.interval == EXTREMES:
            rule = rule.replace("interval", "every sample", 1)
        seen = margin if margin == "with the data" else f"{margin} the data were seen"
        return f"{rule}; margin chosen {seen}"

    def rows(self) -> list[dict[str, Any]]:
        """One row, so that those of several claims stand below each other."""
        told = {name: getattr(self.estimate, name) for name in ("value", "low", "high", "n", "unit", "interval")}
        said = {name: getattr(self.claim, name) for name in ("sentence", "source", "experiment")}
        return [{"id": self.claim.id, "verdict": self.verdict} | told | {"holds_if": self.holds_if} | said]

    @property
    def finding(self) -> str:
        """The claim and its verdict."""
        return f"{self.claim.id} {self.verdict}: {self.claim.sentence}"

    def _draw(self, axes: Axes) -> None:
        e, decision = self.estimate, self.claim.decision
        if not _known(e):
            raise InputError(f"nothing to draw of {self.claim.id}: an estimate of finite numbers is accepted")
        samples = [sample for sample in e.samples if math.isfinite(sample)]
        axes.plot(samples, [0.0] * len(samples), "o", color="#999999", alpha=0.5, label="samples")
        axes.plot([e.low, e.high], [1.0, 1.0], color="#D55E00", linewidth=3, label=f"{e.interval}, n = {e.n}")
        axes.plot([e.value], [1.0], "D", color="#D55E00")
        low, high = axes.get_xlim()
        ends = [end for end in (decision.low, decision.high) if math.isfinite(end)]
        low, high = (
            min(low, *(end - 0.1 * (high - low) for end in ends)),
            max(high, *(end + 0.1 * (high - low) for end in ends)),
        )
        axes.axvspan(
            max(decision.low, low), min(decision.high, high), color="#009E73", alpha=0.15, label="it holds within"
        )
        axes.set(xlim=(low, high), ylim=(-1, 2.5), xlabel=e.unit)
        axes.set_yticks([0, 1], ["samples", "estimate"])
        axes.legend(ncols=2, loc="upper left", fontsize=9)


def judge(claim: Claim, data: Any) -> Finding:
    """The verdict of `claim` on the data of its experiment; an interval that is not a number decides nothing."""
    found = claim.estimate(data)
    estimate = found if isinstance(found, Estimate) else claim.decision.worst(found)
    return Finding(claim, estimate, claim.decision(estimate) if _known(estimate) else "undecided")
