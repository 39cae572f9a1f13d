"""Regularizers under a learning-rate schedule: a silent weight, and the size that weights keep under noise."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from scipy.special import stdtrit

from figures.style import LINES, Picture, colour_of, label_ends, styled

_TITLES = {"constant": "constant rate", "step": "a tenth from half-way on", "cosine": "cosine to 0"}
# (optimizer, coupling) of the silent weights that are drawn.
_SILENT = {("adam", "l2"): "Adam + L2", ("rmsprop", "l2"): "RMSprop + L2", ("adam", "decoupled_lr"): "any rule, decay"}
_SIZED = {"decoupled_lr": ("decay x lr", colour_of("adam")), "corrected": ("decay x lr^2 / lr_max", colour_of("sgd"))}


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.scheduled.Scheduled.run`: a column a schedule; above weights without a gradient, below AdamW's sizes."""
    seeds, strength = data.sizes["seed"], data.attrs["strength"]
    quantile = float(stdtrit(seeds - 1, 0.975)) / seeds**0.5
    relative = data["mean_square"] * 2 * strength / data.attrs["lr"]
    with styled():
        figure, grid = plt.subplots(2, 3, sharex="row", sharey="row", figsize=(9.4, 6.2))
        for column, schedule in enumerate(map(str, data.schedule.values)):
            above, below = grid[:, column]
            at = data.sel(schedule=schedule)
            steps = at.silent_step.values
            above.plot(steps, 1 - at["gone"], color="0.75", linewidth=4, zorder=1)
            ends = {"1 - sum of rates": (float(1 - at["gone"][-1]), "0.45")}
            for (name, coupling), label in _SILENT.items():
                path = at["silent"].sel(optimizer=name, coupling=coupling)
                colour = "0.15" if coupling == "decoupled_lr" else colour_of(name)
                above.plot(steps, path, color=colour, linestyle=LINES[coupling])
                ends[label] = (float(path[-1]), colour)
            above.set(title=_TITLES[schedule], xlabel="steps without a gradient", ylim=(0, 1.05), xlim=(0, steps[-1]))
            rate = at["rates"] / data.attrs["lr"]
            below.plot(data.step, rate, color="0.75", linewidth=4, zorder=1)
            sizes = {"the rate": (float(rate[-1]), "0.45")}
            for coupling, (label, colour) in _SIZED.items():
                curve = relative.sel(schedule=schedule, sized=coupling)
                mean, half = curve.mean("seed"), curve.std("seed", ddof=1) * quantile
                below.plot(data.step, mean, color=colour, linestyle=LINES[coupling])
                below.fill_between(data.step, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
                sizes[label] = (float(mean[-1]), colour)
            top = 1.25 * max(1.0, float(relative.mean("seed").max()))
            below.set(xlabel="steps under noise", ylim=(0, top), xlim=(0, data.attrs["steps"]))
            if column == 2:
                lowest = 0.09  # labels that are spread about it stay above the ticks'
                label_ends(above, {text: (max(end / 1.05, lowest), c) for text, (end, c) in ends.items()}, gap=0.085)
                label_ends(below, {text: (max(end / top, lowest), c) for text, (end, c) in sizes.items()}, gap=0.085)
        grid[0, 0].set_ylabel("w")
        grid[1, 0].set_ylabel("E[w^2] x 2 strength / lr_max")
        middle = relative.sel(schedule="cosine").mean("seed").sel(step=data.attrs["steps"] / 2, method="nearest")
        rate = float(data["rates"].sel(schedule="cosine", step=middle.step) / data.attrs["lr"])
        plain, corrected = (float(middle.sel(sized=c)) for c in _SIZED)
        figure.suptitle(
            f"Half-way down a cosine: rate at {rate:.2f}, AdamW's size at {plain:.2f}, with corrected decay {corrected:.2f}",
            x=0.01, ha="left", weight="bold",
        )  # fmt: skip
    last = data["silent"].isel(silent_step=-1)
    left = "; ".join(
        f"{_TITLES[str(s)]}: "
        + ", ".join(f"{label} {float(last.sel(schedule=s, optimizer=n, coupling=c)):.2f}" for (n, c), label in _SILENT.items())
        for s in data.schedule.values
    )  # fmt: skip
    worst = float(np.abs(relative.mean("seed") / (data["followed"] * 2 * strength / data.attrs["lr"]) - 1).max())
    return Picture(
        "schedules",
        figure,
        f"Above: weights from 1, fresh, lr {data.attrs['silent_lr']:g}, strength {data.attrs['silent_strength']:g}; "
        f"deterministic, n = 1 path a curve. Below: AdamW (beta1 0, beta2 "
        f"{data.attrs['beta2']:g}) under noise, lr {data.attrs['lr']:g}, strength {strength:g}, relative to lr_max / "
        f"(2 strength); mean and 95% t-interval over n = {seeds} seeds of {data.attrs['weights']:,} weights, within "
        f"{worst:.0%} of the recursion E <- (1 - share)^2 E + lr_t^2. Broad grey: the sum of rates taken off, and lr_t.",
        f"Three columns, one a schedule. What is left of a weight without a gradient: {left}. Half-way down the cosine the "
        f"size is at {plain:.2f}, with corrected decay at {corrected:.2f} of its start.",
    )
