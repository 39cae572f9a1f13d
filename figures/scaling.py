"""How fast the compiled loop is against the number of lanes, steps and threads: a reader sees what a run costs."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from dynamics.door import checked
from figures.style import WIDTH, Picture, colour_of, heading, styled

_NOUNS = {"lanes": "weights", "steps": "steps", "threads": "threads"}
_COLOUR = colour_of("sgd")


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `bench.scaling.speeds_by_axis`: `by_lanes`, `by_steps`, `by_threads` (axis, repetition), weight-steps a second."""
    speeds = {axis: data[f"by_{axis}"].transpose(axis, "repetition") / 1e6 for axis in _NOUNS}
    middles = {axis: found.median("repetition") for axis, found in speeds.items()}
    cores = data.attrs["cores"]
    with styled():
        figure, panels = plt.subplots(3, 1, figsize=(WIDTH, 7.6), sharey=True)
        for panel, (axis, found) in zip(panels, speeds.items(), strict=True):
            low, high = found.min("repetition"), found.max("repetition")
            panel.fill_between(found[axis], low, high, color=_COLOUR, alpha=0.25, linewidth=0)
            panel.plot(found[axis], middles[axis], color=_COLOUR, marker="o", markersize=4)
            others = [f"{data.attrs[other]:,} {_noun(other, data.attrs[other])}" for other in _NOUNS if other != axis]
            panel.set_title(", ".join(others), fontsize=9, fontweight="normal")
            panel.set(xscale="log", xlabel=_NOUNS[axis])
            _ticks(panel, found[axis].values)
        ideal = middles["threads"][0] * np.minimum(data.threads, cores)
        panels[2].plot(data.threads, ideal, color="0.4", linestyle="--", linewidth=1.2)
        panels[2].text(
            float(data.threads[-1]),
            float(ideal[-1]) * 1.03,
            "x cores used",
            color="0.3",
            fontsize=8.5,
            ha="right",
            va="bottom",
        )
        top = max(float(ideal.max()), *(float(found.max()) for found in speeds.values()))
        panels[0].set_ylim(0, 1.2 * top)
        figure.supylabel("million weight-steps / s", fontsize=10)
        heading(figure, _title(middles, cores))
    ends = [
        f"{float(middle[0]):.0f} to {float(middle[-1]):.0f} from {int(middle[axis][0]):,} to {int(middle[axis][-1]):,} "
        + _NOUNS[axis]
        for axis, middle in middles.items()
    ]
    return Picture(
        "scaling",
        figure,
        f"The phase diagram's work on {data.attrs['processor']}, {cores} cores: Adam + L2 in float64, random gradients, deaths "
        "noted; what is fixed stands above each panel, and a run's set-up counts. Marks: median of "
        f"n = {data.sizes['repetition']} repetitions; bands: smallest to largest. Dashed: one thread's speed times the cores used.",
        f"Million weight-steps a second, median: {'; '.join(ends)}.",
    )


def _title(middles: dict[str, xr.DataArray], cores: int) -> str:
    lanes, threads = middles["lanes"], middles["threads"]
    enough = int(lanes.lanes[int(np.argmax(lanes.values >= 0.9 * lanes.values.max()))])
    used = threads[threads.threads.values <= cores][-1]
    more = f"{int(used.threads)} threads are {float(used / threads[0]):.2f} times as fast as one"
    title = f"{enough:,} weights at once reach nine tenths of the best speed"
    return f"{title}; {more}" if used.threads > 1 else title


def _noun(axis: str, number: int) -> str:
    return _NOUNS[axis] if number != 1 else _NOUNS[axis].removesuffix("s")


def _ticks(panel: Axes, values: np.ndarray) -> None:
    """At every second value where there are many, in whole numbers."""
    shown = values[:: 1 if len(values) <= 4 else 2]
    panel.set_xticks(shown, [f"{x:,}" for x in shown])
    panel.xaxis.set_minor_locator(NullLocator())
