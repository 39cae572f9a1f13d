"""What an easy task does to features: gradients that fade, and features that no pattern needs."""

from __future__ import annotations

import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from figures.shares import curve, label_shares, share_axis, with_ticks
from figures.style import LINES, Picture, colour_of, styled


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.difficulty.Difficulty.run`: share of dead features, tasks growing easier to the right."""
    middle = float(data.scale.values[data.sizes["scale"] // 2])
    most, attrs = int(data.patterns.values.max()), data.attrs
    with styled():
        figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(10.4, 4.2))
        share_axis(left)
        _panel(left, data["dead"].sel(patterns=most), "scale", {})
        _panel(right, data["dead"].sel(scale=middle), "patterns", {"no pattern at all": data["unused"].mean("seed")})
        left.set(xlabel="scale of the loss gradient", title=f"{most} patterns")
        right.set(xlabel=f"patterns for {attrs['network']} features", title=f"gradients of scale {middle:g}")
        by_scale = data["dead"].sel(optimizer="adam", patterns=most).mean(("batch", "seed"))
        small, large = (by_scale.sel(scale=pick) for pick in (data.scale.min(), data.scale.max()))
        l2, decay = ([float(s.sel(coupling=c)) for s in (large, small)] for c in ("l2", "decoupled_lr"))
        figure.suptitle(
            f"From gradients of scale {float(data.scale.max()):g} to {float(data.scale.min()):g}: Adam + L2 loses {l2[0]:.0%} to "
            f"{l2[1]:.0%} of the features, Adam + decay {decay[0]:.0%} to {decay[1]:.0%}",
            x=0.01,
            ha="left",
            weight="bold",
            fontsize=11,
        )
    by_patterns = data["dead"].sel(optimizer="adam", coupling="l2", scale=middle).mean(("batch", "seed"))
    few, many = (float(by_patterns.sel(patterns=pick)) for pick in (data.patterns.min(), data.patterns.max()))
    return Picture(
        "difficulty",
        figure,
        f"Share of features whose weight fell to {attrs['floor']:g} in {attrs['steps']:,} steps, strength {attrs['strength']:g}; "
        "each pattern excites one feature, chosen at random. Left: the whole loss gradient is scaled (label noise keeps it "
        f"large). Right: more or fewer patterns. Mean and 95% t-interval over n = {data.sizes['seed']} seeds of "
        f"{attrs['followed']} features; curves without marks: mean over batch sizes; broad grey: features that no pattern excites.",
        f"Two panels of the share of dead features, easier tasks to the right. Under Adam + L2 it goes from {l2[0]:.0%} "
        f"at the largest gradients to {l2[1]:.0%} at the smallest, and from {many:.0%} with {most} patterns to {few:.0%} with "
        f"{int(data.patterns.min())}; under decay from {decay[0]:.0%} to {decay[1]:.0%} at the smallest gradients.",
    )


def _panel(axes: Axes, dead: xr.DataArray, along: str, more: dict[str, xr.DataArray]) -> None:
    """Shares against `along`, which falls to the right; labels beside the last, the easiest setting."""
    dead = dead.sortby(along, ascending=False)
    x = dead[along].values
    ends: dict[str, tuple[float, str]] = {}
    for k, batch in enumerate(int(b) for b in dead.batch.values):
        share = dead.sel(optimizer="adam", coupling="l2", batch=batch).transpose(along, "seed").values
        ends[f"Adam + L2, B = {batch}"] = (curve(axes, x, share, k, colour_of("adam")), colour_of("adam"))
    curves = {
        "Adam + decay": (dead.sel(optimizer="adam", coupling="decoupled_lr"), colour_of("adam"), LINES["decoupled_lr"]),
        "SGD + L2": (dead.sel(optimizer="sgd", coupling="l2"), colour_of("sgd"), LINES["l2"]),
    }
    for words, (lost, colour, line) in curves.items():
        mean = lost.mean(("batch", "seed")).values
        axes.plot(x, mean, color=colour, linestyle=line, linewidth=1.4)
        ends[words] = (float(mean[-1]), colour)
    for words, other in more.items():
        known = other.sel({along: x}).values
        axes.plot(x, known, color="0.8", linewidth=6, zorder=1)
        ends[words] = (float(known[-1]), "0.45")
    with_ticks(axes, x)
    axes.invert_xaxis()
    label_shares(axes, ends)
