"""How good the forecast of filter deaths is on runs that it had never seen: who, how many, when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from dynamics.estimate import mean_interval
from figures.style import Picture, styled
from fullscale.forecast import judge
from fullscale.forecast.score import reliability
from fullscale.forecast.study import Network

AT = 0.1
# By sign: its name, a colour of Okabe and Ito's, a mark.
LOOKS = {
    "forecast": ("theory, nothing fitted", "#0072B2", "o"),
    "fitted": ("theory and 4 fitted weights", "#009E73", "s"),
    "abs(gamma)": ("small abs(gamma)", "#D55E00", "x"),
}


def draw(networks: Sequence[Network]) -> Picture:
    """From the networks that the forecast is tested on: who dies, by setting; how many of those with a probability; when."""
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(12.5, 5.1), width_ratios=(1.25, 1, 1), layout="constrained")
        _who(panels[0], networks)
        _how_many(panels[1], networks)
        _when(panels[2], networks)
        figure.suptitle(_title(networks), x=0.01, ha="left", weight="bold", fontsize=11)
    return Picture("forecast", figure, _caption(networks), _alt(networks))


def _who(axes: Axes, networks: Sequence[Network]) -> None:
    groups = judge.by_setting(networks)
    for place, of in enumerate(groups.values()):
        areas = judge.areas(of, AT)
        for shift, (sign, (_, colour, mark)) in zip((-0.22, 0.0, 0.22), LOOKS.items(), strict=True):
            values = np.array(areas[sign])
            known = values[np.isfinite(values)]
            if len(known) > 1:
                found = mean_interval(known, "", "seeds")
                axes.plot([max(found.low, 0), min(found.high, 1)], [place + shift] * 2, color=colour, linewidth=1.4)
                axes.plot(found.value, place + shift, mark, color=colour, markersize=5)
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="area under the ROC curve, within layers", title="who dies?", xlim=(None, 1.005))
    for name, colour, mark in LOOKS.values():
        axes.plot([], [], mark, color=colour, label=name, linestyle="-")
    axes.legend(loc="lower left", fontsize=7.5, framealpha=0.8)


def _how_many(axes: Axes, networks: Sequence[Network]) -> None:
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for fitted in (False, True):
        name, colour, mark = LOOKS["fitted" if fitted else "forecast"]
        bins = reliability(*judge.probabilities(networks, AT, fitted))
        axes.plot([b.probability for b in bins], [b.died for b in bins], color=colour, linewidth=1)
        largest = max(b.filters for b in bins)
        sizes = [10 + 90 * b.filters / largest for b in bins]
        axes.scatter(
            [b.probability for b in bins], [b.died for b in bins], s=sizes, color=colour, marker=mark, label=name
        )
    axes.set(
        xlabel="probability that was forecast",
        ylabel="share that died",
        title="how many of them?",
        xlim=(0, 1),
        ylim=(0, 1),
    )


def _when(axes: Axes, networks: Sequence[Network]) -> None:
    forecast, came = _steps(networks)
    near = (forecast / came >= 1 / judge.NEAR) & (forecast / came <= judge.NEAR)
    for of, colour in ((~near, "#999999"), (near, "#0072B2")):
        axes.scatter(came[of], forecast[of], s=5, color=colour, alpha=0.5, linewidths=0)
    ends = np.array([0.05, 1.0])
    axes.fill_between(ends, ends / judge.NEAR, ends * judge.NEAR, color="#0072B2", alpha=0.1, linewidth=0)
    axes.set(
        xscale="log", yscale="log", xlabel="moment of death, share of the training", ylabel="moment that was forecast",
        title=f"when? {100 * near.mean():.0f}% within a factor of {judge.NEAR:g}", xlim=(0.08, 1.05), ylim=(0.08, 1.05),
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1.0]))
        axis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.set_minor_locator(NullLocator())


def _steps(networks: Sequence[Network]) -> tuple[np.ndarray, np.ndarray]:
    """Of all filters that die after the moment, forecast and actual moment as shares of the training."""
    pairs = []
    for network in networks:
        seen, found = network.seen(AT), network.forecast(AT)
        of = seen.alive & np.isfinite(network.died) & (network.died > seen.step) & np.isfinite(found.step)
        pairs.append(np.stack([found.step[of], network.died[of]]) / network.steps)
    both = np.concatenate(pairs, axis=1)
    return both[0], both[1]


def _gains(networks: Sequence[Network], score: judge.Score) -> np.ndarray:
    values = np.array([score(one, AT) for one in networks])
    return np.asarray(values[np.isfinite(values)])


def _title(networks: Sequence[Network]) -> str:
    said = []
    for name, score in (("theory", judge.within), ("with 4 fitted weights", judge.within_fitted)):
        gains = _gains(networks, score)
        if len(gains) < 2:
            continue
        found = mean_interval(gains, "", "networks")
        better = "better than" if found.low > 0 else "worse than" if found.high < 0 else "no better or worse than"
        said.append(f"{name} {better} small abs(gamma) ({found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}])")
    told = ";\n".join(said)
    return f"Who dies next, at {AT:.0%} of the training, within layers:\n{told}"


def _caption(networks: Sequence[Network]) -> str:
    groups = judge.by_setting(networks)
    return (
        f"n = {len(networks)} networks in {len(groups)} settings that were not looked at while the forecast was made; "
        f"forecasts are of {AT:.0%} of the training, of the filters that are active then. Left: share of pairs in a layer, of a "
        "filter that is inactive at the end and one that is not, in which the first has the larger probability, or the smaller "
        "abs(gamma); means and 95% t-intervals over seeds; 0.5 tells nothing. Middle: filters of all networks by tenths of the "
        "probability, a mark's size by their number; on the dotted line a forecast says what comes. Right: a point a filter that "
        "died; blue: within the factor."
    )


def _alt(networks: Sequence[Network]) -> str:
    return (
        f"Three panels: {_title(networks).replace(chr(10), ' ')}. Left areas under the ROC curve by setting; middle the share "
        "that died against the probability; right the forecast moment of death against the actual one."
    )
