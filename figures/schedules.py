"""Regularizers under a learning-rate schedule: a silent weight, and the size that weights keep under noise."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from dynamics.door import checked
from figures.shares import intervals
from figures.style import LINES, WIDTH, Picture, colour_of, heading, styled

_TITLES = {"constant": "constant rate", "step": "a tenth from half-way on", "cosine": "cosine to 0"}
# (optimizer, coupling) of the silent weights that are drawn.
_SILENT = {("adam", "decoupled_lr"): "any rule, decay", ("adam", "l2"): "Adam + L2", ("rmsprop", "l2"): "RMSprop + L2"}
_SIZED = {"decoupled_lr": ("decay x lr", colour_of("adam")), "corrected": ("decay x lr^2 / lr_max", colour_of("sgd"))}


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.scheduled.Scheduled.run`: a row a schedule; left weights without a gradient, right AdamW's sizes."""
    seeds, strength = data.sizes["seed"], data.attrs["strength"]
    relative = data["mean_square"] * 2 * strength / data.attrs["lr"]
    drawn = {of: label for of, label in _SILENT.items() if of[0] in data.optimizer}
    schedules = [str(s) for s in data.schedule.values]
    with styled():
        figure, grid = plt.subplots(
            len(schedules), 2, sharex="col", sharey="col", squeeze=False, figsize=(WIDTH, 1.2 + 2.0 * len(schedules))
        )
        top = 1.25 * max(1.0, float(relative.mean("seed").max()))
        for (left, right), schedule in zip(grid, schedules, strict=True):
            at = data.sel(schedule=schedule)
            steps, rate = at.silent_step.values, at["rates"] / data.attrs["lr"]
            left.plot(steps, 1 - at["gone"], color="0.75", linewidth=5, zorder=1, label="1 - sum of rates")
            for (name, coupling), label in drawn.items():
                colour = "0.15" if coupling == "decoupled_lr" else colour_of(name)
                path = at["silent"].sel(optimizer=name, coupling=coupling)
                left.plot(steps, path, color=colour, linestyle=LINES[coupling], label=label)
            right.plot(data.step, rate, color="0.75", linewidth=5, zorder=1, label="the rate / lr_max")
            for coupling, (label, colour) in _SIZED.items():
                curve = relative.sel(schedule=schedule, sized=coupling)
                mean, (down, up) = intervals(curve.transpose("step", "seed").values)
                right.plot(data.step, mean, color=colour, linestyle=LINES[coupling], label=label)
                right.fill_between(data.step, mean - down, mean + up, color=colour, alpha=0.2, linewidth=0)
            left.set(title=_TITLES[schedule], ylim=(0, 1.05), xlim=(0, steps[-1]), ylabel="weight left")
            right.set(ylim=(0, top), xlim=(0, data.attrs["steps"]), ylabel="size of weights")
        grid[-1, 0].set_xlabel("steps without a gradient")
        grid[-1, 1].set_xlabel("steps under noise")
        for axes in grid[0]:
            axes.legend(loc="lower left", fontsize=9)
        cosine = relative.sel(schedule="cosine").mean("seed")
        at_end = cosine.isel(step=-1)
        middle = cosine.sel(step=data.attrs["steps"] / 2, method="nearest")
        rate = float(data["rates"].sel(schedule="cosine", step=middle.step) / data.attrs["lr"])
        plain, corrected = (float(middle.sel(sized=c)) for c in _SIZED)
        last_plain, last_corrected = (float(at_end.sel(sized=c)) for c in _SIZED)
        heading(
            figure,
            f"When a cosine has brought the rate to {rate:.2f}, AdamW's weights are at {plain:.2f} of their size, at its end at "
            f"{last_plain:.2f}; with decay x lr^2 / lr_max at {corrected:.2f} and {last_corrected:.2f}",
        )
    last = data["silent"].isel(silent_step=-1)
    left_over = "; ".join(
        f"{_TITLES[s]}: "
        + ", ".join(f"{label} {float(last.sel(schedule=s, optimizer=n, coupling=c)):.2f}" for (n, c), label in drawn.items())
        for s in schedules
    )  # fmt: skip
    worst = float(np.abs(relative.mean("seed") / (data["followed"] * 2 * strength / data.attrs["lr"]) - 1).max())
    return Picture(
        "schedules",
        figure,
        f"Left: weights from 1, fresh, lr {data.attrs['silent_lr']:g}, strength {data.attrs['silent_strength']:g}; "
        f"deterministic, n = 1 path a curve. Right: E[w^2] under AdamW (beta1 0, beta2 {data.attrs['beta2']:g}) and noise, lr "
        f"{data.attrs['lr']:g}, strength {strength:g}, relative to lr_max / (2 strength); mean and 95% t-interval over n = {seeds} "
        f"seeds of {data.attrs['weights']:,} weights, within {worst:.0%} of the recursion E <- (1 - share)^2 E + lr_t^2.",
        f"Three rows, one a schedule. What is left of a weight without a gradient: {left_over}. Half-way down the cosine the "
        f"size is at {plain:.2f}, with corrected decay at {corrected:.2f} of its start.",
    )
