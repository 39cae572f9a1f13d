"""Pictures of measures, removals and certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fullscale.measure import Activity
    from fullscale.prune import Certificate, Removal

# What is spoken of, and what stands beside it.
OWN, BESIDE, REST = "#D55E00", "#0072B2", "#cccccc"


def draw_activity(activity: Activity, axes: Axes) -> None:
    """Of each layer the share that is inactive by activation, and by scale where it has scales."""
    places = np.arange(len(activity.norms))
    for values, offset, colour, label in (
        (activity.layers_by_activation(), -0.2, OWN, "by activation"),
        (activity.layers_by_scale(), 0.2, BESIDE, "by scale"),
    ):
        axes.barh(places + offset, [100 * value for value in values], 0.38, color=colour, label=label)
    axes.set(xlabel="inactive filters, % of the layer", xlim=(0, 100))
    _layers(axes, [f"{name} ({len(peak)})" for name, peak in zip(activity.norms, activity.peak, strict=True)])
    axes.legend()


def draw_removal(removal: Removal, axes: Axes) -> None:
    """Of each layer the filters before, and those that stay."""
    places = range(len(removal.layers))
    axes.barh(places, [layer.filters for layer in removal.layers], color=REST, label="before")
    axes.barh(places, [len(layer.kept) for layer in removal.layers], color=BESIDE, label="after")
    axes.set_xlabel("filters")
    _layers(axes, [layer.name for layer in removal.layers])
    axes.legend()


def draw_certificate(certificate: Certificate, axes: Axes) -> None:
    """Of each output on each set of inputs its difference, beside what rounding does and what is allowed."""
    each = certificate.differences
    places = range(len(each))
    least = min((x for one in each for x in (one.difference, one.rounding, one.allowed) if x > 0), default=1.0) / 10
    for values, mark, colour, label in (
        ([one.allowed for one in each], "|", OWN, "allowed"),
        ([one.rounding for one in each], "o", REST, "rounding alone"),
        ([one.difference for one in each], "D", "black", "difference"),
    ):
        axes.plot(
            values, places, mark, color=colour, label=label, markersize=16 if mark == "|" else 7, markeredgewidth=2
        )
    # Where networks compute the same the difference is 0: below the least number the axis is linear.
    axes.set_xscale("symlog", linthresh=least)
    axes.set_xlim(left=-least / 4)
    axes.set_xlabel("largest absolute difference of an output")
    _layers(axes, [f"{one.on.replace('_', ' ')} {one.output}".strip() for one in each])
    axes.legend(loc="best")


def _layers(axes: Axes, names: Sequence[str]) -> None:
    """A line for each, the first at the top; of very many every so many-th is named."""
    every = len(names) // 20 + 1
    axes.set(ylim=(len(names) - 0.4, -0.6))
    axes.set_yticks(range(0, len(names), every), names[::every], parse_math=False)
