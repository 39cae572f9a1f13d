"""How much harder L2 pulls than weight decay, against the size of the gradient: simulation over the closed form."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from dynamics.door import checked
from dynamics.theory.closed import l2_over_decay
from evidence.claim import Estimate, ratio_interval
from figures.shares import intervals
from figures.style import Picture, colour_of, heading, label_ends, label_of, marker_of, styled


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.selective.Selective.run`, at the largest arrival: one mark an optimizer and gradient size."""
    arrival, strength = float(data.arrival[-1]), data.attrs["strength"]
    at = data.sel(arrival=arrival)
    sizes = at["size"].values
    low, high = float(sizes.min()) / 1.6, float(sizes.max()) * 1.6
    with styled():
        figure, axes = plt.subplots()
        grid = np.geomspace(low, high, 200)
        axes.plot(grid, [l2_over_decay(1.0, s, strength, 1.0, 1e-8) for s in grid], color="0.6", linewidth=5, zorder=1)
        ratios: dict[str, tuple[float, float]] = {}
        ends = {"1 / sqrt(v)": (0.06, "0.4")}
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(0.15, 30))
        for k, name in enumerate(str(n) for n in at.optimizer.values):
            values, errors = intervals(at.ratio.sel(optimizer=name).transpose("size", "seed").values, _interval)
            shift = 1.04 ** (k - 2)  # side by side, or equal values would hide each other
            axes.errorbar(
                sizes * shift,
                values,
                errors,
                fmt=marker_of(k),
                color=colour_of(name),
                markersize=5,
                capsize=2,
                zorder=3,
            )
            height = axes.transAxes.inverted().transform(axes.transData.transform((sizes[-1], values[-1])))[1]
            ratios[name] = (values[0], values[-1])
            ends[label_of(name)] = (float(height) if np.isfinite(height) else 0.0, colour_of(name))
        axes.axhline(1, color="0.3", linewidth=0.8)
        axes.text(low * 1.05, 1.08, "L2 stronger", color="0.3", fontsize=8.5, va="bottom")
        axes.text(low * 1.05, 0.92, "L2 weaker", color="0.3", fontsize=8.5, va="top")
        axes.set(xlabel="root mean square of the gradient, sigma sqrt(p)", ylabel="pull of L2 / pull of weight decay")
        named = "adam" if "adam" in at.optimizer else str(at.optimizer.values[0])
        adam = np.log(at.ratio.sel(optimizer=named)).mean("seed").values
        if adam[0] > 0 > adam[-1]:
            crossing = float(np.exp(np.interp(0, -adam, np.log(sizes))))
            heading(
                figure,
                f"Under {label_of(named)}, L2 is the stronger pull only while gradients stay below {crossing:.2f}",
            )
        else:
            heading(
                figure,
                f"Under {label_of(named)}, L2 pulls {np.exp(adam.min()):.2g} to {np.exp(adam.max()):.2g} times as hard as decay",
            )
        label_ends(axes, ends)
    seeds, lanes = data.sizes["seed"], data.attrs["weights"]
    return Picture(
        "crossover",
        figure,
        f"Displacement by L2 / by weight decay x lr of strength {strength:g}, gradient noise arriving at every step; geometric "
        f"mean and 95% t-interval over n = {seeds} seeds of {lanes} weights (most intervals are smaller than their mark). "
        "Grey: the closed form for Adam and RMSprop.",
        "Ratio of pulls against gradient size on log axes, from the smallest to the largest size: "
        + "; ".join(f"{label_of(n)} {first:.2g} to {last:.2g}" for n, (first, last) in ratios.items())
        + ".",
    )


def _interval(ratios: np.ndarray, unit: str, over: str) -> Estimate:
    """Of the ratios of a cell, NaN where one of the two pulls is 0, as a rule of signs has it under a small gradient."""
    if (ratios > 0).all():
        return ratio_interval(ratios, unit, over)
    return Estimate(np.nan, np.nan, np.nan, len(ratios), unit, over)
