"""Which features die against the batch size, and against the batch selectivity that is said to decide it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib import pyplot as plt

from dynamics.door import checked
from dynamics.theory.closed import critical_arrival
from figures.shares import curve, label_shares, mean_curve, share_axis, slope, with_ticks
from figures.style import WIDTH, Picture, heading, styled

HORIZONS = ("epochs", "steps")


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.minibatch.MiniBatch.run`, Adam + L2: one curve a selectivity and their mean; x axes fall, so that death
    is on the right."""
    dead = data["dead"].sel(optimizer="adam", coupling="l2")
    images, batches = data.attrs["images"], data.batch.values
    arrival = 1 - data["silent_epoch"]
    colours = [colormaps["cividis"](x) for x in np.linspace(0, 0.85, data.sizes["exciting"])]
    with styled():
        figure, panels = plt.subplot_mosaic([["epochs", "steps"], ["arrival", "arrival"]], figsize=(WIDTH, 6.2))
        by_epochs, by_steps, by_arrival = panels.values()
        ends: dict[str, tuple[float, str | tuple[float, ...]]] = {}
        # The rarest last: where labels tie, the first is the lowest.
        for e, exciting in reversed([*enumerate(int(k) for k in data.exciting.values)]):
            epochs, steps = (dead.sel(exciting=exciting, horizon=h).transpose("batch", "seed").values for h in HORIZONS)
            curve(by_epochs, batches, epochs, e, colours[e])
            curve(by_steps, batches, steps, e, colours[e])
            curve(by_arrival, arrival.sel(exciting=exciting).values, steps, e, colours[e])
            ends[f"{exciting} of {images}"] = (float(steps[0].mean()), colours[e])
        means = {h: dead.sel(horizon=h).mean("exciting") for h in HORIZONS}
        for axes, horizon in zip((by_epochs, by_steps), HORIZONS, strict=True):
            mean_curve(axes, batches, means[horizon].transpose("batch", "seed").values)
            with_ticks(axes, batches)
            axes.set_xlabel("images in a batch")
        by_epochs.set_title(f"after {data.attrs['epochs']} epochs")
        by_steps.set_title(f"after {data.attrs['steps']:,} steps")
        by_arrival.set_title(f"after {data.attrs['steps']:,} steps: does selectivity decide alone?")
        critical = critical_arrival(data.attrs["beta2"])
        by_arrival.axvline(critical, color="0.4", linewidth=0.8, linestyle=":")
        by_arrival.text(critical / 1.1, 0.2, "critical", color="0.35", fontsize=9, ha="left", va="center")
        by_arrival.set(xscale="log", xlabel="P(gradient in a batch), about 1 - s^B")
        for axes in panels.values():
            share_axis(axes)
            axes.invert_xaxis()
        by_steps.set(ylabel="", yticklabels=[])
        share = means["steps"].mean("seed")
        ends["mean"] = (float(share[0]), "black")
        label_shares(by_steps, ends)
        by_steps.text(1.04, 1.08, "excited by", transform=by_steps.transAxes, fontsize=9, color="0.35", va="center")
        small, large = (float(share.isel(batch=k)) for k in (0, -1))
        heading(
            figure,
            f"Adam + L2 loses {small:.0%} of the features in batches of {batches[0]} and {large:.0%} in batches of "
            f"{batches[-1]}, after equally many steps: {slope(means['steps'], 'batch')}",
        )
    by_epoch = means["epochs"].mean("seed")
    worst = _apart(dead.sel(horizon="steps"))
    return Picture(
        "batch",
        figure,
        f"Share of features whose weight fell to {data.attrs['floor']:g}, Adam (beta2 {data.attrs['beta2']:g}) + L2 of "
        f"strength {data.attrs['strength']:g}, {images} images an epoch; each curve is a feature that so many of them excite, "
        f"black: their mean. Mean and 95% t-interval over n = {data.sizes['seed']} seeds of {data.attrs['features']} features. "
        f"After {data.attrs['epochs']} epochs: {slope(means['epochs'], 'batch')}. Below: if selectivity decided alone, all "
        f"curves would be one; at equal images x batch they are up to {worst:.0%} of the features apart. Dotted: the arrival at "
        "which 1/sqrt(v) loses its mean.",
        f"Three panels of the share of dead features. Over all selectivities it goes from {small:.0%} at batch {batches[0]} to "
        f"{large:.0%} at batch {batches[-1]} after equal steps, and from {float(by_epoch[0]):.0%} to {float(by_epoch[-1]):.0%} "
        f"after equal epochs; at equal probability of a gradient it differs by up to {worst:.0%}.",
    )


def _apart(dead: xr.DataArray) -> float:
    """The largest difference of mean shares between settings with equal batch x exciting."""
    flat = dead.mean("seed").stack(setting=("batch", "exciting"))
    groups = (flat["batch"] * flat["exciting"]).values
    return float(max(np.ptp(flat.values[groups == g]) for g in np.unique(groups)))
