"""What a claim is, and how an estimate becomes a verdict: nothing holds without its n and an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dynamics.estimate import Estimate, mean_interval, ratio_interval, spread

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Decision:
    """How an interval becomes a verdict: holds if all of it is in the range low to high, fails if none of it is.

    open_ends: the ends themselves are outside. every: for a statement about every sample, whose interval is smallest to
    largest: one sample outside refutes it.
    """

    low: float = -math.inf
    high: float = math.inf
    open_ends: bool = False
    every: bool = False

    def __call__(self, estimate: Estimate) -> Verdict:
        """The verdict on an estimate whose numbers are finite."""
        if self.open_ends:
            inside = self.low < estimate.low and estimate.high < self.high
            outside = estimate.high <= self.low or estimate.low >= self.high
        else:
            inside = self.low <= estimate.low and estimate.high <= self.high
            outside = estimate.high < self.low or estimate.low > self.high
        return "holds" if inside else "fails" if outside or self.every else "undecided"

    def in_words(self, unit: str) -> str:
        """When a claim holds, e.g. "interval above 0 percentage points"; unit: of the estimate."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            where = f"within [{_exact(self.low)}, {_exact(self.high)}]"
        elif math.isfinite(self.low):
            where = f"{'above' if self.open_ends else 'at least'} {_exact(self.low)}"
        else:
            where = f"{'below' if self.open_ends else 'at most'} {_exact(self.high)}"
        return f"{'every sample' if self.every else 'interval'} {where} {unit}".rstrip()


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
    return Decision(low=threshold, open_ends=True)


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
    return Decision(high=threshold, open_ends=True)


def never_above(threshold: float) -> Decision:
    """A decision on every sample, whose interval is smallest to largest: one sample above the threshold refutes it.

    Args:
        threshold: in the estimate's unit.

    Returns:
        The Decision.

    Example:
        >>> never_above(2)(spread([1, 2, 4], "steps"))
        'fails'
    """
    return Decision(high=threshold, every=True)


def within(low: float, high: float) -> Decision:
    """A decision that holds if the whole interval lies in [low, high], and fails if none of it does.

    Args:
        low: in the estimate's unit.
        high: in the estimate's unit.

    Returns:
        The Decision.

    Example:
        >>> within(0, 3)(spread([1, 2, 4], "steps"))
        'undecided'
    """
    return Decision(low, high)


@dataclass(frozen=True)
class Claim:
    """A sentence that data can overturn, as `evidence.registry.claim` declares it.

    source: who says so; experiment: whose data bear on it; estimate: reads them; decision: what follows from the estimate.
    measured: what the estimate is, in words; formula: what is claimed, as text; figure: the picture in which it is seen;
    empty where there is none.
    """

    id: str
    sentence: str
    source: str
    experiment: str
    estimate: Callable[[Any], Estimate]
    decision: Decision
    measured: str = ""
    formula: str = ""
    figure: str = ""


@dataclass(frozen=True)
class Finding:
    """A claim, what the data say, and the verdict that follows."""

    claim: Claim
    estimate: Estimate
    verdict: Verdict

    @property
    def holds_if(self) -> str:
        """The decision in words, in the estimate's unit."""
        return self.claim.decision.in_words(self.estimate.unit)


def judge(claim: Claim, data: Any) -> Finding:
    """The verdict of `claim` on the data of its experiment; an interval that is not a number decides nothing."""
    estimate = claim.estimate(data)
    known = all(math.isfinite(x) for x in (estimate.value, estimate.low, estimate.high))
    return Finding(claim, estimate, claim.decision(estimate) if known else "undecided")
