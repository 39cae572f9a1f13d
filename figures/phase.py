"""A phase diagram in three panels: who dies, when, and what is left; the computed boundary over each."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from figures.style import WIDTH, Picture, heading, styled
from synthetic.phase import LABELS, crossing

# Of each diagram: what it asks, and what its rows are.
_ASKED = {
    "selectivity": ("How rare must gradients be for Adam + L2 to kill a feature, at each strength?", "strengths"),
    "rate": ("How strong must L2 be for Adam to kill a feature, at each learning rate?", "learning rates"),
    "batch": ("How rare must gradients be for Adam + L2 to kill a feature, at each batch size?", "batch sizes"),
    "epoch": ("How long must an epoch be for Adam + L2 to kill a feature, at each memory of squares?", "memories"),
}


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.phase.Phase.run`: share dead, steps to death, final size, each (y, x) on logarithmic axes."""
    a = data.attrs
    panels = {
        "dead": ("share of features that died", "cividis", data.dead.values, (0.0, 1.0)),
        "time": ("steps to death, median", "viridis_r", data.time.values, (0.0, float(a["steps"]))),
        "size": ("final size, mean", "magma", data["size"].values, (0.0, float(data["size"].max()) or 1.0)),
    }
    asked, rows = _ASKED[a["diagram"]]
    with styled():
        figure, found = plt.subplot_mosaic(
            [["dead", "dead"], ["time", "size"]], figsize=(WIDTH, 6.6), height_ratios=(6, 5), sharex=True, sharey=True
        )
        for axes, (title, colours, values, ends) in zip(found.values(), panels.values(), strict=True):
            axes.set(xscale="log", yscale="log", xlabel="", ylabel=LABELS[a["y"]])
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
        found["dead"].tick_params(labelbottom=True)
        found["size"].set_ylabel("")
        _name(found["dead"], data)
        figure.supxlabel(LABELS[a["x"]], fontsize=10)
        heading(figure, f"{asked} {_finding(data, rows)}")
    constants = {"lr": "lr", "strength": "strength", "arrival": "arrival", "forgetting": "1 - beta2"}
    shown = ", ".join(f"{word} {a[name]:.3g}" for name, word in constants.items() if name in a)
    return Picture(
        f"phase_{a['diagram']}",
        figure,
        f"Adam + L2 for {a['steps']:,} steps: {shown}, {'gradient' if a['x'] == 'epoch' else 'gradient on arrival'} {a['pull']:g} "
        f"(w - 1) + noise of standard deviation {a['sigma']:g}; dead at {a['floor']:g} for good. {data.sizes['x']} x "
        f"{data.sizes['y']} settings, n = {a['seeds']} seeds each ({a['lanes']:,} lanes). Line: where a gap "
        "between gradients long enough to kill has probability 1/2, computed. Grey: fewer than half died.",
        f"Maps. {asked} {_finding(data, rows)}. {float(data.dead.mean()):.0%} of all lanes died.",
    )


def _boundary(axes: Axes, data: xr.Dataset) -> None:
    known = data.boundary.notnull().values
    x, y = data.boundary.values[known], data.y.values[known]
    axes.plot(x, y, color="white", linewidth=3.5)
    axes.plot(x, y, color="black", linewidth=1.6)


def _ends(ends: tuple[float, float]) -> list[str]:
    middle = (ends[0] + ends[1]) / 2
    return [f"{x:,.0f}" if x >= 100 else f"{x:.2g}" for x in (ends[0], middle, ends[1])]


def _name(axes: Axes, data: xr.Dataset) -> None:
    """A word on the dark side of the line, where the living are, at its middle."""
    known = data.boundary.dropna("y")
    if known.size:
        x, y = float(known[known.size // 2]), float(known.y[known.size // 2])
        dies_left = float(data.dead[:, 0].mean()) > float(data.dead[:, -1].mean())
        at, side = (x * 1.6, "left") if dies_left else (x / 1.6, "right")
        axes.text(at, y, "computed", color="white", fontsize=10, ha=side, va="top")


def _finding(data: xr.Dataset, rows: str) -> str:
    """The middle and the extremes of the rows that the boundary crosses, and how many those are."""
    ratio = (crossing(data) / data.boundary).dropna("y").values
    if not ratio.size:
        return f"{float(data.dead.mean()):.0%} of these lanes die; no row runs from dead to alive across the computed boundary"
    typical = float(np.exp(np.median(np.log(ratio))))
    return (
        f"Half are dead at {typical:.2f} times what is computed ({ratio.min():.2f} to {ratio.max():.2f} over the {ratio.size} of "
        f"{data.sizes['y']} {rows} that cross it)"
    )
