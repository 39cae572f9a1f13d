"""How many filters are inactive against the threshold that calls them so, and what is lost when they are put to 0."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from evidence.claim import mean_interval
from figures.style import Picture, styled
from fullscale.thresholds import SAME

# By measure: name, colour, line, mark.
LOOKS = {"activation": ("by activation", "#0072B2", "-", "o"), "scale": ("by scale", "#D55E00", "--", "s")}


def draw(data: xr.Dataset) -> Picture:
    """From `fullscale.thresholds.by_threshold`: left the share of inactive filters with the range over which it is flat, right the
    change of the test error; mean and interval over seeds where there are two or more."""
    lost = 100 * (data["error"] - data["error_before"])
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(10.5, 4.4), sharex=True)
        low, top = min(float(lost.min()), 0.0), max(float(lost.max()), 1.0)
        panels[0].set(ylabel="% of all filters", ylim=(-4, 138), yticks=range(0, 101, 20))
        room = 0.06 * (top - low)
        panels[1].set(ylabel="test error, change in points", ylim=(low - room, top + 2 * room))
        for name, (label, colour, line, mark) in LOOKS.items():
            _curve(panels[0], 100 * data["sparsity"].sel(measure=name), name)
            _curve(panels[1], lost.sel(measure=name), name)
            (first, last), paper = _common(data, name), float(data.paper.sel(measure=name))
            if last >= first:
                for axes, height in zip(panels, (105, top + room), strict=True):
                    axes.vlines(paper, axes.get_ylim()[0], height, color=colour, linewidth=0.9, linestyle=":")
                panels[0].text(paper, 107, "paper's", color=colour, fontsize=8.5, ha="center", va="bottom")
            if last > first:
                level = 100 * float(data["sparsity"].sel(measure=name, threshold=paper).mean())
                panels[0].plot([first, last], [level] * 2, color=colour, linewidth=9, alpha=0.2, solid_capstyle="butt")
            words = f"{label}: {_flat(data, name)}"
            panels[0].plot([], [], color=colour, linestyle=line, marker=mark, markersize=4, linewidth=1.4, label=words)
        for axes, title in zip(panels, ("inactive filters", _cost(data)), strict=True):
            axes.set(xscale="log", xlabel="threshold", title=title)
            axes.minorticks_off()
            axes.margins(x=0.06)
        panels[0].legend(loc="upper left", fontsize=9, handlelength=2.6)
        figure.suptitle(_title(data), x=0.01, ha="left", weight="bold", fontsize=11)
    return Picture("thresholds", figure, _caption(data), _alt(data, lost))


def harmless(data: xr.Dataset, measure: str) -> float:
    """The largest threshold up to which no network's test error rises by a point; nan if the smallest one does so."""
    rise = (data["error"] - data["error_before"]).sel(measure=measure).max("seed")
    below = (rise < SAME).values
    count = len(below) if below.all() else int(np.argmin(below))
    return float(data.threshold[count - 1]) if count else math.nan


def _curve(axes: Axes, values: xr.DataArray, name: str) -> None:
    _, colour, line, mark = LOOKS[name]
    x, y = values.threshold.values, values.transpose("threshold", "seed").values
    axes.plot(x, y.mean(axis=1), color=colour, linestyle=line, marker=mark, markersize=4, linewidth=1.4)
    if y.shape[1] > 1:
        found = [mean_interval(row, "", "seeds") for row in y]
        axes.fill_between(x, [f.low for f in found], [f.high for f in found], color=colour, alpha=0.12, linewidth=0)


def _common(data: xr.Dataset, name: str) -> tuple[float, float]:
    """The range that is flat in every network; nan where the paper's threshold is not among those swept."""
    of = data.sel(measure=name)
    return float(of["flat_low"].max()), float(of["flat_high"].min())


def _decades(data: xr.Dataset, name: str) -> float:
    low, high = _common(data, name)
    return round(math.log10(high) - math.log10(low), 1)


def _flat(data: xr.Dataset, name: str) -> str:
    decades = _decades(data, name)
    if math.isnan(decades):
        return "not swept at the paper's threshold"
    return f"flat over {decades:g} decades" if decades >= 1 else "flat over less than a decade"


def _title(data: xr.Dataset) -> str:
    one, other = (_flat(data, name) for name in LOOKS)
    return f"Inactive filters, both measures: {one}" if one == other else f"By activation {one}; by scale {other}"


def _cost(data: xr.Dataset) -> str:
    kept = float(np.min([harmless(data, name) for name in LOOKS]))
    return "zeroing costs a point or more" if math.isnan(kept) else f"zeroing costs under a point up to {kept:g}"


def _of(data: xr.Dataset) -> str:
    said = [str(data.attrs[name]) for name in ("model", "data") if data.attrs.get(name)]
    filters, images, test = (int(data[name].max()) for name in ("filters", "images", "test_images"))
    return (
        f"{' on '.join(said) or 'Trained networks'}: {filters:,} filters, {images:,} training and {test:,} test images"
    )


def _caption(data: xr.Dataset) -> str:
    seeds = data.sizes["seed"]
    n = f"mean and 95% t-interval over n = {seeds} seeds" if seeds > 1 else "n = 1 network, so no interval"
    return (
        f"{_of(data)}; {n}. By activation: largest absolute activation over the training set below the threshold; by scale: "
        "BatchNorm's abs(gamma) below it. Dotted: the paper's thresholds, 1e-12 and 1e-3. Broad line: the thresholds around "
        "the paper's over which the share changes by less than one point in every network. Right: these filters put out 0, "
        "also where their shift would have them put out a constant."
    )


def _alt(data: xr.Dataset, lost: xr.DataArray) -> str:
    parts = []
    for name, (label, *_) in LOOKS.items():
        share = 100 * data["sparsity"].sel(measure=name).mean("seed")
        cost = lost.sel(measure=name).mean("seed")
        ends = [(f"{float(data.threshold[k]):g}", f"{float(share[k]):.0f}%", f"{float(cost[k]):.1f}") for k in (0, -1)]
        parts.append(
            f"{label} {ends[0][1]} of the filters at {ends[0][0]} and {ends[1][1]} at {ends[1][0]}, {_flat(data, name)}, "
            f"the test error changing by {ends[0][2]} and {ends[1][2]} points"
        )
    return (
        f"Two panels against the threshold, share of inactive filters and change of the test error: {'; '.join(parts)}."
    )
