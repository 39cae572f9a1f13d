"""Test error against the share of filters removed, by criterion: before and after fine-tuning, for each training."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from dynamics.door import checked
from figures.style import Picture, colour_of, label_ends, styled
from fullscale.pruning_data import PRICE, affordable, ceiling, silenced, uncut

# Okabe and Ito's, as the optimizers' colours are.
CRITERIA = {
    "l1": ("L1 norm", colour_of("sgd")),
    "gamma": ("abs(gamma)", colour_of("adam")),
    "random": ("random", "0.45"),
    "selective": ("selective", colour_of("nesterov")),
    "selective_layer": ("selective, layerwise", colour_of("rmsprop")),
}
TRAININGS = {"adam": "Adam and L2", "momentum": "momentum and L2", "slimming": "momentum and L1 on gamma"}
MODELS = {"basicnet": "BasicNet", "vgg16": "VGG-16"}
HOW = {
    "l1": "by L1 norm (Li et al. 2017) in equal shares of every layer",
    "gamma": "by abs(gamma) (Liu et al. 2017) over the whole network",
    "selective": "by selectivity over the whole network, or layerwise in equal shares of every layer",
    "random": "at random",
}
TUNED = {"no": "as cut", "yes": "fine-tuned"}
TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100)
HIGH_TICKS = (10, 15, 20, 25, 30, 40, 50, 70, 90)
LINEAR = 1.0  # percent of test error below which the axis is linear, so that 0 has a place


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `fullscale.pruning_data.by_criterion`: each seed thin, their mean bold; a star for the removal of dead filters.

    A panel for each training that is cut; those of which the dead filters alone are removed are stars in all of them.
    """
    trainings = [str(name) for name in data.training.values if name not in uncut(data)]
    with styled():
        size = (1 + 4.4 * len(trainings), 7)
        figure, panels = plt.subplots(2, len(trainings), sharex=True, sharey=True, figsize=size, squeeze=False)
        for column, training in enumerate(trainings):
            for row, (tuned, said) in enumerate(TUNED.items()):
                _panel(panels[row, column], data, training, tuned)
                panels[row, column].set_title(f"{TRAININGS.get(training, training)}, {said}", fontsize=10)
            panels[1, column].set_xlabel("filters removed, %")
        for row in range(2):
            panels[row, 0].set_ylabel("test error, %")
        figure.suptitle(_title(data), x=0.01, ha="left", weight="bold", fontsize=11)
    model = data.attrs["model"]
    return Picture("pruning" if model == "basicnet" else f"pruning_{model}", figure, _caption(data), _alt(data))


def _scale(axes: Axes, lowest: float) -> None:
    """A logarithmic axis of errors in percent, down to 0 where one is that low."""
    if lowest < HIGH_TICKS[0]:
        axes.set_yscale("symlog", linthresh=LINEAR)
        axes.set_ylim(-0.08, 110)
    else:
        axes.set_yscale("log")
        axes.set_ylim(0.85 * lowest, 95)
    axes.yaxis.set_major_locator(FixedLocator(TICKS if lowest < HIGH_TICKS[0] else HIGH_TICKS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _lowest(data: xr.Dataset) -> float:
    return 100 * float(min(data.test_error.min(), data.dead_error.min()))


def _panel(axes: Axes, whole: xr.Dataset, training: str, tuned: str) -> None:
    data = whole.sel(training=training)
    axes.set_xlim(-2, 92)
    _scale(axes, _lowest(whole))
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
    axes.axhline(100 * float(ceiling(whole, training).mean()), color="0.4", linewidth=0.8, linestyle=":")
    star: dict[str, Any] = {"marker": "*", "color": "black", "linestyle": "none", "clip_on": False, "zorder": 5}
    for name in [training, *uncut(whole)]:
        one = whole.sel(training=name)
        x, y = 100 * one.dead_reached, 100 * one.dead_error.sel(tuned=tuned)
        axes.plot(float(x.mean()), float(y.mean()), markersize=12, **star)
        if name != training:
            axes.plot(x, y, markersize=4, alpha=0.45, **star)
            where: dict[str, Any] = {
                "xytext": (0, -9),
                "textcoords": "offset points",
                "ha": "center" if float(x.mean()) > 20 else "left",  # not across the axis
                "va": "top",
                "fontsize": 9,
            }
            axes.annotate(f"{TRAININGS.get(name, name)}, dead", (float(x.mean()), float(y.mean())), **where)
    label_ends(axes, ends, gap=0.06)


def _shares(data: xr.Dataset, training: str, tuned: str) -> dict[str, float]:
    """By criterion, the mean share in percent that it can remove at PRICE."""
    found = {str(c): affordable(data, training, str(c), tuned) for c in data.criterion.values}
    return {c: 100 * float(np.nanmean(x)) for c, x in found.items() if np.isfinite(x).any()}


def _silent(data: xr.Dataset, training: str) -> float:
    return 100 * float(data.dead_reached.sel(training=training).mean())


def _title(data: xr.Dataset) -> str:
    """Of the training that silenced most: its dead filters, and the criterion that can remove most after fine-tuning; where
    all is compared at one error, what each removes there."""
    if uncut(data):
        gone = {TRAININGS.get(t, t): 100 * float(np.nanmean(silenced(data, t))) for t in uncut(data)}
        for training in (str(t) for t in data.training.values if t not in uncut(data)):
            gone |= {CRITERIA[c][0]: share for c, share in _shares(data, training, "yes").items()}
        return f"Filters gone at one test error: {', '.join(f'{how} {share:.0f}%' for how, share in gone.items())}"
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
        own = f"lr {base['lr']:g}, L2 {base['strength']:g}{slim}, {base['epochs']} epochs"
        said.append(f"{TRAININGS.get(name, name)}: {own}")
    a = data.attrs
    tuning = max(base["tuning_steps"] for base in a["bases"].values())
    whose, more = (
        ("the momentum network", ", above which nothing counts as gone") if uncut(data) else ("the whole network", "")
    )
    return (
        f"{MODELS.get(a['model'], a['model'])} at width {a['width']:g} on {a['data']}, batch {a['batch']}; {'; '.join(said)}. "
        f"Filters go {', '.join(how for name, how in HOW.items() if name in data.criterion)}; each layer keeps one. Below: after "
        f"{tuning:,} steps of fine-tuning at a tenth of the lr. Bold the mean of n = {data.sizes['seed']} seeds, thin each of "
        f"them. Star: the dead filters are removed. Dotted: {100 * PRICE:g} point above the error of {whose} before any cut{more}. "
        f"The vertical axis is logarithmic{f' above {LINEAR:g}%' if _lowest(data) < HIGH_TICKS[0] else ''}."
    )


def _alt(data: xr.Dataset) -> str:
    parts = []
    for training in (str(t) for t in data.training.values):
        one, two = (_shares(data, training, tuned) for tuned in TUNED)
        each = [f"{CRITERIA[c][0]} {one[c]:.0f}% and {two[c]:.0f}%" for c in one]
        each.append(f"dead {_silent(data, training):.0f}%")
        parts.append(f"{TRAININGS.get(training, training)}: {', '.join(each)}")
    return (
        f"Test error against the share of filters removed. What can be removed up to the dotted error, before and after "
        f"fine-tuning: {'. '.join(parts)}."
    )
