"""How many filters are inactive against the threshold that calls them so, and what is lost when they are put to 0."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from evidence.claim import mean_interval
from figures.style import WIDTH, Picture, heading, styled
from fullscale.thresholds import SAME

_FAR = 3.0  # points of test error: what changes it by more is told at the edge
# By measure: name, colour, line, mark.
LOOKS = {"activation": ("by activation", "#0072B2", "-", "o"), "scale": ("by scale", "#D55E00", "--", "s")}


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `fullscale.thresholds.by_threshold`: above the share of inactive filters with the range over which it is flat, below
    the change of the test error, up to a few points; mean and interval over seeds where there are two or more."""
    lost = 100 * (data["error"] - data["error_before"])
    with styled():
        figure, panels = plt.subplots(2, 1, figsize=(WIDTH, 6.4), sharex=True)
        panels[0].set(ylabel="% of all filters", ylim=(-4, 104), title="inactive filters")
        panels[1].set(
            ylabel="test error, change in points", ylim=(-_FAR, 1.25 * _FAR), title=_cost(data), xlabel="threshold"
        )
        for name, (label, colour, line, mark) in LOOKS.items():
            _curve(panels[0], 100 * data["sparsity"].sel(measure=name), name)
            _curve(panels[1], lost.sel(measure=name), name)
            (first, last), paper = _common(data, name), float(data.paper.sel(measure=name))
            if last >= first:
                for axes in panels:
                    axes.axvline(paper, color=colour, linewidth=0.9, linestyle=":")
                level = 100 * float(data["sparsity"].sel(measure=name, threshold=paper).mean())
                panels[0].text(
                    paper,
                    0.99,
                    " paper's",
                    color=colour,
                    fontsize=9,
                    va="top",
                    transform=panels[0].get_xaxis_transform(),
                )
                if last > first:
                    panels[0].plot(
                        [first, last], [level] * 2, color=colour, linewidth=9, alpha=0.2, solid_capstyle="butt"
                    )
            words = f"{label}: {_flat(data, name)}"
            panels[0].plot([], [], color=colour, linestyle=line, marker=mark, markersize=4, linewidth=1.4, label=words)
        _outside(panels[1], lost)
        for axes in panels:
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.margins(x=0.06)
        figure.legend(
            handles=panels[0].get_legend_handles_labels()[0], loc="outside lower left", fontsize=9, handlelength=2.6
        )
        heading(figure, _title(data))
    return Picture("thresholds", figure, _caption(data), _alt(data, lost))


def _outside(axes: Axes, lost: xr.DataArray) -> None:
    """An arrow and its number at the edge for each mean change that the panel does not hold, by threshold."""
    for threshold in lost.threshold.values:
        mean = lost.sel(threshold=threshold).mean("seed")
        far = mean[np.abs(mean.values) > _FAR]
        if far.size:
            up = float(far.mean()) > 0
            edge, mark = (1.08 * _FAR, "^") if up else (-0.85 * _FAR, "v")
            axes.plot(threshold, edge, mark, color="0.3", markersize=6)
            numbers = sorted({f"{float(x):+.0f}" for x in far}, key=float)
            axes.annotate(
                "\n".join(numbers), (threshold, edge), (-6, 0), textcoords="offset points", color="0.3", fontsize=9,
                ha="right", va="center",
            )  # fmt: skip


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
        "the paper's over which the share changes by less than one point in every network. Below: these filters put out 0, "
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
