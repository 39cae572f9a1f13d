"""Test error against the share of filters removed, by criterion: before and after fine-tuning, for each training."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from figures.style import Picture, colour_of, label_ends, styled
from fullscale.pruning_claims import PRICE, affordable

# Okabe and Ito's, as the optimizers' colours are.
CRITERIA = {
    "l1": ("L1 norm", colour_of("sgd")),
    "gamma": ("abs(gamma)", colour_of("adam")),
    "random": ("random", "0.45"),
    "selective": ("selective", colour_of("nesterov")),
    "selective_layer": ("selective, layerwise", colour_of("rmsprop")),
}
TRAININGS = {
    "adam": "Adam and strong L2",
    "momentum": "momentum and weak L2",
    "slimming": "momentum and L1 on gamma",
}
TUNED = {"no": "as cut", "yes": "fine-tuned"}
TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100)
LINEAR = 1.0  # percent of test error below which the axis is linear, so that 0 has a place


def draw(data: xr.Dataset) -> Picture:
    """From `fullscale.pruning_claims.by_criterion`: each seed thin, their mean bold; a star for the removal of dead filters."""
    trainings = [str(name) for name in data.training.values]
    with styled():
        size = (1 + 4.4 * len(trainings), 7)
        figure, panels = plt.subplots(2, len(trainings), sharex=True, sharey=True, figsize=size, squeeze=False)
        for column, training in enumerate(trainings):
            for row, (tuned, said) in enumerate(TUNED.items()):
                _panel(panels[row, column], data.sel(training=training), tuned)
                panels[row, column].set_title(f"{TRAININGS.get(training, training)}, {said}", fontsize=10)
            panels[1, column].set_xlabel("filters removed, %")
        for row in range(2):
            panels[row, 0].set_ylabel("test error, %")
        figure.suptitle(_title(data), x=0.01, ha="left", weight="bold", fontsize=11)
    return Picture("pruning", figure, _caption(data), _alt(data))


def _panel(axes: Axes, data: xr.Dataset, tuned: str) -> None:
    axes.set_xlim(-2, 92)
    axes.set_yscale("symlog", linthresh=LINEAR)
    axes.set_ylim(-0.08, 110)
    axes.yaxis.set_major_locator(FixedLocator(TICKS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    height = axes.transAxes.inverted().transform
    ends: dict[str, tuple[float, str]] = {}
    for criterion in (str(c) for c in data.criterion.values):
        at = data.sel(criterion=criterion)
        errors = 100 * at.test_error.sel(tuned=tuned)
        if not np.isfinite(errors).any():
            continue
        text, colour = CRITERIA[criterion]
        x, mean = 100 * at.reached.mean("seed").values, errors.mean("seed").values
        axes.plot(x, mean, color=colour, marker="o", markersize=2.5)
        # Each seed, for an interval of so few around a jump from 1% to 90% says less.
        axes.plot(x, errors.transpose("share", "seed"), color=colour, linewidth=0.6, alpha=0.45)
        if np.isfinite(mean[-1]):
            ends[text] = (float(height(axes.transData.transform((0, mean[-1])))[1]), colour)
    limit = 100 * (float(data.test_error.sel(share=0, tuned="no").mean()) + PRICE)
    axes.axhline(limit, color="0.4", linewidth=0.8, linestyle=":")
    dead = 100 * float(data.dead_reached.mean()), 100 * float(data.dead_error.sel(tuned=tuned).mean())
    axes.plot(*dead, marker="*", markersize=12, color="black", linestyle="none", clip_on=False, zorder=5)
    label_ends(axes, ends, gap=0.06)


def _shares(data: xr.Dataset, training: str, tuned: str) -> dict[str, float]:
    """By criterion, the mean share in percent that it can remove at PRICE."""
    found = {str(c): affordable(data, training, str(c), tuned) for c in data.criterion.values}
    return {c: 100 * float(np.nanmean(x)) for c, x in found.items() if np.isfinite(x).any()}


def _silent(data: xr.Dataset, training: str) -> float:
    return 100 * float(data.dead_reached.sel(training=training).mean())


def _title(data: xr.Dataset) -> str:
    """Of the training that silenced most: its dead filters, and the criterion that can remove most after fine-tuning."""
    training = max((str(t) for t in data.training.values), key=lambda t: np.nan_to_num(_silent(data, t)))
    shares = _shares(data, training, "yes")
    best = max(shares, key=lambda c: shares[c])
    return (
        f"{TRAININGS.get(training, training)} has silenced {_silent(data, training):.0f}% of the filters; with {100 * PRICE:g} "
        f"point of error and fine-tuning {CRITERIA[best][0]} removes {shares[best]:.0f}%, chance {shares['random']:.0f}%"
    )


def _caption(data: xr.Dataset) -> str:
    said = []
    for name, base in data.attrs["bases"].items():
        slim = f", L1 on BatchNorm's scales {base['slimming']:g}" if base["slimming"] else ""
        said.append(f"{TRAININGS.get(name, name)}: lr {base['lr']:g}, L2 {base['strength']:g}{slim}")
    a = data.attrs
    return (
        f"BasicNet at width {a['width']:g} on {a['data']}, batch {a['batch']}, {a['epochs']} epochs; {'; '.join(said)}. Filters "
        "go by L1 norm (Li et al. 2017) and by selectivity, layerwise, in equal shares of every layer; by abs(gamma) (Liu et al. "
        "2017), by selectivity and at random over the whole network; each layer keeps one. Below: after "
        f"{a['tuning_steps']} steps of fine-tuning at a tenth of the lr. Bold the mean of n = {data.sizes['seed']} seeds, thin "
        f"each of them. Star: the dead filters are removed. Dotted: {100 * PRICE:g} point above the error of the whole network. "
        f"The vertical axis is logarithmic above {LINEAR:g}%."
    )


def _alt(data: xr.Dataset) -> str:
    parts = []
    for training in (str(t) for t in data.training.values):
        one, two = (_shares(data, training, tuned) for tuned in TUNED)
        each = ", ".join(f"{CRITERIA[c][0]} {one[c]:.0f}% and {two[c]:.0f}%" for c in one)
        parts.append(f"{TRAININGS.get(training, training)}: {each}; dead {_silent(data, training):.0f}%")
    return (
        f"Test error against the share of filters removed. What can be removed for {100 * PRICE:g} point, before and after "
        f"fine-tuning: {'. '.join(parts)}."
    )
