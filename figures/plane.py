"""The (gamma, beta) plane of a BatchNorm + ReLU feature: where three updates lead, and the cone from which nothing returns."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from dynamics.door import checked
from figures.style import WIDTH, Picture, colour_of, heading, styled

_TITLES = {"sgd": "SGD + L2", "adamw": "AdamW", "adam_l2": "Adam + L2"}
_PATHS = {"sgd": colour_of("sgd"), "adamw": colour_of("nesterov"), "adam_l2": colour_of("adam")}


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.plane.Plane.run`: a panel an update, its flow in grey, a path from each start."""
    slope, bound = data.attrs["largest"], data.attrs["bound"]
    x, y = data["x"].values, data["y"].values
    edge = np.array([0.0, x[-1]])
    entered, last = _entered(data), int(data["step"][-1])
    outside = int((~_dead(data).isel(step=0)).isel(update=0).sum())
    with styled():
        figure, panels = plt.subplots(1, 3, sharex=True, sharey=True, figsize=(WIDTH, 4.0))
        for axes, name in zip(panels, map(str, data["update"].values), strict=True):
            at = data.sel(update=name)
            axes.fill_between(edge, -slope * edge, y[0], color="0.88", linewidth=0, zorder=0)
            axes.plot(edge, -bound * edge, color="0.45", linestyle=":", linewidth=1.2)
            axes.streamplot(
                x, y, at["field_gamma"].values, at["field_beta"].values, color="0.62", density=0.5, linewidth=0.6,
                arrowsize=0.7, zorder=1,
            )  # fmt: skip
            for gamma, beta in zip(at["gamma"].values, at["beta"].values, strict=True):
                axes.plot(gamma, beta, color=_PATHS[name], linewidth=1.8, zorder=3)
                axes.plot(gamma[:1], beta[:1], "o", color=_PATHS[name], markersize=4.5, zorder=4)
                axes.plot(
                    gamma[-1:], beta[-1:], "s", color=_PATHS[name], markerfacecolor="white", markersize=4.5, zorder=5
                )
            axes.set(xlim=(-0.05 * x[-1], x[-1]), ylim=(y[0], y[-1]), xlabel="gamma", title=_TITLES[name])
            axes.grid(visible=False)
            axes.text(
                0.065, 0.02, "dead cone", transform=axes.transAxes, fontsize=9, color="0.25",
                bbox={"facecolor": "0.88", "edgecolor": "none", "pad": 1}, zorder=6,
            )  # fmt: skip
        panels[0].set_ylabel("beta")
        told = ", ".join(f"{_TITLES[name]} {number}" for name, number in entered.items())
        heading(figure, f"Of {outside} features outside the dead cone, in it after {last:,} steps: {told}")
    return Picture(
        "plane",
        figure,
        f"A feature's scale and shift over {last:,} steps (dots: starts; squares: ends) at lr {data.attrs['lr']:g}, strength "
        f"{data.attrs['strength']:g}; deterministic, n = {data.sizes['start']} starts. Grey lines: mean movement of the first "
        f"{data.attrs['look']} steps from fresh state. Shaded: beta <= -{slope:g} abs(gamma), no image excites the feature and no "
        f"gradient comes; below the dotted line, beta = -sqrt({data.attrs['count']} - 1) abs(gamma), that is certain on every "
        "batch. Outside, the loss pulls the mean activation towards a teacher's.",
        f"Three panels of beta against gamma with streamlines and paths. Of {outside} starts outside the dead cone, in it at the "
        f"end: {told}.",
    )


def _dead(data: xr.Dataset) -> xr.DataArray:
    dead: xr.DataArray = data["beta"] <= -abs(data["gamma"]) * data.attrs["largest"]
    return dead


def _entered(data: xr.Dataset) -> dict[str, int]:
    """How many starts outside the dead cone are in it at the last step."""
    dead = _dead(data)
    count = (dead.isel(step=-1) & ~dead.isel(step=0)).sum("start")
    return {str(name): int(count.sel(update=name)) for name in data["update"].values}
