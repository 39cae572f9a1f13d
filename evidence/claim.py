"""What a claim is, and how an estimate becomes a verdict: nothing holds without its n and an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from dynamics.errors import InputError

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """An effect size: a value and its interval from n samples.

    Args:
        value: in `unit`.
        low: lower end of the interval, in `unit`.
        high: upper end of the interval, in `unit`.
        n: number of samples.
        unit: what it is a number of.
        interval: how low and high came about, e.g. "95% t-interval over seeds" or "smallest to largest".
        samples: the n numbers behind it.

    Example:
        >>> Estimate(2.0, 1.0, 3.0, 5, "steps", "smallest to largest").in_words()
        '2 [1, 3] steps (n = 5, smallest to largest)'
    """

    value: float
    low: float
    high: float
    n: int
    unit: str
    interval: str
    samples: tuple[float, ...] = field(default=(), compare=False, repr=False)

    def in_words(self) -> str:
        """Value, interval, unit and n."""
        numbers = f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"
        return f"{numbers} {self.unit} (n = {self.n}, {self.interval})"


def mean_interval(samples: Sequence[float] | np.ndarray, unit: str, over: str, confidence: float = 0.95) -> Estimate:
    """Mean with Student's t-interval.

    Args:
        samples: (n,) numbers, two or more.
        unit: what they are numbers of.
        over: what one sample is, in the plural, e.g. "seeds".
        confidence: of the interval, in (0, 1).

    Returns:
        The Estimate.

    Raises:
        InputError: for fewer than two samples.

    Example:
        >>> mean_interval([1, 2, 3], "steps", "seeds").in_words()
        '2 [-0.4841, 4.484] steps (n = 3, 95% t-interval over seeds)'

    Source:
        Student, "The probable error of a mean", Biometrika 1908.
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    if values.size < 2:
        raise InputError(f"{values.size} samples: an interval needs two or more")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    half = float(stdtrit(values.size - 1, (1 + confidence) / 2)) * spread / math.sqrt(values.size)
    words = f"{confidence:.0%} t-interval over {over}"
    return Estimate(mean, mean - half, mean + half, values.size, unit, words, tuple(values.tolist()))


def ratio_interval(samples: Sequence[float] | np.ndarray, unit: str, over: str) -> Estimate:
    """Geometric mean of ratios with the t-interval of their logarithms.

    Args:
        samples: (n,) positive numbers, two or more.
        unit: what they are numbers of.
        over: what one sample is, in the plural, e.g. "seeds".

    Returns:
        The Estimate.

    Raises:
        InputError: for fewer than two samples, and for one that is not positive.

    Example:
        >>> ratio_interval([1, 2, 4], "times the pull", "seeds").in_words()
        '2 [0.3575, 11.19] times the pull (n = 3, 95% t-interval over seeds)'
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    if not np.all(values > 0):
        raise InputError(f"ratio {values[~(values > 0)][0]}: positive numbers are accepted")
    log = mean_interval(np.log(values), unit, over)
    value, low, high = (math.exp(x) for x in (log.value, log.low, log.high))
    return Estimate(value, low, high, log.n, unit, log.interval, tuple(values.tolist()))


def spread(samples: Sequence[float] | np.ndarray, unit: str) -> Estimate:
    """Median with the smallest and the largest, for settings without randomness.

    Args:
        samples: (n,) numbers, one or more.
        unit: what they are numbers of.

    Returns:
        The Estimate.

    Raises:
        InputError: for no samples.

    Example:
        >>> spread([1, 2, 4], "steps").in_words()
        '2 [1, 4] steps (n = 3, smallest to largest)'
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    if values.size == 0:
        raise InputError("0 samples: at least one is needed")
    middle, low, high = (float(x) for x in (np.median(values), values.min(), values.max()))
    return Estimate(middle, low, high, values.size, unit, "smallest to largest", tuple(values.tolist()))


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
