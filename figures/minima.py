"""Where a regularizer leaves a weight on a quadratic loss, against the loss's minimum: L2 beside weight decay."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from figures.style import Picture, colour_of, label_ends, label_of, marker_of, styled

_TITLES = {"l2": "L2: joins the gradient", "decoupled_lr": "Weight decay x lr"}


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.quadratic.Quadratic.run`: one panel a coupling, one curve an optimizer, at the smallest strength, whose
    clip 1/strength is the farthest out."""
    strength, names = float(data.strength[0]), [str(n) for n in data.optimizer.values]
    at = data.sel(strength=strength)
    targets = at.target.values
    with styled():
        figure, panels = plt.subplots(1, 2, sharex=True, sharey=True, figsize=(9.4, 4.2))
        for axes, (coupling, title) in zip(panels, _TITLES.items(), strict=True):
            axes.plot(targets, targets, color="0.6", linewidth=0.8)
            for k, name in enumerate(names):
                one = at.sel(optimizer=name, coupling=coupling)
                axes.plot(targets, one["predicted_rest"], color="0.8", linewidth=4, zorder=1)
                axes.plot(
                    targets, one["rest"], marker=marker_of(k), markersize=4, color=colour_of(name),
                    linewidth=1.2, zorder=3,
                )  # fmt: skip
            axes.set(xlabel="minimum of the loss, w*", title=title, xlim=(0, targets[-1] * 1.03))
            axes.set_ylim(0, max(targets[-1], float(np.nanmax(at["rest"]))) * 1.05)
            ends = at["rest"].sel(coupling=coupling).isel(target=-1) / axes.get_ylim()[1]
            label_ends(axes, {label_of(n): (float(ends.sel(optimizer=n)), colour_of(n)) for n in names})
        panels[0].set_ylabel("weight at rest")
        last = at["rest"].isel(target=-1)
        l2, decay = (last.sel(coupling=c).values for c in _TITLES)
        figure.suptitle(
            f"At w* = {targets[-1]:g}: L2 leaves the optimizers {_range(l2)}, weight decay {_range(decay)}",
            x=0.01, ha="left", weight="bold",
        )  # fmt: skip
    distance = abs(at["rest"] - at["predicted_rest"]).max(("optimizer", "coupling")).values
    left = "; ".join(
        f"{label_of(n)} {float(a):.3g} and {float(b):.3g}" for n, a, b in zip(names, l2, decay, strict=True)
    )
    return Picture(
        "minima",
        figure,
        f"Loss (w - w*)^2 / 2, strength {strength:g}, lr {data.attrs['lr']:g}; deterministic, n = 1 path a mark, the mean of the "
        f"last tenth of {data.attrs['steps']:,} steps from 0. Broad grey: the closed forms; the marks are at most "
        f"{distance.max():.2g} from them, at w* = {targets[distance.argmax()]:g}. "
        f"Thin grey: no regularizer. Memory of squares {data.attrs['beta2']:g}.",
        f"Two panels of the resting weight against w*. At w* = {targets[-1]:g}, under L2 and under decay: {left}.",
    )


def _range(values: np.ndarray) -> str:
    """In words, at the precision of the picture."""
    low, high = float(values.min()), float(values.max())
    return f"at {low:.2f}" if round(high - low, 2) == 0 else f"from {low:.2f} to {high:.2f}"
