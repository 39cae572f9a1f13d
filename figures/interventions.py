"""A trial inside of networks: what kills filters and what saves them, an arm a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from evidence.claim import Estimate
from figures.style import WIDTH, Picture, heading, styled
from fullscale.interventions.arms import ARMS, NONE
from fullscale.interventions.claims import cause_by
from fullscale.interventions.estimate import Record, effect

# Okabe and Ito's, by what is changed; the rows of a kind stand together.
KINDS = {"size": "#0072B2", "rarity": "#D55E00", "regularizer": "#009E73", "memory": "#CC79A7"}
ROWS = {
    "scale 0.1": "gradients x 0.1",
    "scale 0.3": "x 0.3",
    "scale 0.316": "x 0.316",
    "scale 3": "x 3",
    "scale 10": "x 10",
    "arrival 0.3": "at 3 steps in 10",
    "arrival 0.1": "at 1 step in 10",
    "arrival 0.01": "at 1 step in 100",
    "arrival 0.1, mean kept": "1 in 10, mean kept",
    "arrival 0.1, nothing kept": "1 in 10, nothing kept",
    "strength 0": "no regularizer",
    "beta2 0.99": "memory of 100 steps",
    "beta2 0.9999": "memory of 10,000 steps",
}
# Those that the title speaks of.
SAID = {
    "scale 0.1": "smaller gradients",
    "scale 10": "larger gradients",
    "arrival 0.1": "rare ones of equal mean square",
    "arrival 0.1, mean kept": "rare ones of equal mean",
    "strength 0": "no regularizer",
}


class Look(NamedTuple):
    """A trial's name, its mark, whether that is filled, and how far below its row's middle it stands."""

    label: str
    mark: str
    filled: bool
    below: float


LOOKS = {"digits": Look("digits", "o", True, 0.0), "cifar": Look("CIFAR-10", "D", False, -0.28)}
SIBLINGS = Look("digits, those not treated", "s", True, 0.28)
GREY = "0.55"


def draw(trials: Mapping[str, Sequence[Record]]) -> Picture:
    """From the records of trials by their names: each arm's effect in points with its interval, small marks its networks."""
    present = {name: records for name, records in trials.items() if _arms(records)}
    rows = [arm for arm in ROWS if any(arm in _arms(records) for records in present.values())]
    with styled():
        figure, axes = plt.subplots(figsize=(WIDTH, 1.9 + 0.4 * len(rows)))
        axes.axvline(0, color="black", linewidth=0.9)
        for name, records in present.items():
            for arm in set(rows) & set(_arms(records)):
                _mark(axes, rows.index(arm), LOOKS[name], KINDS[ARMS[arm].kind], records, arm)
                if name == "digits":
                    _mark(axes, rows.index(arm), SIBLINGS, GREY, records, arm, "siblings")
        _frame(axes, rows)
        looks = [(LOOKS[name], "0.3") for name in present] + [(SIBLINGS, GREY)] * ("digits" in present)
        handles = [
            Line2D(
                [],
                [],
                linestyle="",
                marker=k.mark,
                color=grey,
                markerfacecolor=grey if k.filled else "white",
                label=k.label,
            )
            for k, grey in looks
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
        heading(figure, title(present))
    return Picture("interventions", figure, _caption(present), _alt(present, rows))


def title(trials: Mapping[str, Sequence[Record]]) -> str:
    """What the digits' arms of SAID say: which kill, which save, which do neither for sure."""
    records = trials.get("digits", [])
    found = {words: cause_by(records, arm) for arm, words in SAID.items() if arm in _arms(records)}
    groups: dict[str, list[str]] = {"kill filters": [], "save them": [], "do neither for sure": []}
    for words, e in found.items():
        which = "kill filters" if e.low > 0 else "save them" if e.high < 0 else "do neither for sure"
        groups[which].append(f"{words} ({round(e.value):+d})")
    said = [f"{_and(some)} {verb}" for verb, some in groups.items() if some]
    if not said:
        return "No arm has two networks"
    text = "; ".join(said).replace(")", " points)", 1)
    return text[0].upper() + text[1:]


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _arms(records: Sequence[Record]) -> list[str]:
    """Those that two networks have, with their twins."""
    return [arm for arm in ARMS if arm != NONE and len(effect(records, arm)) > 1]


def _mark(
    axes: Axes, row: int, look: Look, colour: str, records: Sequence[Record], arm: str, of: str = "treated"
) -> None:
    estimate, at, small = cause_by(records, arm, of), row + look.below, look.below != 0
    if of == "treated":
        samples = effect(records, arm)
        axes.plot(
            samples, np.full(len(samples), at), look.mark, color=colour, markersize=2.5, alpha=0.35, markeredgewidth=0
        )
    axes.plot([estimate.low, estimate.high], [at, at], color=colour, linewidth=1.0 if small else 1.8)
    face = colour if look.filled else "white"
    axes.plot(estimate.value, at, look.mark, color=colour, markersize=4 if small else 7, markerfacecolor=face)


def _frame(axes: Axes, rows: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), [ROWS[arm] for arm in rows])
    for tick, arm in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(KINDS[ARMS[arm].kind])
    kinds = [ARMS[arm].kind for arm in rows]
    for row in range(1, len(rows)):
        if kinds[row] != kinds[row - 1]:
            axes.axhline(row - 0.5, color="0.8", linewidth=0.8)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("inactive at the end, points more than without a treatment")
    for x, words, side in ((0.0, "\N{LEFTWARDS ARROW} saved", "left"), (1.0, "killed \N{RIGHTWARDS ARROW}", "right")):
        axes.text(x, 1.01, words, transform=axes.transAxes, ha=side, va="bottom", color="0.35")


def _caption(trials: Mapping[str, Sequence[Record]]) -> str:
    counts = []
    for name, records in trials.items():
        twins = [record for record in records if record["arm"] == NONE]
        treated = [sum(record["treated"]) for record in twins]
        dead = [
            100 * np.mean([d is not None for d, t in zip(r["died"], r["treated"], strict=True) if t]) for r in twins
        ]
        counts.append(
            f"{LOOKS[name].label}: n = {len(twins)} networks of {sum(twins[0]['layers'])} filters, {min(treated)} to "
            f"{max(treated)} treated, of which {np.mean(dead):.0f}% are inactive at the end without a treatment"
        )
    return (
        f"{'; '.join(counts)}. A quarter of each layer's active filters, drawn by lot, is treated from a tenth of the training on. "
        "Effect: their inactive share at the end minus that of the same filters in the untreated twin, mean and 95% t-interval "
        "over networks, small marks the networks; grey, the same of the active filters that are not treated. Rare gradients have "
        "their mean square kept where nothing else is said. x 0.316 is as small in mean square as 1 in 10, nothing kept."
    )


def _alt(trials: Mapping[str, Sequence[Record]], rows: Sequence[str]) -> str:
    def told(records: Sequence[Record], arm: str) -> str:
        e: Estimate = cause_by(records, arm)
        return f"{ROWS[arm]} {round(e.value):+d} [{round(e.low)}, {round(e.high)}]"

    said = [
        f"{LOOKS[name].label}: {', '.join(told(records, arm) for arm in rows if arm in _arms(records))}"
        for name, records in trials.items()
    ]
    return f"Effect of each arm in points, a row an arm. {'; '.join(said)}."
