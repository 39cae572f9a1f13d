"""The critical selectivity: 1 / sqrt(v) under Adam against how often a gradient arrives, independently or once an epoch."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from evidence.claim import ratio_interval
from figures.shares import intervals
from figures.style import WIDTH, Picture, colour_of, heading, styled

_KINDS = {"independent": (colour_of("adam"), "o"), "once an epoch": (colour_of("sgd"), "s")}


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.visits.Visits.run`: marks are simulated, lines the closed forms; above the ratio, below the rest."""
    critical, beta2 = data.attrs["critical"], data.attrs["beta2"]
    times = 1 / data.epoch.values / critical
    ratio = data["inverse_root"] / data["on_arrival"]
    ends: dict[str, str] = {}
    with styled():
        figure, (left, right) = plt.subplots(2, 1, sharex=True, figsize=(WIDTH, 6.6))
        for kind, (colour, mark) in _KINDS.items():
            at = data.sel(arrivals=kind)
            values, errors = intervals(ratio.sel(arrivals=kind).transpose("epoch", "seed").values, ratio_interval)
            ends[kind] = _number(float(values[-1]))
            _marks(left, times, values, errors, colour, mark)
            left.plot(times, at["predicted"].values, color=colour, linewidth=1.4, zorder=2)
            _marks(right, times, *intervals(at["rest"].transpose("epoch", "seed").values), colour, mark)
            right.plot(times, at["rests"].values, color=colour, linewidth=1.4, zorder=2)
        for axes in (left, right):
            axes.axvline(1, color="0.4", linewidth=0.8, zorder=0)
            axes.set_xscale("log")
            axes.set_xlim(times.max() * 1.2, times.min() / 1.2)
            ticks = [t for t in (0.5, 1, 2, 4, 8) if times.min() / 1.2 <= t <= times.max() * 1.2]
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
        left.set(yscale="log", ylabel="times its mean on arrival", title="1 / sqrt(v) between arrivals, mean")
        right.set(ylabel="weight held, of its target", ylim=(0, 1.05), title="where L2 leaves a weight")
        right.set_xlabel("arrivals, in critical ones: p / (1 - sqrt(beta2))")
        left.annotate(
            "critical", (1, 0.02), (3, 0), left.get_xaxis_transform(), "offset points", color="0.3", fontsize=8.5
        )
        left.text(0.04, 0.95, "independent", color=_KINDS["independent"][0], transform=left.transAxes, va="top")
        left.text(0.04, 0.86, "once an epoch", color=_KINDS["once an epoch"][0], transform=left.transAxes, va="top")
        heading(
            figure,
            f"At {times[-1]:.2g} of the critical arrival 1 / sqrt(v) is {ends['independent']} times what it is on arrival; visited "
            f"once an epoch, {ends['once an epoch']} times",
        )
    seeds, lanes, steps = data.sizes["seed"], data.attrs["weights"], data.attrs["counted"]
    rests = {kind: data["rest"].sel(arrivals=kind).mean("seed").values for kind in _KINDS}
    return Picture(
        "critical",
        figure,
        f"Adam with beta2 = {beta2:g}; gradients arrive with probability p at every step, or once in an epoch of 1/p steps. Marks: "
        f"simulation, mean and 95% t-interval over n = {seeds} seeds of {lanes} weights, {steps:,} steps (above: geometric mean). "
        f"Lines: p sqrt(beta2)/(p - p_c), which has no value from p_c on, and its counterpart for an epoch. Beyond p_c the mean "
        f"of independent arrivals has no limit: these marks grow with the time looked at. Below: a gradient w - 1 on arrival "
        f"against L2 of {data.attrs['rest']:g} p_c. Critical: an epoch of {1 / critical:,.0f} steps; with Adam's 0.999, 2,000.",
        f"Two panels against arrivals from {times[0]:.2g} to {times[-1]:.2g} critical ones. 1 / sqrt(v) over its mean on arrival "
        f"ends at {ends['independent']} for independent arrivals and {ends['once an epoch']} once an epoch; the weight held "
        f"falls from {rests['independent'][0]:.2f} to {rests['independent'][-1]:.2f} and from {rests['once an epoch'][0]:.2f} to "
        f"{rests['once an epoch'][-1]:.2f}.",
    )


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}" if value < 1e5 else f"{value:.0e}"


def _marks(axes: Axes, x: np.ndarray, y: np.ndarray, errors: np.ndarray, colour: str, mark: str) -> None:
    axes.errorbar(x, y, errors, fmt=mark, color=colour, markersize=5, capsize=2, zorder=3)
