"""What a larger network does to its features: how many die, and how far they shrink when they share a target."""

from __future__ import annotations

import xarray as xr
from matplotlib import pyplot as plt

from dynamics.door import checked
from figures.shares import curve, label_shares, mean_curve, share_axis, slope, with_ticks
from figures.style import LINES, WIDTH, Picture, colour_of, heading, label_ends, styled


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.capacity.Capacity.run`: above the share of dead features, below the mean weight, against the number of
    features."""
    networks, batches, attrs = data.network.values, data.batch.values, data.attrs
    orange, blue = colour_of("adam"), colour_of("sgd")
    with styled():
        figure, (died, held) = plt.subplots(2, 1, figsize=(WIDTH, 5.8), height_ratios=(3, 2))
        share_axis(died)
        died.set_title(f"features that {attrs['patterns']} patterns excite, each one of them")
        ends: dict[str, tuple[float, str]] = {}
        adam = data["dead"].sel(optimizer="adam", coupling="l2")
        for k, batch in enumerate(int(b) for b in batches):
            last = curve(died, networks, adam.sel(batch=batch).transpose("network", "seed").values, k, orange)
            ends[f"Adam + L2, B = {batch}"] = (last, orange)
        over_batches = adam.mean("batch").transpose("network", "seed")
        ends["Adam + L2, mean"] = (mean_curve(died, networks, over_batches.values), "black")
        others = {
            "Adam + decay": ("adam", "decoupled_lr", orange, LINES["decoupled_lr"]),
            "SGD + L2": ("sgd", "l2", blue, LINES["l2"]),
        }
        drawn = {words: other for words, other in others.items() if other[0] in data.optimizer}
        for words, (rule, coupling, colour, line) in drawn.items():
            share = data["dead"].sel(optimizer=rule, coupling=coupling).mean(("batch", "seed"))
            died.plot(networks, share, color=colour, linestyle=line, linewidth=1.4)
            ends[words] = (float(share[-1]), colour)
        unused = data["unused"].mean("seed")
        died.plot(networks, unused, color="0.8", linewidth=6, zorder=1)
        ends["no pattern at all"] = (float(unused[-1]), "0.45")
        label_shares(died, ends)
        top = 1.1 * float(max(data["shared"].max(), data["shared_closed"].max()))
        ends = {}
        for coupling, words, face in (("l2", "Adam + L2", orange), ("decoupled_lr", "Adam + decay", "white")):
            shared = data.sel(coupling=coupling)
            held.plot(networks, shared["shared_closed"], color="0.6", linewidth=4, zorder=1)
            held.plot(networks, shared["shared"], "o", color=orange, markerfacecolor=face, markersize=6)
            ends[words] = (float(shared["shared"][-1]) / top, orange)
        held.set(ylim=(0, top), ylabel="mean weight", title="features that fit one target together")
        held.set_xlabel("features in the network, K")
        label_ends(held, ends, gap=0.09)
        for axes in (died, held):
            with_ticks(axes, networks)
        first, last = (float(over_batches.mean("seed")[k]) for k in (0, -1))
        heading(
            figure,
            f"Adam + L2 loses {first:.0%} of {networks[0]:,} features and {last:.0%} of {networks[-1]:,}: "
            f"{slope(over_batches, 'network')}; "
            + ", ".join(f"{words} {_most(data, *drawn[words][:2]):.0%} at most" for words in drawn),
        )
    sizes = {c: [float(data["shared"].sel(coupling=c)[k]) for k in (0, -1)] for c in ("l2", "decoupled_lr")}
    return Picture(
        "capacity",
        figure,
        f"Above: {attrs['patterns']} patterns, each exciting one of K features, {attrs['steps']:,} steps; dead is a weight that "
        f"fell to {attrs['floor']:g}. Mean and 95% t-interval over n = {data.sizes['seed']} seeds of {attrs['followed']} "
        "features; black, and curves without marks: mean over batch sizes B; broad grey: features that no pattern excites. "
        f"Below: loss (sum p_k w_k - Y)^2/2, p about 1/K, strength {attrs['strength']:g}; deterministic, n = {len(networks)} "
        "networks; grey: the closed forms p Y/(strength + sum p^2) and Y/sum p.",
        f"Mean weight from {networks[0]:,} to {networks[-1]:,} features: {sizes['l2'][0]:.2f} to {sizes['l2'][1]:.2f} under L2, "
        f"{sizes['decoupled_lr'][0]:.2f} to {sizes['decoupled_lr'][1]:.2f} under decay. Share of dead features under Adam + L2: "
        f"{first:.0%} to {last:.0%}.",
    )


def _most(data: xr.Dataset, rule: str, coupling: str) -> float:
    """The largest mean share of dead features of any setting."""
    return float(data["dead"].sel(optimizer=rule, coupling=coupling).mean("seed").max())
