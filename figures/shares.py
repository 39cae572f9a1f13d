"""What figures of toy worlds have in common: headings, intervals over seeds, and curves of the share of dead features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evidence.claim import Estimate, mean_interval
from figures.style import label_ends

LOW, HIGH = -0.06, 1.06
MARKS = "osD^v<>pPXh*"
GAP = 0.055


def heading(figure: Figure, finding: str, fontsize: float | None = None) -> None:
    """The finding, in bold above all panels."""
    figure.suptitle(finding, x=0.01, ha="left", weight="bold", **({"fontsize": fontsize} if fontsize else {}))


def intervals(
    samples: np.ndarray, interval: Callable[[np.ndarray, str, str], Estimate] = mean_interval
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of samples, one a seed, the mean, and how far the 95% interval goes below and above it: (rows), (2, rows);
    NaN, so that no bar is drawn, of a single seed."""
    if samples.shape[1] < 2:
        return samples[:, 0], np.full((2, len(samples)), np.nan)
    found = [interval(row, "", "seeds") for row in samples]
    means = np.array([e.value for e in found])
    return means, np.array([[e.value - e.low, e.high - e.value] for e in found]).T


def share_axis(axes: Axes) -> None:
    """The axis that all these curves have in common."""
    axes.set(ylim=(LOW, HIGH), ylabel="share of features that died")


def curve(axes: Axes, x: np.ndarray, shares: np.ndarray, mark: int, colour: Any) -> float:
    """Means and 95% t-intervals of `shares` (x, seed) with the mark of that number; the last mean is handed back."""
    means, bars = intervals(shares)
    axes.errorbar(
        x, means, bars, marker=MARKS[mark % len(MARKS)], color=colour, linewidth=1.2, markersize=5, elinewidth=0.8, capsize=2
    )  # fmt: skip
    return float(means[-1])


def label_shares(axes: Axes, ends: Mapping[str, tuple[float, Any]]) -> None:
    """Write each label, with (share, colour), beside its curve's end; where many end near 0, upwards from the axis."""
    order = sorted(ends, key=lambda words: ends[words][0])
    raised = {words: max((ends[words][0] - LOW) / (HIGH - LOW), k * GAP) for k, words in enumerate(order)}
    label_ends(axes, {words: (raised[words], ends[words][1]) for words in order}, gap=GAP)


def with_ticks(axes: Axes, x: np.ndarray) -> None:
    """A logarithmic axis with a tick at each setting and nowhere else."""
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:,g}" for value in x])
    axes.minorticks_off()
