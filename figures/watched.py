"""Which filters die, and what told it before: the regularizer's share against selectivity, and how well each sign tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from figures.style import Picture, label_ends, styled
from fullscale.thresholds import INACTIVE_ACTIVATION
from fullscale.watched.claims import EARLY, LATER, over_networks
from fullscale.watched.estimate import Record, agreement, at, foretold

# By sign: its name, a colour of Okabe and Ito's, a line.
LOOKS = {
    "gamma": ("small abs(gamma)", "#D55E00", "-"),
    "square_gamma": ("small gradients of gamma", "#0072B2", "--"),
    "square_weights": ("small gradients of weights", "#56B4E9", "--"),
    "share_gamma": ("share of gamma's updates", "#CC79A7", "-."),
    "share_weights": ("share of weights' updates", "#882255", "-."),
    "selectivity": ("selectivity", "#009E73", "-"),
    "arrival": ("rare gradients", "#999999", ":"),
}
# Of the right panel.
TOP = 1.05


def draw(records: Sequence[Record]) -> Picture:
    """From records of watched runs: left every filter active at 30% of the training, its regularizer's share against its
    selectivity, those marked that are inactive at the end; right, at each measured epoch, how well each sign tells them."""
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(11.5, 4.6), width_ratios=(1, 1.1))
        _shares(panels[0], records)
        _signs(panels[1], records)
        figure.suptitle(_title(records), x=0.01, ha="left", weight="bold", fontsize=11)
    return Picture("watched", figure, _caption(records), _alt(records))


def _shares(axes: Axes, records: Sequence[Record]) -> None:
    selectivity, share, dead = (np.concatenate(part) for part in zip(*map(_points, records), strict=True))
    for dies, colour, mark, size in ((False, "#999999", "o", 6), (True, "#D55E00", "x", 16)):
        of = dead == dies
        label = f"{'inactive' if dies else 'active'} at the end: {int(of.sum())}"
        axes.scatter(
            selectivity[of],
            share[of],
            s=size,
            c=colour,
            marker=mark,
            linewidths=0.8,
            alpha=0.8 if dies else 0.4,
            label=label,
        )
    axes.set(
        xlabel=f"selectivity at {LATER:.0%} of the training", ylabel="regularizer's share of gamma's updates",
        title="every active filter", xlim=(-0.03, 1.03), ylim=(-0.03, 1.2), yticks=np.linspace(0, 1, 6),
    )  # fmt: skip
    axes.legend(loc="upper center", fontsize=9, ncols=2, handletextpad=0.1, columnspacing=1.0)


def _points(record: Record) -> tuple[NDArray[np.float64], ...]:
    row = at(record, LATER)
    active = np.array(record["peak"][row]) >= INACTIVE_ACTIVATION
    columns = (record["selectivity"][row], record["share_gamma"][row], record["dead_by_activation"])
    selectivity, share, dead = (np.array(column, dtype=float)[active] for column in columns)
    return selectivity, share, dead


def _signs(axes: Axes, records: Sequence[Record]) -> None:
    moments = _moments(records)
    ends = {}
    for name, (label, colour, line) in LOOKS.items():
        found = [over_networks(foretold(records, name, moment), "") for moment in moments]
        # A mean over fewer networks, at the end, would be one over others.
        whole = np.array([one.n == len(records) for one in found])
        mean, low, high = (
            np.where(whole, [getattr(one, end) for one in found], np.nan) for end in ("value", "low", "high")
        )
        axes.plot(100 * moments, mean, color=colour, linestyle=line, linewidth=1.6)
        if name in ("gamma", "selectivity"):
            axes.fill_between(100 * moments, low, high, color=colour, alpha=0.18, linewidth=0)
        if np.isfinite(mean).any():
            ends[label] = (float(mean[np.isfinite(mean)][-1]) / TOP, colour)
    axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set(
        xlabel="moment, % of the training", ylabel="area under the ROC curve", title="who is inactive at the end?",
        xlim=(0, 100), ylim=(0, TOP),
    )  # fmt: skip
    label_ends(axes, ends)


def _moments(records: Sequence[Record]) -> NDArray[np.float64]:
    """The measured epochs but the last, as shares of the training."""
    epochs = np.array(records[0]["epochs"], dtype=float)
    return np.asarray(epochs[:-1] / epochs[-1])


def _title(records: Sequence[Record]) -> str:
    agree = over_networks(agreement(records), "")
    found = f"rank correlation {agree.value:.2f} [{agree.low:.2f}, {agree.high:.2f}]"
    first = "Whether the regularizer's share rises with selectivity is undecided"
    if agree.low > 0 or agree.high < 0:
        first = f"The regularizer's share {'rises' if agree.low > 0 else 'falls'} with selectivity"
    return f"{first} ({found});\n{_told(records)}"


def _told(records: Sequence[Record]) -> str:
    gamma, selectivity = (over_networks(foretold(records, name, EARLY), "").value for name in ("gamma", "selectivity"))
    if np.isnan(gamma):
        return "no filter died in two networks or more"
    areas = f"tells who dies with area {gamma:.2f}, selectivity with {selectivity:.2f}"
    return f"at {EARLY:.0%} of the training a small abs(gamma) {areas}"


def _caption(records: Sequence[Record]) -> str:
    dead = [int(np.sum(record["dead_by_activation"])) for record in records]
    return (
        f"n = {len(records)} networks of {sum(records[0]['layers'])} filters, of which {min(dead)} to {max(dead)} are inactive at "
        "the end. Each number is taken within layers and for each network by itself; means, and bands of 95% t-intervals, over "
        "networks. Right: of the filters active at a moment, the share of pairs in a layer of one that is inactive at the end and "
        "one that is not, in which the sign is stronger in the first; 0.5 (dotted) tells nothing. Curves end where a network has "
        "no such pair. Shares and gradients are those of the steps since the measured epoch before."
    )


def _alt(records: Sequence[Record]) -> str:
    return (
        f"Two panels: {_title(records).replace(chr(10), ' ')}. Left the regularizer's share against selectivity, a point a filter; "
        "right a curve a sign, against the moment."
    )
