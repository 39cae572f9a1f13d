"""A phase diagram in three panels: who dies, when, and what is left; the computed boundary over each."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from figures.shares import heading
from figures.style import Picture, styled
from synthetic.phase import LABELS, crossing

_NAMES = {
    "selectivity": "how selective a feature may be",
    "rate": "learning rate and strength",
    "batch": "batch size and selectivity",
    "epoch": "length of the epoch and Adam's memory",
}


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.phase.Phase.run`: share dead, steps to death, final size, each (y, x) on logarithmic axes."""
    a = data.attrs
    panels = {
        "dead": ("share dead", "cividis", data.dead.values, (0.0, 1.0)),
        "time": ("steps to death, median", "viridis_r", data.time.values, (0.0, float(a["steps"]))),
        "size": ("final size, mean", "magma", data["size"].values, (0.0, max(1.0, float(data["size"].max())))),
    }
    with styled():
        figure, row = plt.subplots(1, 3, figsize=(10.6, 3.9), sharey=True, sharex=True)
        for axes, (title, colours, values, ends) in zip(row, panels.values(), strict=True):
            axes.set(xscale="log", yscale="log", xlabel=LABELS[a["x"]].replace(", ", ",\n"))
            axes.grid(False)
            mesh = axes.pcolormesh(
                data.x.values, data.y.values, values, cmap=colours, vmin=ends[0], vmax=ends[1], rasterized=True
            )
            axes.set_facecolor("0.88")
            bar = figure.colorbar(mesh, ax=axes, location="top", aspect=30, pad=0.02)
            bar.set_label(title, weight="bold", loc="left")
            bar.set_ticks([ends[0], (ends[0] + ends[1]) / 2, ends[1]], labels=_ends(ends))
            bar.outline.set_visible(False)
            _boundary(axes, data)
        row[0].set_ylabel(LABELS[a["y"]])
        _name(row[2], data)
        heading(figure, _finding(data))
    constants = {"lr": "lr", "strength": "strength", "arrival": "arrival", "forgetting": "1 - beta2"}
    shown = ", ".join(f"{word} {a[name]:.3g}" for name, word in constants.items() if name in a)
    return Picture(
        f"phase_{a['diagram']}",
        figure,
        f"Adam + L2 for {a['steps']:,} steps: {shown}, {'gradient' if a['x'] == 'epoch' else 'gradient on arrival'} {a['pull']:g} "
        f"(w - 1) + noise of standard deviation {a['sigma']:g}; dead at {a['floor']:g} for good. {data.sizes['x']} x "
        f"{data.sizes['y']} settings, n = {a['seeds']} seeds each ({a['lanes']:,} lanes). Line: where a gap "
        "between gradients long enough to kill has probability 1/2, computed. Grey: fewer than half died.",
        f"Maps of {_NAMES[a['diagram']]}: {_finding(data)}. {float(data.dead.mean()):.0%} of all lanes died.",
    )


def _boundary(axes: Axes, data: xr.Dataset) -> None:
    known = data.boundary.notnull().values
    x, y = data.boundary.values[known], data.y.values[known]
    axes.plot(x, y, color="white", linewidth=3.5)
    axes.plot(x, y, color="black", linewidth=1.6)


def _ends(ends: tuple[float, float]) -> list[str]:
    middle = (ends[0] + ends[1]) / 2
    return [f"{x:,.0f}" if x >= 100 else f"{x:.3g}" for x in (ends[0], middle, ends[1])]


def _name(axes: Axes, data: xr.Dataset) -> None:
    """A word on the dark side of the line, where the dead are, at its middle."""
    known = data.boundary.dropna("y")
    if known.size:
        x, y = float(known[known.size // 2]), float(known.y[known.size // 2])
        dies_left = float(data.dead[:, 0].mean()) > float(data.dead[:, -1].mean())
        at, side = (x / 1.2, "right") if dies_left else (x * 1.2, "left")
        axes.text(at, y, "computed", color="white", fontsize=9, ha=side, va="bottom")


def _finding(data: xr.Dataset) -> str:
    ratio = (crossing(data) / data.boundary).dropna("y").values
    if not ratio.size:
        return f"Of these settings {float(data.dead.mean()):.0%} of the lanes die"
    typical = float(np.exp(np.median(np.log(ratio))))
    return f"Half are dead at {typical:.2f} times the computed boundary (median of {ratio.size} rows)"
