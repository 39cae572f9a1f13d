"""Where a selective weight comes to rest, under L2 and under weight decay, for five rules."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from figures.shares import intervals
from figures.style import WIDTH, Picture, colour_of, heading, label_of, marker_of, styled

_TITLES = {"l2": "L2", "decoupled_lr": "decay x lr"}
_LOSSES = {"restoring": "loss pulls to 1", "constant": "loss pulls evenly"}


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.rest.Rest.run`: a row a loss, a column a coupling; marks are simulated, lines the closed forms."""
    critical, rules = data.attrs["critical"], [str(name) for name in data.optimizer.values]
    times = data.arrival.values / critical
    with styled():
        figure, panels = plt.subplots(2, 2, sharex=True, sharey="row", figsize=(WIDTH, 6.6))
        for row, loss in zip(panels, _LOSSES, strict=True):
            for axes, coupling in zip(row, _TITLES, strict=True):
                axes.set(xscale="log", yscale="linear" if loss == "restoring" else "log")
                axes.axvline(1, color="0.6", linewidth=0.8, zorder=0)
                axes.set_title(f"{_TITLES[coupling]}, {_LOSSES[loss]}", fontsize=10)
                for k, rule in enumerate(rules):
                    at = data.sel(optimizer=rule, loss=loss, coupling=coupling)
                    _curve(axes, at, times * 1.04 ** (k - 2), rule, marker_of(k))
            row[0].set_ylabel("weight at rest")
        bottom, top = panels[0, 0].get_ylim()
        panels[0, 0].set_ylim(min(0.0, bottom), max(1.1, top))
        panels[0, 0].set_xlim(times.max() * 1.3, times.min() / 1.3)
        ticks = [t for t in (0.5, 1, 2, 4, 10, 20, 40) if times.min() / 1.3 <= t <= times.max() * 1.3]
        panels[0, 0].set_xticks(ticks, [f"{t:g}" for t in ticks])
        panels[0, 0].minorticks_off()
        panels[0, 0].legend(loc="lower left", fontsize=9)
        figure.supxlabel("arrivals, in critical ones: p / (1 - sqrt(beta2))", fontsize=10)
        held = data["rest"].sel(loss="restoring").sel(arrival=critical, method="nearest").mean("seed")
        shown = [r for r in ("adam", "sgd") if r in rules] or rules[:1]
        left = [f"{float(held.sel(optimizer=r, coupling='l2')):.2f} of a weight under {label_of(r)}" for r in shown]
        decay = float(held.sel(optimizer=shown[0], coupling="decoupled_lr"))
        told = " and ".join(left[:1] + [words.replace(" of a weight", "") for words in left[1:]])
        heading(
            figure,
            f"At the critical arrival L2 leaves {told}, weight decay {decay:.2f} under {label_of(shown[0])}",
        )
    seeds, lanes = data.sizes["seed"], data.attrs["weights"]
    return Picture(
        "rest",
        figure,
        f"A gradient arrives with probability p: w - 1 on top, -1 below. Marks: the weight at rest, mean and 95% t-interval over "
        f"n = {seeds} seeds of {lanes} weights and {data.attrs['counted']:,} steps, side by side where they coincide; lines: "
        f"closed forms in their regime. Strength {data.attrs['restoring']:g} (1 - sqrt(beta2)) on top, {data.attrs['strength']:g} "
        f"below; beta2, or RMSprop's alpha, {data.attrs['beta2']:g}. Lion has a closed form only "
        "against weight decay and an even pull.",
        f"Four panels of the weight at rest against arrivals from {times[-1]:.2g} to {times[0]:.2g} critical ones. At the critical "
        "arrival under a loss that pulls to 1, L2 and weight decay: "
        + "; ".join(
            f"{label_of(r)} {' and '.join(f'{x:.2f}' for x in held.sel(optimizer=r, coupling=list(_TITLES)).values)}"
            for r in rules
        )
        + ".",
    )


def _curve(axes: Axes, at: xr.Dataset, x: np.ndarray, rule: str, marker: str) -> None:
    mean, errors = intervals(at["rest"].transpose("arrival", "seed").values)
    axes.errorbar(
        x, mean, errors, fmt=marker, color=colour_of(rule), markersize=4, capsize=2, zorder=3, label=label_of(rule)
    )
    axes.plot(x, at["predicted"].values, color=colour_of(rule), linewidth=1.2, zorder=2)
