"""The size weights keep under pure noise: simulated against predicted, a panel an optimizer."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from evidence.claim import mean_interval
from figures.style import Picture, colour_of, label_of, styled

_SIGNS = {"signs": "signs (Lion, beta1 = 0)"}
_COUPLINGS = {"l2": ("L2", colour_of("sgd"), "o"), "decoupled_lr": ("decay x lr", colour_of("adam"), "s")}
_BORROWED = "0.35"


def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.noise.Noise.run`: a mark a coupling, strength, gradient size and arrival; crosses stand where a formula
    is asked for more than it says."""
    names = [str(name) for name in data.optimizer.values]
    known = data["mean_square"].where(data["predicted"].notnull())
    low, high = float(np.nanmin(known)) / 3, float(np.nanmax(known)) * 3
    worst, beyond = 1.0, {}
    with styled():
        rows = -(-len(names) // 3)
        figure, grid = plt.subplots(rows, 3, sharex=True, sharey=True, squeeze=False, figsize=(9.4, 0.8 + 2.7 * rows))
        for axes, name in zip(grid.flat, names, strict=False):
            at = data.sel(optimizer=name)
            axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=1)
            shown = []
            for coupling, (label, colour, marker) in _COUPLINGS.items():
                one = at.sel(coupling=coupling)
                x, y = _marks(axes, one["predicted"], one["mean_square"], colour, marker)
                if len(x):
                    shown.append((f"{'●' if marker == 'o' else '□'} {label}", colour))
                    worst = max(worst, float(np.max(np.maximum(y / x, x / y))))
            formula, text = _borrowed(data, name)
            if formula is not None:
                x, y = _marks(axes, formula, at["mean_square"].sel(coupling="decoupled_lr"), _BORROWED, "x")
                shown.append((f"x {text}", _BORROWED))
                beyond[name] = float(np.exp(np.log(y / x).mean()))
            for k, (label, colour) in enumerate(shown):
                axes.text(0.04, 0.94 - 0.09 * k, label, color=colour, transform=axes.transAxes, va="center", fontsize=9)
            axes.set(
                xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), title=_SIGNS.get(name) or label_of(name)
            )
            axes.minorticks_off()
        for axes in grid.flat[len(names) :]:
            axes.remove()
        figure.supxlabel("predicted E[w^2]", fontsize=10)
        figure.supylabel("simulated E[w^2]", fontsize=10)
        title = f"Sizes are as predicted within a factor of {worst:.3g}"
        if "adam" in beyond:
            title += f"; AdamW's at p = {float(data.arrival[0]):g} are {beyond['adam']:.2g} of that"
        figure.suptitle(title, x=0.01, ha="left", weight="bold")
    settings = {n: ", ".join(f"{v:g}" for v in data[n].values) for n in ("strength", "size", "arrival")}
    return Picture(
        "equilibrium",
        figure,
        f"lr {data.attrs['lr']:g}; strengths {settings['strength']}; gradients of root mean square {settings['size']} that arrive "
        f"with p = {settings['arrival']}; memory of squares {data.attrs['beta2']:g}. Mean and 95% t-interval over n = "
        f"{data.sizes['seed']} seeds of {data.attrs['weights']} weights, steps {data.attrs['settled']} to "
        f"{data.attrs['steps']}. Marks only where a closed form's regime holds. Crosses, not counted in the factor: the formula "
        "of p = 1 at the smallest p, and that of independent signs for Lion.",
        f"Log-log panels of simulated against predicted mean squares; all marks lie within a factor of {worst:.3g} of the "
        "diagonal"
        + "".join(
            f"; {_SIGNS.get(n) or label_of(n)} is at {v:.2g} times a formula outside its regime"
            for n, v in beyond.items()
        )
        + ".",
    )


def _marks(
    axes: Axes, predicted: xr.DataArray, found: xr.DataArray, colour: str, marker: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draws those with a prediction; hands them back."""
    dims = [str(d) for d in predicted.dims]
    x = predicted.values.ravel()
    samples = found.transpose(*dims, "seed").values.reshape(len(x), -1)[np.isfinite(x)]
    x = x[np.isfinite(x)]
    means = [mean_interval(row, "", "seeds") for row in samples]
    y = np.array([e.value for e in means])
    axes.errorbar(
        x, y, [[e.value - e.low for e in means], [e.high - e.value for e in means]] if len(x) else None, fmt=marker,
        color=colour, markersize=5, capsize=2, zorder=3, markerfacecolor="white" if marker == "s" else colour,
    )  # fmt: skip
    return x, y


def _borrowed(data: xr.Dataset, name: str) -> tuple[xr.DataArray | None, str]:
    """A formula under decay beyond its regime, over (strength, size, arrival), NaN but where it is tried."""
    formula = data["predicted"].sel(coupling="decoupled_lr")
    if name in ("adam", "rmsprop"):
        rarest = float(data.arrival[0])
        common = formula.sel(optimizer=name).isel(arrival=-1, drop=True)
        return common.where(data.arrival == rarest), f"p = {rarest:g}, form of p = 1"
    if name == "lion" and "signs" in data.optimizer:
        return formula.sel(optimizer="signs").where(data.arrival == 1), "by independent signs"
    return None, ""
