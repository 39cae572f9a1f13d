"""Filters alive against epochs in a real CNN: which optimizers silence filters, with L2 and without."""

from __future__ import annotations

import math

import xarray as xr
from matplotlib import pyplot as plt

from dynamics.door import checked
from evidence.claim import mean_interval
from figures.style import LINES, Picture, colour_of, heading, label_ends, label_of, styled


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `fullscale.digits_study.curves_and_ends`: mean and interval over seeds; solid with L2, dotted without a regularizer."""
    strength = float(data.strength.max())
    alive = 100 * (1 - data["inactive_by_activation"])
    lowest = float(alive.min())
    names = [str(n) for n in data.optimizer.values]
    with styled():
        figure, axes = plt.subplots()
        bottom = max(0.0, lowest - 5)
        axes.set(xlim=(float(data.epoch[0]), float(data.epoch[-1])), ylim=(bottom, 101.5))
        ends: dict[str, tuple[float, str]] = {}
        for name in names:
            for value, line in ((strength, LINES["l2"]), (0.0, LINES["none"])):
                curve = alive.sel(optimizer=name, strength=value)
                found = [mean_interval(curve.isel(epoch=k).values, "", "seeds") for k in range(curve.sizes["epoch"])]
                mean = [e.value for e in found]
                axes.plot(curve.epoch, mean, linestyle=line, color=colour_of(name))
                axes.fill_between(
                    curve.epoch,
                    [e.low for e in found],
                    [e.high for e in found],
                    color=colour_of(name),
                    alpha=0.18,
                    linewidth=0,
                )
                known = [m for m in mean if math.isfinite(m)]
                if value and known:  # where a seed diverges, the curve ends
                    ends[f"{label_of(name)} + L2"] = ((known[-1] - bottom) / (101.5 - bottom), colour_of(name))
        ends["all, no L2"] = ((100 - bottom) / (101.5 - bottom) + 0.02, "0.35")
        axes.set(xlabel="epochs", ylabel="filters alive, %")
        lost = (100 - alive.isel(epoch=-1)).mean("seed")
        with_l2, none = lost.sel(strength=strength), float(lost.sel(strength=0.0).max())
        first = label_of(str(data.optimizer.values[with_l2.fillna(-1).values.argmax()]))
        without = f"at most {none:.0f}% fall" if none > 0 else "none falls"
        heading(
            figure, f"{first} + L2 silences {float(with_l2.max()):.0f}% of the filters; without L2 {without} silent"
        )
        label_ends(axes, ends)
    rates = ", ".join(f"{label_of(n)} {float(data.lr.sel(optimizer=n, strength=strength)):g}" for n in names)
    seeds = data.sizes["seed"]
    return Picture(
        "alive",
        figure,
        f"BasicNet at width {data.attrs['width']:g} ({data.attrs['filters']} filters) on {data.attrs['data']}, batch "
        f"{data.attrs['batch']}, L2 {strength:g} (solid) or none (dotted), tuned learning rates ({rates}); mean and 95% "
        f"t-interval over n = {seeds} seeds. Alive: some activation of at least 1e-12 on the training set.",
        "Share of filters alive against epochs, a curve an optimizer with L2 and one without. At the end: "
        + "; ".join(
            f"{label_of(n)} with L2 {100 - float(lost.sel(optimizer=n, strength=strength)):.0f}%" for n in names
        )
        + f"; without L2 at least {100 - none:.0f}%.",
    )
