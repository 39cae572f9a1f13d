"""A probe as a picture: of each value what is claimed and what acts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynamics.probe.report import Answer, joined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIMED, ACTING, APART = "#0072B2", "black", "#D55E00"
# Values of one part in a million apart are the same: claims are read off as decimals.
_SAME = 1e-6


def draw(answers: Sequence[Answer], axes: Axes) -> None:
    """Rings for what is claimed, dots for what acts, each on a line of its own; a line where the two are apart."""
    labels, pairs, each = [], [], list(joined(answers))
    for group, parameters, answer in each:
        where = f"group {group}, {parameters[0]}{', ...' if len(parameters) > 1 else ''}: "
        for name, acting in answer.values.items():
            labels.append(f"{where if len(each) > 1 else ''}{name}")
            pairs.append((answer.claimed.get(name), float(acting)))
    known = [abs(x) for pair in pairs for x in pair if x]
    # Below it the axis is linear, so that 0 has a place.
    least = min(known, default=1.0) / 10
    for place, (claimed, acting) in enumerate(pairs):
        if claimed is not None and not math.isclose(claimed, acting, rel_tol=_SAME):
            axes.plot([claimed, acting], [place, place], color=APART, linewidth=3, zorder=1)
            axes.text(
                max(claimed, acting), place, f"   {claimed:g} claimed, {acting:.4g} acts", va="center", color=APART
            )
    for values, mark, face, label in (
        ([claimed for claimed, _ in pairs], "o", "white", "claimed"),
        ([acting for _, acting in pairs], ".", ACTING, "acts"),
    ):
        shown = [(value, place) for place, value in enumerate(values) if value is not None]
        axes.plot(
            [value for value, _ in shown], [place for _, place in shown], mark, label=label, markersize=9 if mark == "o" else 6,
            markerfacecolor=face, markeredgecolor=CLAIMED if mark == "o" else ACTING, linestyle="",
        )  # fmt: skip
    axes.set_xscale("symlog", linthresh=least)
    most = 1000 * max(known, default=1.0)
    decades = range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1)
    axes.set_xticks([0.0, *(10.0**k for k in decades[1 :: len(decades) // 6 + 1])])
    axes.set(xlabel="value", xlim=(None, most), ylim=(len(pairs) - 0.4, -0.6))
    axes.set_yticks(range(len(pairs)), labels, parse_math=False)
    axes.legend(loc="best")
