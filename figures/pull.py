"""The pull of L2 and of weight decay against selectivity, one panel a rule."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from figures.shares import intervals
from figures.style import LINES, WIDTH, Picture, colour_of, fixed_layout, heading, label_of, styled

_COLUMNS = 4
# A decay that grows by less than this from selectivity 0 to the critical one counts as one that does not.
_GROWS = 1.1


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.selectivity.Selectivity.run`: L2 solid, decay dashed, with intervals over seeds."""
    rules, critical = [str(name) for name in data.optimizer.values], data.attrs["critical"]
    rows = -(-len(rules) // _COLUMNS)
    found = data["pull"].where(data["pull"] > 0)
    low, high = float(found.min()) / 2, float(found.max()) * 2
    with styled():
        figure, panels = plt.subplots(
            rows, _COLUMNS, sharex=True, sharey=True, figsize=(WIDTH, 1.4 + 1.45 * rows), squeeze=False
        )
        # Panels of one size need no layout to be solved for them, which would take seconds.
        fixed_layout(figure)
        height = figure.get_figheight()
        figure.subplots_adjust(0.12, 0.75 / height, 0.99, 1 - 0.95 / height, 0.08, 0.33)
        for axes in panels.flat[len(rules) :]:
            axes.set_axis_off()
        first = panels[0, 0]
        first.set(xscale="log", yscale="log", ylim=(low, high))
        first.set_xlim(float(data.arrival.max()) * 1.25, float(data.arrival.min()) / 1.25)
        for axes, rule in zip(panels.flat, rules, strict=False):
            _panel(axes, data["pull"].sel(optimizer=rule), colour_of(rule))
            axes.axvline(critical, color="0.75", linewidth=0.8, zorder=0)
            axes.minorticks_off()
            axes.set_title(
                label_of(rule), y=1.0, fontsize=9 if len(label_of(rule)) < 15 else 7.5, color=colour_of(rule)
            )
            axes.text(0.04, 0.95, _times(_growth(data, rule, "l2")), transform=axes.transAxes, va="top", fontsize=9)
        first.annotate("critical", (critical, low * 1.5), (-3, 0), textcoords="offset points", ha="right", fontsize=8)
        figure.supxlabel(
            "p = 1 - selectivity, the probability that a gradient arrives\n(solid: L2, dashed: weight decay)",
            fontsize=10,
            y=0.01,
        )
        figure.supylabel("pull, in lr x strength", fontsize=10, x=0.005)
        heading(figure, _title(data, rules))
    seeds, lanes = data.sizes["seed"], data.attrs["weights"]
    return Picture(
        "pull",
        figure,
        f"Share of a weight that a regularizer of strength {data.attrs['strength']:g} takes off a step, between weights that see "
        f"the same gradients with and without it; gradients of +1 or -1 that arrive with probability p, the same for every "
        f"rule. Mean and 95% t-interval over n = {seeds} seeds of {lanes} weights, {data.attrs['counted']:,} steps; lr "
        f"{data.attrs['lr']:g}, the memory of squares {data.attrs['beta2']:g} for every rule that has one, LARS, LAMB and Muon "
        "with each weight a tensor of its own. Grey: 1/sqrt(p) from the first mark, and the critical arrival, 1 - "
        f"sqrt({data.attrs['beta2']:g}) = {critical:.4f}. In each panel: how many times harder L2 pulls there than at p = 1.",
        f"{len(rules)} log-log panels of pull against p. Growth of L2's pull from selectivity 0 to the critical one: "
        + "; ".join(f"{label_of(r)} {_times(_growth(data, r, 'l2'))}" for r in rules)
        + ".",
    )


def _panel(axes: Axes, pull: xr.DataArray, colour: str) -> None:
    arrivals = pull.arrival.values
    for coupling in ("decoupled_lr", "l2"):
        mean, (below, above) = intervals(pull.sel(coupling=coupling).transpose("arrival", "seed").values)
        low, high, mean = mean - below, mean + above, np.where(mean > 0, mean, np.nan)
        if coupling == "l2":
            start = int(np.argmax(np.isfinite(mean)))
            guide = mean[start] * np.sqrt(arrivals[start] / arrivals)
            axes.plot(arrivals, guide, color="0.82", linewidth=3, zorder=1)
            axes.fill_between(arrivals, np.maximum(low, mean / 100), high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(
            arrivals, mean, linestyle=LINES[coupling], color=colour if coupling == "l2" else "0.45", linewidth=1.5
        )


def _growth(data: xr.Dataset, rule: str, coupling: str) -> float:
    """The mean pull at the critical arrival over that at the largest; inf from a pull of 0, NaN where it stays 0."""
    mean = data["pull"].sel(optimizer=rule, coupling=coupling).mean("seed")
    last = np.float64(mean.sel(arrival=data.attrs["critical"], method="nearest"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(last / np.float64(mean.sel(arrival=data.arrival.max())))


def _times(growth: float) -> str:
    if not np.isfinite(growth):
        return "0" if np.isnan(growth) else "from 0"
    return f"x {growth:.2g}" if growth < 99.5 else f"x {growth:,.0f}"


def _title(data: xr.Dataset, rules: list[str]) -> str:
    grown = [f"{_times(_growth(data, r, 'l2'))} under {label_of(r)}" for r in ("adam", "sgd") if r in rules]
    decays = [label_of(r) for r in rules if _growth(data, r, "decoupled_lr") > _GROWS]
    which = "no rule" if not decays else decays[0] if len(decays) == 1 else f"{len(decays)} of {len(rules)} rules"
    return f"L2's pull from selectivity 0 to the critical one: {', '.join(grown)}; weight decay's grows under {which}"
