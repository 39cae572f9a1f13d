"""What a claim is, and how an estimate becomes a verdict: nothing holds without its n and an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from dynamics.errors import InputError

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """An effect size: value and interval (low, high) from n samples; `unit` says what it is a number of.

    interval: how low and high came about, e.g. "95% t-interval over seeds" or "smallest to largest".
    """

    value: float
    low: float
    high: float
    n: int
    unit: str
    interval: str


def mean_interval(samples: Sequence[float] | np.ndarray, unit: str, over: str, confidence: float = 0.95) -> Estimate:
    """Mean with Student's t-interval; InputError for fewer than two samples."""
    values = np.asarray(samples, dtype=np.float64).ravel()
    if values.size < 2:
        raise InputError(f"{values.size} samples: an interval needs two or more")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    half = float(stdtrit(values.size - 1, (1 + confidence) / 2)) * spread / math.sqrt(values.size)
    return Estimate(mean, mean - half, mean + half, values.size, unit, f"{confidence:.0%} t-interval over {over}")


def ratio_interval(samples: Sequence[float] | np.ndarray, unit: str, over: str) -> Estimate:
    """Geometric mean of positive ratios with the t-interval of their logarithms; InputError for others."""
    values = np.asarray(samples, dtype=np.float64).ravel()
    if not np.all(values > 0):
        raise InputError(f"ratio {values[~(values > 0)][0]}: positive numbers are accepted")
    log = mean_interval(np.log(values), unit, over)
    return Estimate(math.exp(log.value), math.exp(log.low), math.exp(log.high), log.n, unit, log.interval)


def spread(samples: Sequence[float] | np.ndarray, unit: str) -> Estimate:
    """Median with the smallest and the largest of settings without randomness; InputError for no samples."""
    values = np.asarray(samples, dtype=np.float64).ravel()
    if values.size == 0:
        raise InputError("0 samples: at least one is needed")
    return Estimate(
        float(np.median(values)), float(values.min()), float(values.max()), values.size, unit, "smallest to largest"
    )


def above(threshold: float) -> Callable[[Estimate], Verdict]:
    """Holds if the whole interval is above the threshold, fails if it is all at or below it."""
    return lambda e: "holds" if e.low > threshold else "fails" if e.high <= threshold else "undecided"


def below(threshold: float) -> Callable[[Estimate], Verdict]:
    """Holds if the whole interval is below the threshold, fails if it is all at or above it."""
    return lambda e: "holds" if e.high < threshold else "fails" if e.low >= threshold else "undecided"


def never_above(threshold: float) -> Callable[[Estimate], Verdict]:
    """For a statement about every sample, whose interval is smallest to largest: one sample above refutes it."""
    return lambda e: "holds" if e.high <= threshold else "fails"


def within(low: float, high: float) -> Callable[[Estimate], Verdict]:
    """Holds if the whole interval lies in [low, high], fails if none of it does."""
    return lambda e: (
        "holds" if low <= e.low and e.high <= high else "fails" if e.high < low or e.low > high else "undecided"
    )


@dataclass(frozen=True)
class Claim:
    """A sentence that data can overturn. experiment: whose data bear on it; rule: as words beside the function.

    formula: what is claimed, as text, and figure: the name of the picture in which it is seen; empty where there is none.
    """

    id: str
    sentence: str
    source: str
    experiment: str
    estimate: Callable[[Any], Estimate]
    rule: Callable[[Estimate], Verdict]
    rule_in_words: str
    formula: str = ""
    figure: str = ""


@dataclass(frozen=True)
class Finding:
    """A claim, what the data say, and the verdict that follows."""

    claim: Claim
    estimate: Estimate
    verdict: Verdict


def judge(claim: Claim, data: Any) -> Finding:
    """The verdict of `claim` on the data of its experiment; an interval that is not a number decides nothing."""
    estimate = claim.estimate(data)
    known = all(math.isfinite(x) for x in (estimate.value, estimate.low, estimate.high))
    return Finding(claim, estimate, claim.rule(estimate) if known else "undecided")
