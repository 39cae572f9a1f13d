"""Which features die against the batch size, and against the batch selectivity that is said to decide it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib import pyplot as plt

from dynamics.theory.closed import critical_arrival
from figures.shares import curve, heading, label_shares, share_axis, with_ticks
from figures.style import Picture, styled

HORIZONS = ("epochs", "steps")


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.minibatch.MiniBatch.run`, Adam + L2: one curve a selectivity; x axes fall, so that death is on the right."""
    dead = data["dead"].sel(optimizer="adam", coupling="l2")
    images, batches = data.attrs["images"], data.batch.values
    arrival = 1 - data["silent_epoch"]
    colours = [colormaps["cividis"](x) for x in np.linspace(0, 0.85, data.sizes["exciting"])]
    with styled():
        figure, panels = plt.subplots(1, 3, sharey=True, figsize=(11, 4.2))
        titles = (
            f"after {data.attrs['epochs']} epochs",
            f"after {data.attrs['steps']:,} steps",
            f"the same {data.attrs['steps']:,} steps",
        )
        ends: dict[str, tuple[float, tuple[float, ...]]] = {}
        share_axis(panels[0])
        # The rarest last: where labels tie, the first is the lowest.
        for e, exciting in reversed([*enumerate(int(k) for k in data.exciting.values)]):
            epochs, steps = (dead.sel(exciting=exciting, horizon=h).transpose("batch", "seed").values for h in HORIZONS)
            curve(panels[0], batches, epochs, e, colours[e])
            curve(panels[1], batches, steps, e, colours[e])
            curve(panels[2], arrival.sel(exciting=exciting).values, steps, e, colours[e])
            ends[f"{exciting} of {images}"] = (float(steps[0].mean()), colours[e])
        critical = critical_arrival(data.attrs["beta2"])
        panels[2].axvline(critical, color="0.4", linewidth=0.8, linestyle=":")
        panels[2].text(critical / 1.15, 0.2, "critical", color="0.35", fontsize=8.5, ha="left", va="center")
        for axes in panels[:2]:
            with_ticks(axes, batches)
            axes.set_xlabel("images in a batch")
        panels[2].set(xscale="log", xlabel="P(gradient in a batch), about 1 - s^B")
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title)
            axes.invert_xaxis()
        label_shares(panels[1], ends)
        panels[1].text(1.01, 1.06, "excited by", transform=panels[1].transAxes, fontsize=9, color="0.35", va="center")
        shares = dead.sel(horizon="steps").mean(("exciting", "seed"))
        small, large = (float(shares.isel(batch=k)) for k in (0, -1))
        heading(
            figure,
            f"Adam + L2 loses {small:.0%} of the features in batches of {batches[0]}, {large:.0%} in batches of "
            f"{batches[-1]}, after equally many steps",
            fontsize=11,
        )
    by_epochs = dead.sel(horizon="epochs").mean(("exciting", "seed"))
    worst = _apart(dead.sel(horizon="steps"))
    return Picture(
        "batch",
        figure,
        f"Share of features whose weight fell to {data.attrs['floor']:g}, Adam (beta2 {data.attrs['beta2']:g}) + L2 of "
        f"strength {data.attrs['strength']:g}, {images} images an epoch; each curve is a feature that so many of them excite. Mean "
        f"and 95% t-interval over n = {data.sizes['seed']} seeds of {data.attrs['features']} features. Right: if selectivity "
        f"decided alone, all curves would be one; at equal images x batch they are up to {worst:.0%} of the features apart. "
        "Dotted: the arrival at which 1/sqrt(v) loses its mean.",
        f"Three panels of the share of dead features. Over all selectivities it goes from {small:.0%} at batch {batches[0]} to "
        f"{large:.0%} at batch {batches[-1]} after equal steps, and from {float(by_epochs[0]):.0%} to {float(by_epochs[-1]):.0%} "
        f"after equal epochs; at equal probability of a gradient it differs by up to {worst:.0%}.",
    )


def _apart(dead: xr.DataArray) -> float:
    """The largest difference of mean shares between settings with equal batch x exciting."""
    flat = dead.mean("seed").stack(setting=("batch", "exciting"))
    groups = (flat["batch"] * flat["exciting"]).values
    return float(max(np.ptp(flat.values[groups == g]) for g in np.unique(groups)))
