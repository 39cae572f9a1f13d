"""Features that are lost where they can replace each other, against their selectivity, by optimizer and coupling."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from dynamics.couplings import COUPLINGS
from dynamics.door import checked
from figures.shares import intervals
from figures.style import WIDTH, Picture, colour_of, heading, label_of, marker_of, styled


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.compete.Compete.run`, at the reference strength: a panel a coupling, a mark an optimizer and
    selectivity."""
    reference, seeds = data.attrs["reference"], data.sizes["seed"]
    lost = 100 * data["inactive"].sel(strength=reference).mean("copy")
    names, levels = [str(n) for n in data["optimizer"].values], data["selectivity"].values
    places = np.arange(len(levels))
    with styled():
        count = data.sizes["coupling"]
        figure, panels = plt.subplots(
            count, 1, sharex=True, sharey=True, squeeze=False, figsize=(WIDTH, 1.7 + 1.45 * count)
        )
        highest = 0.0
        for axes, coupling in zip(panels.flat, map(str, data["coupling"].values), strict=True):
            for k, name in enumerate(names):
                cells = lost.sel(optimizer=name, coupling=coupling)
                mean, (below, above) = intervals(cells.transpose("selectivity", "seed").values)
                # A share has no more than all and no less than none.
                low, high = np.clip(mean - below, 0, 100), np.clip(mean + above, 0, 100)
                shift = 0.13 * (k - (len(names) - 1) / 2)
                axes.errorbar(
                    places + shift, mean, [mean - low, high - mean], fmt=marker_of(k), color=colour_of(name), markersize=5,
                    capsize=2, elinewidth=1.1, label=label_of(name), clip_on=False,
                )  # fmt: skip
                highest = max(highest, float(np.fmax(high, mean).max()))
            axes.set(xticks=places, xticklabels=[f"{s:.3g}" for s in levels], xlim=(-0.5, len(levels) - 0.5))
            axes.set_title(COUPLINGS[coupling].label)
        panels[0, 0].set_ylim(0, max(5.0, 1.06 * highest))
        figure.supylabel("features lost, %", fontsize=10)
        panels[-1, 0].set_xlabel(str(data["selectivity"].attrs.get("long_name", "selectivity")))
        figure.legend(
            handles=panels[0, 0].get_legend_handles_labels()[0],
            loc="outside lower center",
            ncols=len(names),
            fontsize=9,
        )
        l2 = lost.sel(coupling="l2").mean(("selectivity", "seed"))
        told = ", ".join(f"{label_of(n)} {float(l2.sel(optimizer=n)):.1f}%" for n in names)
        ends = dict.fromkeys(names[int(pick(l2.values))] for pick in (np.argmax, np.argmin))
        extremes = ", ".join(f"{label_of(n)} + L2 {float(l2.sel(optimizer=n)):.1f}%" for n in ends)
        heading(figure, f"Of features that others can replace, {extremes.replace('L2 ', 'L2 loses ', 1)}")
    rates = ", ".join(f"{label_of(n)} {float(data['lr'].sel(optimizer=n)):g}" for n in names)
    return Picture(
        "compete",
        figure,
        f"Networks of {data.attrs['features']} features, {data.sizes['copy']} of each selectivity, half of which make the "
        f"target; {data.attrs['steps']} steps on {data.attrs['images']} images, batch {data.attrs['batch']}, strength "
        f"{reference:g}, tuned learning rates ({rates}). Lost: active for no image. Mean and 95% t-interval over "
        f"n = {seeds} seeds, cut at 0 and 100%.",
        f"A panel a coupling, share of lost features against selectivity. Lost with L2: {told}.",
    )
