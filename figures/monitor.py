"""What a monitor saw of a training run: filters alive by layer, deaths by cause, and whether the most selective die next."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from dynamics.door import checked
from figures.style import Picture, label_ends, styled
from fullscale.monitor.summary import Next, die_next

# Okabe and Ito's, as everywhere; hatches tell them apart in grey.
CAUSES = {
    "regularizer": ("regularizer", "#D55E00", ""),
    "loss": ("loss", "#0072B2", "///"),
    "noise": ("noise", "#009E73", "..."),
    "input": ("input", "#CC79A7", "xxx"),
    "unknown": ("unknown", "#999999", ""),
}
BINS = 24
# Deaths within so many steps of a moment are next to it. The first fifth is left out: what is as good as dead seldom fires.
AHEAD = 500


@checked
def draw(data: xr.Dataset, ahead: int = AHEAD) -> Picture:
    """From `Monitor.history`: left the filters alive against steps, middle the deaths by activation, right every filter at moments
    `ahead` steps apart, its regularizer's share against its selectivity, those marked that die between a fifth of `ahead` and
    `ahead` later."""
    following = die_next(data, ahead, gap=ahead // 5)
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(13.5, 4.6), width_ratios=(1, 1, 1))
        _alive(panels[0], data)
        _deaths(panels[1], data)
        _next(panels[2], following)
        figure.suptitle(_title(data, following), x=0.01, ha="left", weight="bold", fontsize=11)
    return Picture("monitor", figure, _caption(data, following, ahead), _alt(data, following))


def causes(data: xr.Dataset) -> dict[str, int]:
    """The number of deaths by activation of each cause, the most frequent first; those without any left out."""
    found = [str(cause) for cause in data["death_cause"].values[_by_activation(data)]]
    return {name: found.count(name) for name in sorted(CAUSES, key=found.count, reverse=True) if name in found}


def _by_activation(data: xr.Dataset) -> NDArray[np.bool_]:
    return np.asarray(data["death_measure"].values == "activation")


def _alive(axes: Axes, data: xr.Dataset) -> None:
    layers = list(dict.fromkeys(data["layer"].values.tolist()))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(layers)))
    ends = {}
    for layer, colour in zip(layers, colours, strict=True):
        share = 100 * data["alive"].values[:, data["layer"].values == layer].mean(axis=1)
        axes.plot(data["step"], share, color=colour, linewidth=1.4)
        ends[layer] = ((share[-1] + 3) / 106, colour)
    if len(layers) <= 12:
        label_ends(axes, ends)
    else:
        axes.text(1.01, 0.5, "dark: first layer\nlight: last", transform=axes.transAxes, fontsize=9)
    axes.set(xlabel="step", ylabel="share of the layer's filters, %", ylim=(-3, 103), title="filters alive")


def _deaths(axes: Axes, data: xr.Dataset) -> None:
    active = _by_activation(data)
    when, why = data["death_step"].values[active], data["death_cause"].values[active]
    edges = np.linspace(0, max(float(data["step"].values[-1]), 1.0), BINS + 1)
    below = np.zeros(BINS)
    for name, count in causes(data).items():
        label, colour, hatch = CAUSES[name]
        heights = np.histogram(when[why == name], edges)[0]
        axes.bar(
            edges[:-1], heights, np.diff(edges), below, align="edge", color=colour, hatch=hatch, edgecolor="white",
            linewidth=0.4, label=f"{label}: {count}",
        )  # fmt: skip
        below += heights
    axes.set(xlabel="step", ylabel=f"deaths in {edges[1]:,.0f} steps", title="of what they die")
    axes.set_ylim(0, max(1.0, 1.15 * below.max()))
    if active.any():
        axes.legend(loc="upper right", fontsize=9)


def _next(axes: Axes, following: Next) -> None:
    for dies, colour, mark, size in ((False, "#999999", "o", 6), (True, "#D55E00", "x", 22)):
        of = following.dies == dies
        label = f"{'die' if dies else 'do not die'} next: {int(of.sum())}"
        axes.scatter(
            following.selectivity[of], following.share[of], s=size, c=colour, marker=mark, linewidths=0.9,
            alpha=1.0 if dies else 0.35, label=label,
        )  # fmt: skip
    axes.set(
        xlabel="selectivity", ylabel="regularizer's share of gamma and beta", title="who dies next",
        xlim=(-0.03, 1.03), ylim=(-0.03, 1.2), yticks=np.linspace(0, 1, 6),
    )  # fmt: skip
    axes.legend(loc="upper center", fontsize=9, ncols=2, handletextpad=0.1, columnspacing=1.0)


def _rank(following: Next) -> str:
    ranks = following.rank[following.dies]
    if len(ranks) < 3:
        return f"too few deaths follow a moment to say who dies next (n = {len(ranks)})"
    return f"who dies next was at mean rank {ranks.mean():.2f} of selectivity in its layer (n = {len(ranks)} deaths, one network)"


def _title(data: xr.Dataset, following: Next) -> str:
    filters, dead = data.sizes["filter"], int((~data["alive"].values[-1]).sum()) if data.sizes["step"] else 0
    found = causes(data)
    of = ", ".join(f"{count} by {CAUSES[name][0]}" for name, count in found.items())
    died = f"{dead} of {filters} filters dead at the end" + (f"; deaths: {of}" if of else "")
    return f"{died};\n{_rank(following)}"


def _caption(data: xr.Dataset, following: Next, ahead: int) -> str:
    back = int((data["death_revived"].values[_by_activation(data)] >= 0).sum())
    filters, layers = data.sizes["filter"], len(set(data["layer"].values.tolist()))
    return (
        f"One training run, n = {filters} filters in {layers} layers, observed every {data.attrs['interval']} steps. A "
        "filter is dead from the first observed step of a silence of 256 images or more, so the last ones are not told yet; "
        f"{back} came back. Cause: what moved the margin farthest towards 0 since it was last half of its largest. Right: each "
        f"filter alive at moments {ahead} steps apart, means over the {ahead} steps before; marked are those that die {ahead // 5} "
        f"to {ahead} steps later. Rank: of its selectivity in its layer, 0.5 if it told nothing; deaths of one network are not "
        "independent, so one run gives no interval."
    )


def _alt(data: xr.Dataset, following: Next) -> str:
    alive = 100 * data["alive"].values.mean(axis=1)
    found = ", ".join(f"{count} by {CAUSES[name][0]}" for name, count in causes(data).items()) or "none"
    return (
        f"Three panels: the share of filters alive goes from {alive[0]:.0f}% to {alive[-1]:.0f}%; deaths by cause: {found}; "
        f"regularizer's share against selectivity, {_rank(following)}."
    )
