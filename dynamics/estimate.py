"""A number with its interval: how an effect size is estimated from samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from dynamics.errors import InputError


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
