"""What figures of toy worlds have in common: intervals over seeds, and curves of the share of dead features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from evidence.claim import Estimate, mean_interval
from figures.style import label_ends

LOW, HIGH = -0.06, 1.06
MARKS = "osD^v<>pPXh*"
GAP = 0.065


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


def mean_curve(axes: Axes, x: np.ndarray, shares: np.ndarray) -> float:
    """The mean of several curves, `shares` (x, seed), in black with its numbers at both ends; the last one is handed back."""
    means, bars = intervals(shares)
    axes.errorbar(x, means, bars, color="black", linewidth=2.4, elinewidth=1.2, capsize=3, zorder=4)
    for k in (0, -1):
        side, edge = (-9, "top") if means[k] > 0.85 else (9, "bottom")  # the title is above
        axes.annotate(
            f"{means[k]:.0%}", (x[k], means[k]), (0, side), textcoords="offset points", ha="center", va=edge, weight="bold",
            fontsize=10, zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )  # fmt: skip
    return float(means[-1])


def slope(share: xr.DataArray, along: str) -> str:
    """In words, of a share (along, seed): its slope against log2 of `along` with the 95% t-interval over seeds, if there are
    several."""
    samples = np.polyfit(np.log2(share[along].values), 100 * share.transpose(along, "seed").values, 1)[0]
    [mean], bars = intervals(samples[None])
    low, high = (float(mean + sign * bar[0]) for sign, bar in zip((-1, 1), bars, strict=True))
    between = f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else ""
    return f"{mean:+.1f}{between} points a doubling"


def label_shares(axes: Axes, ends: Mapping[str, tuple[float, Any]]) -> None:
    """Write each label, with (share, colour), beside its curve's end; where many end near 0, upwards from the axis."""
    order = sorted(ends, key=lambda words: ends[words][0])
    raised = {words: max((ends[words][0] - LOW) / (HIGH - LOW), k * GAP) for k, words in enumerate(order)}
    label_ends(axes, {words: (raised[words], ends[words][1]) for words in order}, x=1.04, gap=GAP)


def with_ticks(axes: Axes, x: np.ndarray) -> None:
    """A logarithmic axis with a tick at each setting and nowhere else."""
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:,g}" for value in x])
    axes.minorticks_off()
