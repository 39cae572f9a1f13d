"""Filters silenced against the test error of the same network, over learning rates and strengths: a panel an optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dynamics.couplings import COUPLINGS
from dynamics.door import checked
from dynamics.rules import RULES
from figures.shares import intervals
from figures.style import WIDTH, Picture, colour_of, heading, label_of, marker_of, styled

_COLUMNS = 2
# Points of test error above the worst of the lowest errors beyond which a cell is drawn at the edge.
_FAR = 15.0


@checked
def draw(data: xr.Dataset) -> Picture:
    """Trained networks: a point a cell, a ring around the optimizer's lowest mean held-out error, all other points in grey.

    data: `inactive`, `test_error` and `held_out_error` in percent over (optimizer, coupling, cell, seed), NaN where a run
    diverged; coordinates `lr` and `strength` over (optimizer, coupling, cell), NaN where there is no such cell; attributes
    `network` and `data`, for the caption. A cell with a run that diverged is left out, and counted.
    """
    axes_order = ("optimizer", "coupling", "cell", "seed")
    inactive, error = (data[name].transpose(*axes_order) for name in ("inactive", "test_error"))
    lr, strength = (data[name].broadcast_like(error.isel(seed=0, drop=True)) for name in ("lr", "strength"))
    whole = (inactive.notnull() & error.notnull()).all("seed")
    lost = int((lr.notnull() & ~whole).sum())
    names = [str(n) for n in data["optimizer"].values if bool(whole.sel(optimizer=n).any())]
    couplings = [str(c) for c in data["coupling"].values]
    held_out = data["held_out_error"].transpose(*axes_order).where(whole)
    best = {name: _lowest(held_out.sel(optimizer=name)) for name in names}
    mean = {of: values.where(whole).mean("seed") for of, values in (("x", error), ("y", inactive))}
    at = {name: {of: float(values.sel(optimizer=name, **best[name])) for of, values in mean.items()} for name in names}
    edge = max((p["x"] for p in at.values()), default=0.0) + _FAR
    beyond = int((mean["x"] > edge).sum())
    with styled():
        rows = max(1, -(-len(names) // _COLUMNS))
        figure, grid = plt.subplots(
            rows, _COLUMNS, sharex=True, sharey=True, squeeze=False, figsize=(WIDTH, 1.5 + 1.75 * rows)
        )
        for axes, name in zip(grid.flat, names, strict=False):
            for k, coupling in enumerate(couplings):
                axes.plot(
                    mean["x"].sel(coupling=coupling).clip(max=edge).values.ravel(), mean["y"].sel(coupling=coupling).values.ravel(),
                    marker_of(k), color="0.85", markersize=3.5, markeredgewidth=0, zorder=1,
                )  # fmt: skip
                here = {"optimizer": name, "coupling": coupling}
                kept = whole.sel(here).values
                _points(axes, error.sel(here).values[kept], inactive.sel(here).values[kept], colour_of(name), k, edge)
            axes.plot(at[name]["x"], at[name]["y"], "o", color="none", markeredgecolor="black", markersize=12, zorder=4)
            axes.set_title(label_of(name), color=colour_of(name))
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        top = max(1.0, float(mean["y"].max()) if names else 0.0)
        grid[0, 0].set_ylim(-0.09 * top, 1.12 * top)
        grid[0, 0].set_xlim(right=min(grid[0, 0].get_xlim()[1], edge + 0.05 * _FAR))
        for axes in grid[-1]:
            axes.set_xlabel("test error, %")
        figure.supylabel("filters inactive, %", fontsize=10)
        handles = [
            Line2D([], [], linestyle="", marker=marker_of(k), color="0.3", markerfacecolor=_face("0.3", k), label=label)
            for k, label in enumerate(COUPLINGS[c].label for c in couplings)
        ]
        ring = Line2D([], [], linestyle="", marker="o", color="none", markeredgecolor="black", markersize=10)
        ring.set_label("lowest held-out error")
        figure.legend(handles=[*handles, ring], loc="outside lower center", ncols=2, fontsize=9)
        heading(figure, _title(at))
    seeds = data.sizes["seed"]
    note = f"; {lost} more with a run that diverged left out" if lost else ""
    note += f"; {beyond} at the right edge have a test error above {edge:.0f}%" if beyond else ""
    chosen = "; ".join(
        f"{label_of(n)} {float(lr.sel(optimizer=n, **best[n])):g}, {_kind(best[n], strength.sel(optimizer=n, **best[n]))}"
        for n in names
    )
    return Picture(
        "matched",
        figure,
        f"{data.attrs['network']} on {data.attrs['data']}: a point a learning rate and strength, {int(whole.sum())} in all, mean "
        f"and 95% t-interval over n = {seeds} seeds{note}. Inactive: no activation of 1e-12 or more on any training image. "
        f"Grey: the other optimizers. Learning rate and regularizer of the lowest held-out errors: {chosen or 'none'}.",
        "Panels of the share of inactive filters against test error, one an optimizer. At the lowest held-out error: "
        + ("; ".join(f"{label_of(n)} {p['y']:.1f}% inactive, {p['x']:.1f}% error" for n, p in at.items()) or "none")
        + ".",
    )


def _lowest(error: xr.DataArray) -> dict[str, Any]:
    """Coupling and cell of the lowest mean error: error (coupling, cell, seed)."""
    mean = error.mean("seed").stack(at=("coupling", "cell"))
    coupling, cell = mean["at"].values[int(np.nanargmin(mean.values))]
    return {"coupling": coupling, "cell": cell}


def _kind(best: dict[str, Any], strength: xr.DataArray) -> str:
    label = COUPLINGS[str(best["coupling"])].label
    return f"{label} {float(strength):g}" if float(strength) else label


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, mark: int, edge: float) -> None:
    """Means of cells, x and y (cell, seed), with intervals both ways; a share has no less than none and no more than all. What
    lies beyond the edge is an arrow there."""
    far = x.mean(axis=1) > edge
    axes.plot(np.full(far.sum(), edge), y[far].mean(axis=1), ">", color=colour, markersize=5, zorder=3)
    (at, across), (height, up) = intervals(x[~far]), intervals(y[~far])
    if not at.size:
        return
    up = np.minimum(up, np.stack([height, 100 - height]))
    axes.errorbar(
        at, height, up, across, fmt=marker_of(mark), color=colour, markersize=5, elinewidth=0.8, zorder=3,
        markerfacecolor=_face(colour, mark),
    )  # fmt: skip


def _face(colour: str, mark: int) -> str:
    return "white" if mark % 2 else colour


def _title(at: dict[str, dict[str, float]]) -> str:
    adaptive = [name for name in at if name in RULES and RULES[name].adaptive]
    others = [name for name in at if name not in adaptive]
    words = {"the adaptive optimizers": adaptive, " and ".join(map(label_of, others)): others}
    said = [f"{who} leave {_range([at[n]['y'] for n in names])}" for who, names in words.items() if names]
    if not said:
        return "No cell without a run that diverged"
    return f"At the learning rate and regularizer of their lowest held-out error, {', '.join(said)} of the filters inactive"


def _range(shares: list[float]) -> str:
    low, high = f"{min(shares):.0f}%", f"{max(shares):.0f}%"
    return low if low == high else f"{low} to {high}"
