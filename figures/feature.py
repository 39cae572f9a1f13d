"""Single features that fall silent, against the selectivity of what they must fit, by optimizer and coupling."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from scipy.special import betaincinv

from dynamics.couplings import COUPLINGS
from dynamics.door import checked
from dynamics.rules import RULES
from figures.style import WIDTH, Picture, colour_of, heading, label_of, marker_of, styled


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.feature.Feature.run`, at the reference strength: a panel a coupling, a mark an optimizer and
    selectivity."""
    reference, seeds = data.attrs["reference"], data.sizes["seed"]
    dead = data["inactive"].sel(strength=reference).sum("seed")
    names, levels = [str(n) for n in data["optimizer"].values], data["selectivity"].values
    places = np.arange(len(levels))
    with styled():
        rows = -(-data.sizes["coupling"] // 2)
        figure, panels = plt.subplots(rows, 2, sharey=True, squeeze=False, figsize=(WIDTH, 1.5 + 2.3 * rows))
        for axes, coupling in zip(panels.flat, map(str, data["coupling"].values), strict=False):
            for k, name in enumerate(names):
                count = dead.sel(optimizer=name, coupling=coupling).values
                low, high = exact_interval(count, seeds)
                share = count / seeds
                shift = 0.13 * (k - (len(names) - 1) / 2)
                axes.errorbar(
                    places + shift, 100 * share, 100 * np.array([share - low, high - share]), fmt=f"{marker_of(k)}-",
                    linewidth=0.9, color=colour_of(name), markersize=5, capsize=2, elinewidth=1.1, label=label_of(name),
                )  # fmt: skip
            axes.set(
                xticks=places, xticklabels=[f"{s:g}" for s in levels], ylim=(-3, 103), xlim=(-0.5, len(levels) - 0.5),
                title=COUPLINGS[coupling].label,
            )  # fmt: skip
        for axes in panels.flat[data.sizes["coupling"] :]:
            axes.remove()
        panels[0, 0].legend(loc="upper left", fontsize=9)
        figure.supylabel("features active for no image, %", fontsize=10)
        figure.supxlabel(str(data["selectivity"].attrs.get("long_name", "selectivity")), fontsize=10)
        l2 = 100 * dead.sel(coupling="l2").mean("selectivity") / seeds
        groups = [[n for n in names if RULES[n].adaptive == adaptive] for adaptive in (False, True)]
        shares = ", ".join(
            f"{' and '.join(label_of(n) for n in group)} {float(l2.sel(optimizer=group).mean()):.1f}%"
            for group in groups
            if group
        )
        heading(figure, f"Features silent under L2, alone with a teacher: {shares}")
    top = float(levels[-1])
    lost = 100 * dead.sel(selectivity=top) / seeds
    rates = ", ".join(f"{label_of(n)} {float(data['lr'].sel(optimizer=n)):g}" for n in names)
    told = "; ".join(
        f"{COUPLINGS[c].label} "
        + ", ".join(f"{label_of(n)} {float(lost.sel(optimizer=n, coupling=c)):.0f}%" for n in names)
        for c in map(str, data["coupling"].values)
    )
    return Picture(
        "feature",
        figure,
        f"BatchNorm + ReLU features that alone fit a teacher, after {data.attrs['steps']} steps on {data.attrs['images']} "
        f"images, batch {data.attrs['batch']}, strength {reference:g}, tuned learning rates ({rates}); shares of n = {seeds} "
        "seeds with the exact 95% binomial interval (Clopper, Pearson 1934).",
        f"A panel a coupling, share of silent features against selectivity. At {top:g}: {told}.",
    )


def exact_interval(count: np.ndarray, of: int) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of a share of which `count` of `of` trials were seen, at 95% (Clopper, Pearson 1934)."""
    low = np.where(count > 0, betaincinv(np.maximum(count, 1), of - count + 1, 0.025), 0.0)
    high = np.where(count < of, betaincinv(count + 1, np.maximum(of - count, 1), 0.975), 1.0)
    return low, high
