"""Optimizers beside each other, each at its tuned learning rate: filters silenced, and the test error of the same networks."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from dynamics.couplings import COUPLINGS
from dynamics.door import checked
from figures.shares import intervals
from figures.style import WIDTH, Picture, colour_of, heading, label_of, marker_of, styled

_PANELS = {"inactive": "filters inactive, %", "test_error": "test error, %"}
# An optimizer silences filters if it leaves more than so many percent inactive.
_SOME = 1.0


@checked
def draw(data: xr.Dataset) -> Picture:
    """Trained networks: a row an optimizer, a mark for each way to regularize, at one strength.

    data: `inactive` and `test_error` in percent over (optimizer, coupling, seed), NaN where a run diverged; `lr` over
    optimizer; attributes `network`, `data` and `strength`, for the caption. The mean is over the seeds that did not diverge.
    """
    names, couplings = ([str(name) for name in data[axis].values] for axis in ("optimizer", "coupling"))
    lost = int(data["inactive"].isnull().sum())
    with styled():
        figure, panels = plt.subplots(1, 2, sharey=True, figsize=(WIDTH, 1.6 + 0.36 * len(names)))
        for axes, (measure, label) in zip(panels, _PANELS.items(), strict=True):
            for k, coupling in enumerate(couplings):
                for row, name in enumerate(names):
                    samples = data[measure].sel(optimizer=name, coupling=coupling).values
                    if not (known := samples[np.isfinite(samples)]).size:
                        continue
                    centre, bars = intervals(known[None])
                    at = row + 0.22 * (k - (len(couplings) - 1) / 2)
                    axes.errorbar(
                        centre, at, xerr=np.minimum(bars, [centre, 100 - centre]), fmt=marker_of(k), color=colour_of(name),
                        markersize=5, elinewidth=0.9, markerfacecolor="white" if k % 2 else colour_of(name),
                    )  # fmt: skip
            axes.set_xlabel(label)
            axes.grid(visible=False, axis="y")
        axes = panels[0]
        axes.set_yticks(range(len(names)), [label_of(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        for tick, name in zip(axes.get_yticklabels(), names, strict=True):
            tick.set_color(colour_of(name))
        handles = [
            Line2D([], [], linestyle="", marker=marker_of(k), color="0.3", markerfacecolor="white" if k % 2 else "0.3")
            for k in range(len(couplings))
        ]
        labels = [COUPLINGS[coupling].label for coupling in couplings]
        figure.legend(handles, labels, loc="outside lower center", ncols=len(couplings), fontsize=9)
        mean = data.mean("seed")
        heading(figure, _title(mean["inactive"]))
    note = f"; {lost} runs diverged and are left out" if lost else ""
    rates = ", ".join(f"{label_of(name)} {float(data['lr'].sel(optimizer=name)):g}" for name in names)
    told = [
        f"{label_of(name)} {float(mean['inactive'].sel(optimizer=name, coupling='l2')):.1f}% at a test error of "
        f"{float(mean['test_error'].sel(optimizer=name, coupling='l2')):.1f}%"
        for name in names
        if np.isfinite(mean["inactive"].sel(optimizer=name, coupling="l2"))
    ]
    return Picture(
        "optimizers",
        figure,
        f"{data.attrs['network']} on {data.attrs['data']}, strength {data.attrs['strength']:g}, each optimizer at its tuned "
        f"learning rate ({rates}): mean and 95% t-interval over n = {data.sizes['seed']} seeds{note}. Inactive: no "
        "activation of 1e-12 or more on any training image.",
        f"Shares of inactive filters and test errors, a row an optimizer. With L2: {'; '.join(told) or 'none'}.",
    )


def _title(inactive: xr.DataArray) -> str:
    """inactive: means over (optimizer, coupling); NaN where every run diverged."""
    l2, none = (
        {str(n): float(inactive.sel(optimizer=n, coupling=c)) for n in inactive["optimizer"].values}
        for c in ("l2", "none")
    )
    some = {name: share for name, share in l2.items() if share > _SOME}
    few = {name: share for name, share in l2.items() if share <= _SOME}
    said = [(_range(group), _and(group)) for group in (some, few) if group]
    if not said:
        return "No run with L2 that did not diverge"
    (share, who), *rest = said
    others = "".join(f", {s} under {n}" for s, n in rest)
    most = max((s for s in none.values() if np.isfinite(s)), default=np.nan)
    without = "none falls silent" if most == 0 else f"up to {most:.2g}% fall silent"
    beside = f"; without a regularizer {without}" if np.isfinite(most) else ""
    return f"L2 silences {share} of the filters under {who}{others}{beside}"


def _and(names: dict[str, float]) -> str:
    labels = [label_of(name) for name in names]
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def _range(shares: dict[str, float]) -> str:
    low, high = f"{min(shares.values()):.0f}%", f"{max(shares.values()):.0f}%"
    return low if low == high else f"{low} to {high}"
