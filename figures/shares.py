"""Shares of dead features over seeds: curves with intervals, and names beside their ends, for figures that compare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from evidence.claim import mean_interval
from figures.style import label_ends

LOW, HIGH = -0.06, 1.06
MARKS = "osD^v<>pPXh*"
GAP = 0.055


def share_axis(axes: Axes) -> None:
    """The axis that all these curves have in common."""
    axes.set(ylim=(LOW, HIGH), ylabel="share of features that died")


def curve(axes: Axes, x: np.ndarray, shares: np.ndarray, mark: int, colour: Any) -> float:
    """Means and 95% t-intervals of `shares` (x, seed) with the mark of that number; the last mean is handed back."""
    found = [mean_interval(samples, "", "seeds") for samples in shares]
    means = np.array([f.value for f in found])
    bars = np.array([[f.value - f.low, f.high - f.value] for f in found]).T
    axes.errorbar(
        x,
        means,
        bars,
        marker=MARKS[mark % len(MARKS)],
        color=colour,
        linewidth=1.2,
        markersize=5,
        elinewidth=0.8,
        capsize=2,
    )
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
