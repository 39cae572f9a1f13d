"""What a larger network does to its features: how far they shrink when they share a target, and how many die."""

from __future__ import annotations

import xarray as xr
from matplotlib import pyplot as plt

from figures.shares import curve, label_shares, share_axis, with_ticks
from figures.style import LINES, Picture, colour_of, label_ends, styled


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.capacity.Capacity.run`: mean weight and share of dead features against the number of features."""
    networks, batches = data.network.values, data.batch.values
    orange, blue = colour_of("adam"), colour_of("sgd")
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.4, 4.2))
        top = 1.1 * float(max(data["shared"].max(), data["shared_closed"].max()))
        ends: dict[str, tuple[float, str]] = {}
        for coupling, words, face in (("l2", "Adam + L2", orange), ("decoupled_lr", "Adam + decay", "white")):
            shared = data.sel(coupling=coupling)
            left.plot(networks, shared["shared_closed"], color="0.6", linewidth=4, zorder=1)
            left.plot(networks, shared["shared"], "o", color=orange, markerfacecolor=face, markersize=6)
            ends[words] = (float(shared["shared"][-1]) / top, orange)
        left.set(ylim=(0, top), ylabel="mean weight", title="features that share a target")
        label_ends(left, ends)
        share_axis(right)
        right.set_title("features that few patterns excite")
        ends = {}
        for k, batch in enumerate(int(b) for b in batches):
            share = data["dead"].sel(optimizer="adam", coupling="l2", batch=batch)
            last = curve(right, networks, share.transpose("network", "seed").values, k, orange)
            ends[f"Adam + L2, B = {batch}"] = (last, orange)
        others = {
            "Adam + decay": ("adam", "decoupled_lr", orange, LINES["decoupled_lr"]),
            "SGD + L2": ("sgd", "l2", blue, LINES["l2"]),
        }
        for words, (rule, coupling, colour, line) in others.items():
            share = data["dead"].sel(optimizer=rule, coupling=coupling).mean(("batch", "seed"))
            right.plot(networks, share, color=colour, linestyle=line, linewidth=1.4)
            ends[words] = (float(share[-1]), colour)
        unused = data["unused"].mean("seed")
        right.plot(networks, unused, color="0.8", linewidth=6, zorder=1)
        ends["no pattern at all"] = (float(unused[-1]), "0.45")
        label_shares(right, ends)
        for axes in (left, right):
            with_ticks(axes, networks)
            axes.set_xlabel("features in the network, K")
        shares = data["dead"].sel(optimizer="adam", coupling="l2").mean(("batch", "seed"))
        first, last = float(shares[0]), float(shares[-1])
        figure.suptitle(
            f"Adam + L2 loses {first:.0%} of {networks[0]:,} features and {last:.0%} of {networks[-1]:,}; "
            f"Adam + decay {_most(data, 'adam', 'decoupled_lr'):.0%} at most, SGD {_most(data, 'sgd', 'l2'):.0%}",
            x=0.01,
            ha="left",
            weight="bold",
            fontsize=11,
        )
    sizes = {c: [float(data["shared"].sel(coupling=c)[k]) for k in (0, -1)] for c in ("l2", "decoupled_lr")}
    attrs = data.attrs
    return Picture(
        "capacity",
        figure,
        f"Left: loss (sum p_k w_k - Y)^2/2, p about 1/K, strength {attrs['strength']:g}; deterministic, n = {len(networks)} "
        "networks; grey: the closed forms p Y/(strength + sum p^2) and Y/sum p. Right: "
        f"{attrs['patterns']} patterns, each exciting one of K features, {attrs['steps']:,} steps; dead is a weight that fell to "
        f"{attrs['floor']:g}. Mean and 95% t-interval over n = {data.sizes['seed']} seeds of {attrs['followed']} features; curves "
        "without marks: mean over batch sizes; broad grey: features that no pattern excites.",
        f"Mean weight from {networks[0]:,} to {networks[-1]:,} features: {sizes['l2'][0]:.2f} to {sizes['l2'][1]:.2f} under L2, "
        f"{sizes['decoupled_lr'][0]:.2f} to {sizes['decoupled_lr'][1]:.2f} under decay. Share of dead features under Adam + L2: "
        f"{first:.0%} to {last:.0%}.",
    )


def _most(data: xr.Dataset, rule: str, coupling: str) -> float:
    """The largest mean share of dead features of any setting."""
    return float(data["dead"].sel(optimizer=rule, coupling=coupling).mean("seed").max())
