"""Features that survive where they can replace each other, against their selectivity, by optimizer and coupling."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from dynamics.couplings import COUPLINGS
from evidence.claim import mean_interval
from figures.style import Picture, colour_of, label_ends, label_of, styled


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.compete.Compete.run`, at the reference strength: a panel a coupling, a mark an optimizer and
    selectivity."""
    reference, seeds = data.attrs["reference"], data.sizes["seed"]
    alive = 100 * (1 - data["inactive"].sel(strength=reference).mean("copy"))
    names, levels = [str(n) for n in data["optimizer"].values], data["selectivity"].values
    places = np.arange(len(levels))
    with styled():
        figure, panels = plt.subplots(1, data.sizes["coupling"], sharey=True, figsize=(9.8, 4.0))
        lowest = 100.0
        for axes, coupling in zip(panels, map(str, data["coupling"].values), strict=True):
            last = []
            for k, name in enumerate(names):
                cells = alive.sel(optimizer=name, coupling=coupling)
                found = [mean_interval(cells.isel(selectivity=i).values, "", "seeds") for i in places]
                mean = np.array([e.value for e in found])
                # A share has no more than all and no less than none.
                low, high = (np.clip([getattr(e, side) for e in found], 0, 100) for side in ("low", "high"))
                shift = 0.13 * (k - (len(names) - 1) / 2)
                axes.errorbar(
                    places + shift, mean, [mean - low, high - mean], fmt="o-", color=colour_of(name), linewidth=0.9,
                    markersize=5, capsize=2, elinewidth=1.1,
                )  # fmt: skip
                last.append(float(mean[-1]))
                lowest = min(lowest, float(low.min()))
            axes.set(
                xticks=places, xticklabels=[f"{s:.3g}" for s in levels], xlim=(-0.5, len(levels) - 0.5),
                title=COUPLINGS[coupling].label,
            )  # fmt: skip
        bottom = max(0.0, lowest - 3)
        panels[0].set(ylim=(bottom - 1, 102), ylabel="features alive, %")
        ends = {
            label_of(n): ((h - bottom + 1) / (103 - bottom), colour_of(n)) for n, h in zip(names, last, strict=True)
        }
        label_ends(panels[-1], ends, gap=0.065)
        figure.supxlabel(str(data["selectivity"].attrs.get("long_name", "selectivity")), fontsize=10)
        lost = 100 - alive.sel(coupling="l2").mean(("selectivity", "seed"))
        told = ", ".join(f"{label_of(n)} {float(lost.sel(optimizer=n)):.1f}%" for n in names)
        most, least = (names[int(i)] for i in (np.argmax(lost.values), np.argmin(lost.values)))
        figure.suptitle(
            f"Of features that others can replace, {label_of(most)} + L2 loses {float(lost.max()):.1f}%, {label_of(least)} + L2 "
            f"{float(lost.min()):.1f}%",
            x=0.01,
            ha="left",
            weight="bold",
        )
    rates = ", ".join(f"{label_of(n)} {float(data['lr'].sel(optimizer=n)):g}" for n in names)
    return Picture(
        "compete",
        figure,
        f"Networks of {data.attrs['features']} features, {data.sizes['copy']} of each selectivity, half of which make the "
        f"target; {data.attrs['steps']} steps on {data.attrs['images']} images, batch {data.attrs['batch']}, strength "
        f"{reference:g}, tuned learning rates ({rates}). Alive: active for some image. Mean and 95% t-interval over "
        f"n = {seeds} seeds, cut at 0 and 100%.",
        f"A panel a coupling, share of live features against selectivity. Lost with L2: {told}.",
    )
