"""One style for all figures: a colour for each optimizer, a line style for each coupling, and how a figure is saved."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")  # pictures go to files; no display is asked for

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.ticker import NullLocator

from dynamics.given import kind
from dynamics.given import path as as_path
from dynamics.given import text as as_text
from dynamics.result import STYLE
from dynamics.rules import RULES
from evidence.files import write_together, write_whole

# Okabe and Ito's palette for the five that most figures show, told apart by the colour-blind; the order of lightness keeps
# them apart in grey. All others take their turn in further colours, those of the user's own after the rest.
_MAIN = {
    "sgd": "#0072B2",
    "momentum": "#56B4E9",
    "nesterov": "#009E73",
    "adam": "#D55E00",
    "rmsprop": "#CC79A7",
}
_FURTHER = (
    *("#117733", "#882255", "#332288", "#AA4499", "#000000", "#E69F00", "#44AA99", "#999933"),
    *("#6699CC", "#661100", "#7F5F00", "#BB5566", "#B15928", "#33A02C", "#6A3D9A"),
)
_MARKERS = "osv^Dx+*P<>"
# Of every figure, in inches: on a phone's 360 pixels letters of 10 points are then 8 pixels high.
WIDTH = 6.4
LINES = {
    "none": ":",
    "l2": "-",
    "l1": (0, (5, 1)),
    "decoupled_lr": "--",
    "decoupled_schedule": "-.",
    "decoupled_constant": (0, (1, 1)),
    "corrected": (0, (3, 1, 1, 1, 1, 1)),
    "cautious": (0, (5, 5)),
}


def label_of(optimizer: str) -> str:
    """What a figure calls a rule; its name, where it came from a file that is not loaded now."""
    return RULES[optimizer].label if optimizer in RULES else optimizer


def colour_of(optimizer: str) -> str:
    """The rule's colour, the same in all figures."""
    if optimizer in _MAIN:
        return _MAIN[optimizer]
    others = [name for name in RULES if name not in _MAIN]
    return _FURTHER[(others.index(optimizer) if optimizer in RULES else len(others)) % len(_FURTHER)]


def marker_of(place: int) -> str:
    """The mark of the curve at that place, where a figure has one for each."""
    return _MARKERS[place % len(_MARKERS)]


@dataclass(frozen=True)
class Picture:
    """A drawn figure with what a reader needs beside it.

    Args:
        name: of its files, without ending.
        figure: matplotlib's.
        caption: with n, interval and constants.
        alt: a text for those who cannot see it.

    Example:
        >>> with styled():
        ...     figure, axes = plt.subplots()
        >>> Picture("line", figure, "A line, n = 2.", "It rises.").alt
        'It rises.'
    """

    name: str
    figure: Figure
    caption: str
    alt: str

    def __post_init__(self) -> None:
        for word in ("name", "caption", "alt"):
            as_text(word, getattr(self, word))
        kind("figure", self.figure, Figure, "a figure of matplotlib's")


@dataclass(frozen=True)
class InlineSvg:
    """A picture as a page holds it: the text of its SVG in place of the figure."""

    name: str
    caption: str
    alt: str
    svg: str


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures are drawn in the project's style.

    Returns:
        A context manager.

    Example:
        >>> with styled():
        ...     plt.rcParams["axes.spines.top"]
        False
    """
    with plt.style.context(STYLE):
        yield


def heading(figure: Figure, finding: str) -> None:
    """The finding, in bold above all panels, in as many lines as it needs."""
    # A bold letter of 11 points is a tenth of an inch wide, a little less in the mean.
    kept = re.sub(r"\[[^]]*\]", lambda interval: interval[0].replace(" ", "\N{NO-BREAK SPACE}"), finding)
    lines = textwrap.wrap(kept, int(10.2 * figure.get_figwidth()), break_on_hyphens=False)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", weight="bold", fontsize=11)


def fixed_layout(figure: Figure) -> None:
    """Leave everything where it is put; with no engine at all, saving would bring the style's back."""
    figure.set_layout_engine(PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True))


