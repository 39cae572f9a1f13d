"""A number with its interval: how an effect size is estimated from samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np

from dynamics.errors import InputError
from dynamics.given import array, function, items, kind, mapping, number, text, whole

EXTREMES = "smallest to largest"


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

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):  # NaN where nothing is decided, infinite where nothing bounds it
            array(name, kind(name, getattr(self, name), Real, "a number"))
        whole("n", self.n, 0)
        for name in ("unit", "interval"):
            text(name, getattr(self, name))
        array("samples", items("samples", self.samples))

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
    values = array("samples", samples).ravel()
    if values.size < 2:
        raise InputError(f"{values.size} samples: an interval needs two or more")
    _check_words(unit, over)
    confidence = _level("confidence", confidence)
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers too large to be squared the interval is infinite
        mean, spread = float(values.mean()), float(values.std(ddof=1))
    from scipy.special import stdtrit  # what a wrong claim need not wait for

    half = float(stdtrit(values.size - 1, (1 + confidence) / 2)) * spread / math.sqrt(values.size)
    words = f"{100 * confidence:.4g}% t-interval over {over}"
    return Estimate(mean, mean - half, mean + half, values.size, unit, words, tuple(values.tolist()))


def ratio_interval(samples: Sequence[float] | np.ndarray, unit: str, over: str, confidence: float = 0.95) -> Estimate:
    """Geometric mean of ratios with the t-interval of their logarithms.

    Args:
        samples: (n,) positive numbers, two or more.
        unit: what they are numbers of.
        over: what one sample is, in the plural, e.g. "seeds".
        confidence: of the interval, in (0, 1).

    Returns:
        The Estimate.

    Raises:
        InputError: for fewer than two samples, and for one that is not positive.

    Example:
        >>> ratio_interval([1, 2, 4], "times the pull", "seeds").in_words()
        '2 [0.3575, 11.19] times the pull (n = 3, 95% t-interval over seeds)'
    """
    values = array("samples", samples).ravel()
    if not np.all(values > 0):
        raise InputError(f"ratio {values[~(values > 0)][0]}: positive numbers are accepted")
    log = mean_interval(np.log(values), unit, over, confidence)
    with np.errstate(over="ignore"):
        value, low, high = np.exp([log.value, log.low, log.high]).tolist()
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
    values = array("samples", samples).ravel()
    if values.size == 0:
        raise InputError("0 samples: at least one is needed")
    text("unit", unit)
    middle, low, high = (float(x) for x in (np.median(values), values.min(), values.max()))
    return Estimate(middle, low, high, values.size, unit, EXTREMES, tuple(values.tolist()))


def every_cell(
    samples: Mapping[str, Sequence[float] | np.ndarray],
    unit: str,
    over: str = "seeds",
    interval: Callable[[Sequence[float] | np.ndarray, str, str, float], Estimate] = mean_interval,
    left_out: Mapping[str, int] | None = None,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """An interval for each cell of a designed grid, so wide that all hold at once with probability `level` or more.

    For a claim about every cell, which its worst cell decides: an estimator hands these back, and the claim's decision
    picks the cell that is most against it. Of K cells each has an interval of level 1 - (1 - level)/K.

    Args:
        samples: cell, in words -> (n,) numbers, two or more, one a seed.
        unit: what they are numbers of.
        over: what one sample is, in the plural.
        interval: from one cell's samples: `mean_interval`, or `ratio_interval` for ratios.
        left_out: which cells of the grid are not judged, in words -> how many; told beside the interval.
        level: of all intervals together, in (0, 1).

    Returns:
        cell -> its Estimate.

    Raises:
        InputError: for fewer than two samples in a cell.

    Example:
        >>> found = every_cell({"lr 0.1": [1, 2, 3], "lr 0.2": [4, 5, 6]}, "steps")
        >>> found["lr 0.2"].in_words()
        '5 [1.417, 8.583] steps (n = 3, 95% t-interval over seeds for all 2 cells at once)'

    Source:
        Bonferroni 1936; Dunn, "Multiple comparisons among means", Journal of the American Statistical Association 1961.
    """
    samples, left_out = mapping("samples", samples), {} if left_out is None else mapping("left_out", left_out)
    for cell, absentees in left_out.items():
        whole(f"left out of {cell!r},", absentees, 0, 2**31)
    _check_words(unit, over)
    level = _level("level", level)
    function("interval", interval)
    cells = f" for all {len(samples)} cells at once" if len(samples) > 1 else ""
    absent = f", {sum(left_out.values())} left out ({', '.join(left_out)})" if left_out else ""
    words = f"{100 * level:.4g}% t-interval over {over}{cells}{absent}"
    each = 1 - (1 - level) / max(1, len(samples))
    found = {
        cell: kind("interval", interval(values, unit, over, each), Estimate, "a function that gives an Estimate")
        for cell, values in samples.items()
    }
    return {cell: replace(estimate, interval=words) for cell, estimate in found.items()}


def holm(
    samples: Mapping[str, Sequence[float] | np.ndarray],
    margins: Mapping[str, Sequence[float]],
    unit: str,
    over: str = "seeds",
    level: float = 0.95,
) -> dict[str, Estimate]:
    """A t-interval for each contrast of a family, so wide that the chance of any wrong verdict among them is at most 1 - level.

    A verdict is on which side of its margins a contrast lies, and an interval that excludes them gives it. Contrasts are
    taken in the order of their p-values, each against the margin nearest to its mean. Of m contrasts the first has an
    interval of level 1 - (1 - level)/m, the next, if that excluded its margins, one of 1 - (1 - level)/(m - 1), and so on;
    from the first that does not exclude them, all have the same level. So no interval is wider than Bonferroni's. The
    promise is about the margins alone: it does not say that all intervals hold their true values at once.

    Args:
        samples: contrast -> (n,) numbers, two or more, one a seed.
        margins: contrast -> the numbers at which its verdict turns, one or more, in `unit`; the same contrasts.
        unit: what the samples are numbers of.
        over: what one sample is, in the plural.
        level: of the family, in (0, 1).

    Returns:
        contrast -> its Estimate, in the order of `samples`.

    Raises:
        InputError: for a contrast without margins or samples, and for fewer than two samples.

    Example:
        >>> found = holm({"a": [9, 10, 11], "b": [1, 2, 3]}, {"a": [0], "b": [0]}, "points")
        >>> found["a"].in_words()
        '10 [6.417, 13.58] points (n = 3, 97.5% t-interval over seeds, 1 of 2 by Holm)'
        >>> found["b"].in_words()
        '2 [-0.4841, 4.484] points (n = 3, 95% t-interval over seeds, 2 of 2 by Holm)'

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    samples, margins = mapping("samples", samples), mapping("margins", margins)
    _check_words(unit, over)
    level = _level("level", level)
    turns = {name: array(f"margins of {name!r},", values).ravel() for name, values in margins.items()}
    for name in [*samples, *turns]:
        if not (name in samples and len(turns.get(name, ()))):
            raise InputError(f"contrast {name!r} has no {'margins' if name in samples else 'samples'}: both are needed")
    p = {name: _p_value(mean_interval(samples[name], unit, over), turns[name]) for name in samples}
    found: dict[str, Estimate] = {}
    left, going_on = len(p), True
    for rank, name in enumerate(sorted(p, key=p.__getitem__), 1):
        estimate = mean_interval(samples[name], unit, over, 1 - (1 - level) / left)
        found[name] = replace(estimate, interval=f"{estimate.interval}, {rank} of {len(p)} by Holm")
        going_on = going_on and p[name] <= (1 - level) / left
        left -= going_on
    return {name: found[name] for name in samples}


def _check_words(*words: str) -> None:
    for word in words:
        text("unit or over", word)


def _level(name: str, value: float) -> float:
    found = number(name, value)
    if not 0 < found < 1:
        raise InputError(f"{name} {value}: a number in (0, 1) is accepted")
    return found


def _p_value(estimate: Estimate, margins: np.ndarray) -> float:
    """Two-sided, of Student's t-test of the mean against the margin nearest to it."""
    away = float(np.abs(estimate.value - margins).min())
    with np.errstate(over="ignore", invalid="ignore"):
        error = float(np.std(estimate.samples, ddof=1)) / math.sqrt(estimate.n)
        statistic = float(-np.float64(away) / error) if error else 0.0
    if error == 0:
        return float(away == 0)
    from scipy.special import stdtr

    return float(2 * stdtr(estimate.n - 1, statistic))
