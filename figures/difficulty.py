"""What an easy task does to features: gradients that fade, and features that no pattern needs."""

from __future__ import annotations

import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from figures.shares import curve, label_shares, mean_curve, share_axis, slope, with_ticks
from figures.style import LINES, WIDTH, Picture, colour_of, heading, styled


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.difficulty.Difficulty.run`: share of dead features, tasks growing easier to the right."""
    middle = float(data.scale.values[data.sizes["scale"] // 2])
    most, attrs = int(data.patterns.values.max()), data.attrs
    adam = data["dead"].sel(optimizer="adam")
    with styled():
        figure, (above, below) = plt.subplots(2, 1, sharey=True, figsize=(WIDTH, 6.6))
        _panel(above, data["dead"].sel(patterns=most), "scale", {})
        _panel(below, data["dead"].sel(scale=middle), "patterns", {"no pattern at all": data["unused"].mean("seed")})
        above.set(xlabel="scale of the loss gradient", title=f"smaller gradients ({most} patterns)")
        below.set(
            xlabel=f"patterns for {attrs['network']} features",
            title=f"fewer patterns (gradients of scale {middle:g})",
        )
        by_scale = adam.sel(patterns=most).mean("batch")
        ends = [by_scale.mean("seed").sel(scale=pick) for pick in (data.scale.max(), data.scale.min())]
        l2, decay = ([float(s.sel(coupling=c)) for s in ends] for c in ("l2", "decoupled_lr"))
        heading(
            figure,
            f"From gradients of scale {float(data.scale.max()):g} to {float(data.scale.min()):g} Adam + L2 loses {l2[0]:.0%} to "
            f"{l2[1]:.0%} of the features ({slope(by_scale.sel(coupling='l2'), 'scale')}), Adam + decay {decay[0]:.0%} to "
            f"{decay[1]:.0%}",
        )
    by_patterns = adam.sel(coupling="l2", scale=middle).mean(("batch", "seed"))
    few, many = (float(by_patterns.sel(patterns=pick)) for pick in (data.patterns.min(), data.patterns.max()))
    return Picture(
        "difficulty",
        figure,
        f"Share of features whose weight fell to {attrs['floor']:g} in {attrs['steps']:,} steps, strength {attrs['strength']:g}; "
        "each pattern excites one feature, chosen at random. Above: the whole loss gradient is scaled (label noise keeps it "
        f"large). Below: more or fewer patterns. Mean and 95% t-interval over n = {data.sizes['seed']} seeds of "
        f"{attrs['followed']} features; black, and curves without marks: mean over batch sizes B; broad grey: features that no "
        "pattern excites.",
        f"Two panels of the share of dead features, easier tasks to the right. Under Adam + L2 it goes from {l2[0]:.0%} "
        f"at the largest gradients to {l2[1]:.0%} at the smallest, and from {many:.0%} with {most} patterns to {few:.0%} with "
        f"{int(data.patterns.min())}; under decay from {decay[0]:.0%} to {decay[1]:.0%} at the smallest gradients.",
    )


def _panel(axes: Axes, dead: xr.DataArray, along: str, more: dict[str, xr.DataArray]) -> None:
    """Shares against `along`, which falls to the right; labels beside the last, the easiest setting."""
    dead = dead.sortby(along, ascending=False)
    x = dead[along].values
    ends: dict[str, tuple[float, str]] = {}
    share_axis(axes)
    adam = dead.sel(optimizer="adam", coupling="l2").transpose(along, "batch", "seed")
    for k, batch in enumerate(int(b) for b in dead.batch.values):
        share = adam.sel(batch=batch).values
        ends[f"Adam + L2, B = {batch}"] = (curve(axes, x, share, k, colour_of("adam")), colour_of("adam"))
    ends["Adam + L2, mean"] = (mean_curve(axes, x, adam.mean("batch").values), "black")
    curves = {
        "Adam + decay": (dead.sel(optimizer="adam", coupling="decoupled_lr"), colour_of("adam"), LINES["decoupled_lr"]),
    }
    if "sgd" in dead.optimizer:
        curves["SGD + L2"] = (dead.sel(optimizer="sgd", coupling="l2"), colour_of("sgd"), LINES["l2"])
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