def spread_labels(positions: list[float], gap: float) -> list[float]:
    """`positions` moved apart as little as needed to be `gap` from each other, in the order of their size."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = [positions[i] for i in order]
    # Pools of touching labels share their mean place; a pool that reaches the next one joins it.
    pools: list[tuple[float, int]] = []
    for position in placed:
        pools.append((position, 1))
        while len(pools) > 1 and pools[-1][0] - pools[-2][0] < gap * (pools[-1][1] + pools[-2][1]) / 2:
            (b, nb), (a, na) = pools.pop(), pools.pop()
            pools.append(((a * na + b * nb) / (na + nb), na + nb))
    spaced = [centre + gap * (k - (size - 1) / 2) for centre, size in pools for k in range(size)]
    result = [0.0] * len(positions)
    for i, where in zip(order, spaced, strict=True):
        result[i] = where
    return result


def label_ends(axes: Axes, ends: dict[str, tuple[float, str]], x: float = 1.01, gap: float = 0.055) -> None:
    """Write each label beside the axes at its curve's end, (height in axes fractions, colour), without overlap."""
    heights = spread_labels([height for height, _ in ends.values()], gap)
    ceiling = 0.98  # the title is above it
    for (text, (_, colour)), height in sorted(zip(ends.items(), heights, strict=True), key=lambda item: -item[1]):
        placed = min(height, ceiling)
        axes.text(x, placed, text, color=colour, transform=axes.transAxes, va="center", ha="left", fontsize=9)
        ceiling = placed - gap


def thin(figure: Figure) -> None:
    """Take the small ticks off logarithmic axes of more than a decade: hundreds of them cost a quarter of the drawing time."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axis.get_scale() == "log"):
        low, high = sorted(axis.get_view_interval())
        if high > 10 * low:
            axis.set_minor_locator(NullLocator())


def save(picture: Picture, folder: Path) -> InlineSvg:
    """Write a picture as SVG and as PNG, each whole or not at all; the same figure gives the same SVG bytes.

    Args:
        picture: its figure is closed afterwards.
        folder: gets name.svg and name.png.

    Returns:
        The picture as a page holds it.

    Raises:
        InputError: where they cannot be written.

    Example:
        >>> figure, axes = plt.subplots()
        >>> _ = axes.plot([0, 1])
        >>> _ = save(Picture("line", figure, "A line, n = 2.", "It rises."), Path("."))
        >>> sorted(path.name for path in Path(".").iterdir())
        ['line.png', 'line.svg']
    """
    kind("picture", picture, Picture, "a Picture")
    folder = as_path("folder", folder)
    svg, png = io.BytesIO(), io.BytesIO()
    with styled():  # the salt of the SVG's names, and ticks that are made only when they are drawn
        thin(picture.figure)
        # Placed once, for both files: the search for places takes longer than drawing.
        picture.figure.draw_without_rendering()
        picture.figure.set_layout_engine("none")
        picture.figure.savefig(svg, format="svg", metadata={"Date": None, "Title": picture.alt})
        picture.figure.savefig(png, format="png")
    plt.close(picture.figure)
    write_together({folder / f"{picture.name}.{end}": f.getvalue() for end, f in (("svg", svg), ("png", png))})
    return InlineSvg(picture.name, picture.caption, picture.alt, svg.getvalue().decode())


def save_as(picture: Picture, file: Path) -> None:
    """Write one file, whole or not at all, in the format of its ending; InputError where it cannot be written."""
    drawn = io.BytesIO()
    with styled():
        picture.figure.savefig(
            drawn, format=file.suffix[1:], metadata={"Title": picture.alt} if file.suffix != ".pdf" else None
        )
    plt.close(picture.figure)
    write_whole(file, drawn.getvalue())
