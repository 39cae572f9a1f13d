"""How many filters fall silent as one ordinary knob of the training is turned: a panel a knob."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from evidence.claim import Estimate, mean_interval
from figures.shares import intervals, with_ticks
from figures.style import WIDTH, Picture, colour_of, heading, styled

_COLUMNS = 2


@checked
def draw(data: xr.Dataset) -> Picture:
    """Trained networks: means with intervals, and each seed as a dot.

    data: `inactive` in percent over (knob, level, seed), NaN where a run diverged; the coordinate knob names the panels, the
    coordinate `value` over (knob, level) says what the knob was set to, rising, NaN behind a knob's last level, and `asked`
    over (knob, seed) which seeds a knob was turned with; attributes `network`, `data` and `optimizer`, for the caption.
    """
    names = [str(name) for name in data["knob"].values]
    found = {name: trend(data.sel(knob=name)) for name in names}
    lost = int((data["value"].notnull() & data["asked"] & data["inactive"].isnull()).sum())
    with styled():
        rows = -(-len(names) // _COLUMNS)
        figure, grid = plt.subplots(rows, _COLUMNS, sharey=True, squeeze=False, figsize=(WIDTH, 0.9 + 2.1 * rows))
        for axes, name in zip(grid.flat, names, strict=False):
            _panel(axes, data.sel(knob=name), found[name])
            axes.set_title(f"{name}\n{_in_words(found[name])}", fontsize=10)
        for axes in grid.flat[len(names) :]:
            axes.remove()
        top = max(float(data["inactive"].max()), 1.0)
        grid[0, 0].set_ylim(-0.05 * top, 1.1 * top)
        figure.supylabel("filters inactive, %", fontsize=10)
        heading(figure, _title(found))
    counts = sorted({int(n) for n in data["asked"].sum("seed").values})
    seeds = " or ".join(map(str, counts))
    note = f" {lost} runs diverged: their dots are missing, and their seeds are left out of the slope." if lost else ""
    attrs = data.attrs
    return Picture(
        "knobs",
        figure,
        f"{attrs['network']} on {attrs['data']}, {attrs['optimizer']}; one knob is turned, the others stay. Dots: n = {seeds} "
        "seeds; lines: their mean and 95% t-interval. Above each panel: least squares against log2 of the knob, in points a "
        f"doubling, with the 95% t-interval over seeds.{note}",
        f"{len(names)} panels of the share of inactive filters against a knob. Slopes in points a doubling: "
        + "; ".join(f"{name} {_number(found[name])}" for name in names)
        + ".",
    )


def trend(knob: xr.Dataset) -> Estimate | None:
    """Slope against log2 of the knob's value, one sample a seed that has every level: None of fewer than two such seeds."""
    kept = knob["value"].notnull().values
    samples = knob["inactive"].transpose("level", "seed").values[kept]
    samples = samples[:, np.isfinite(samples).all(axis=0)]
    if samples.shape[1] < 2 or len(samples) < 2:
        return None
    slopes = np.polyfit(np.log2(knob["value"].values[kept].astype(float)), samples, 1)[0]
    return mean_interval(slopes, "points a doubling", "seeds")


def _panel(axes: Axes, knob: xr.Dataset, found: Estimate | None) -> None:
    kept = knob["value"].notnull().values
    x = knob["value"].values[kept].astype(float)
    each = knob["inactive"].transpose("level", "seed").values[kept]
    known = [row[np.isfinite(row)] for row in each]
    means, below, above = np.full((3, len(x)), np.nan)
    for k, row in enumerate(known):
        if row.size:
            [means[k]], [[below[k]], [above[k]]] = intervals(row[None])
    # A share has no less than none and no more than all.
    bars = np.minimum([below, above], [means, 100 - means])
    colour = colour_of("adam") if _moves(found) else "0.4"
    axes.errorbar(x, means, bars, fmt="-", color=colour, linewidth=1.6, capsize=4, zorder=2)
    axes.plot(
        np.repeat(x, [r.size for r in known]), np.concatenate(known), "o", color=colour, markerfacecolor="white", markersize=4,
        zorder=3,
    )  # fmt: skip
    with_ticks(axes, x)
    room = (x[-1] / x[0]) ** 0.12
    axes.set_xlim(x[0] / room, x[-1] * room)


def _moves(found: Estimate | None) -> bool:
    return found is not None and not found.low <= 0 <= found.high


def _in_words(found: Estimate | None) -> str:
    return "no slope: too few seeds" if found is None else f"{_number(found)} a doubling"


def _number(found: Estimate | None) -> str:
    return "unknown" if found is None else f"{found.value:+.1f} [{found.low:.1f}, {found.high:.1f}]"


def _title(found: dict[str, Estimate | None]) -> str:
    """Which knobs raise the share, which lower it, and of which the interval holds 0."""
    signs = {name: float(np.sign(e.value)) if e is not None and _moves(e) else 0.0 for name, e in found.items()}
    said = [
        f"{words} {', '.join(name for name, s in signs.items() if s == sign)}"
        for sign, words in ((1.0, "rises with"), (-1.0, "falls with"), (0.0, "has no certain trend with"))
        if sign in signs.values()
    ]
    return f"The share of inactive filters {'; '.join(said)}"
