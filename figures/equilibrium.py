"""The size weights keep under pure noise: simulated over predicted, a row an optimizer and coupling."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

from dynamics.door import checked
from evidence.claim import ratio_interval
from figures.shares import intervals
from figures.style import WIDTH, Picture, colour_of, heading, label_of, styled

_SIGNS = {"signs": "signs"}
_COUPLINGS = {"l2": ("L2", colour_of("sgd"), "o"), "decoupled_lr": ("decay x lr", colour_of("adam"), "s")}
_BORROWED = "0.35"
_NEAR = 0.05  # of the claims on these sizes
_SHOWN = (0.4, 1.6)  # ratios; what lies further out is told at the edge


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.noise.Noise.run`: a mark a strength, gradient size and arrival; crosses stand where a formula is asked
    for more than it says."""
    names = [str(name) for name in data.optimizer.values]
    rows: list[tuple[str, np.ndarray, str, str]] = []  # label, ratios (setting, seed), colour, mark
    beyond: dict[str, float] = {}
    for name in names:
        label, square = _SIGNS.get(name) or label_of(name), data["mean_square"].sel(optimizer=name)
        if not bool(data["predicted"].sel(optimizer=name).notnull().any()):
            rows.append((label, np.empty((0, data.sizes["seed"])), _BORROWED, ""))
        for coupling, (words, colour, mark) in _COUPLINGS.items():
            form = data["predicted"].sel(optimizer=name, coupling=coupling)
            if bool(form.notnull().any()):
                rows.append((f"{label}, {words}", _ratios(square.sel(coupling=coupling), form), colour, mark))
        formula, words = _borrowed(data, name)
        if formula is not None:
            ratios = _ratios(square.sel(coupling="decoupled_lr"), formula)
            rows.append((f"{label}, {words}", ratios, _BORROWED, "x"))
            beyond[name] = float(np.exp(np.log(ratios.mean(axis=1)).mean()))
    means = np.concatenate([ratios.mean(axis=1) for _, ratios, _, mark in rows if mark != "x"])
    worst = float(np.max(np.maximum(means, 1 / means)))
    with styled():
        figure, axes = plt.subplots(figsize=(WIDTH, 1.3 + 0.36 * len(rows)))
        axes.axvspan(1 - _NEAR, 1 + _NEAR, color="0.9", linewidth=0, zorder=0)
        axes.axvline(1, color="0.4", linewidth=0.8, zorder=1)
        for k, (_, ratios, colour, mark) in enumerate(rows):
            if not len(ratios):
                axes.text(1, k, "no formula", color=colour, ha="center", va="center", fontsize=9)
                continue
            x, bars = intervals(ratios, ratio_interval)
            y = k + np.linspace(-0.3, 0.3, len(x)) if len(x) > 1 else np.array([float(k)])
            seen = (x > _SHOWN[0]) & (x < _SHOWN[1])
            axes.errorbar(
                x[seen], y[seen], xerr=bars[:, seen], fmt=mark, color=colour, markersize=4, elinewidth=0.9, zorder=3,
                markerfacecolor="white" if mark == "s" else colour,
            )  # fmt: skip
            for far, edge, side in ((x[x >= _SHOWN[1]], 0.97, "right"), (x[x <= _SHOWN[0]], 0.03, "left")):
                if far.size:
                    words = f"{far.min():.2g} to {far.max():.2g}"
                    words = f"{words} →" if side == "right" else f"← {words}"
                    axes.text(
                        edge,
                        k,
                        words,
                        transform=axes.get_yaxis_transform(),
                        color=colour,
                        ha=side,
                        va="center",
                        fontsize=9,
                    )
        axes.set(xscale="log", xlim=_SHOWN, ylim=(len(rows) - 0.5, -0.5), xlabel="E[w^2], simulated / predicted")
        ticks = (0.4, 0.5, 0.6, 0.8, 1, 1.2, 1.5)
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(rows)), [label for label, *_ in rows])
        axes.grid(visible=False, axis="y")
        title = f"Under noise alone weights keep the predicted size, within a factor of {worst:.3g} in every setting"
        if "adam" in beyond:
            rarest = float(data.arrival[0])
            title += f"; AdamW's at p = {rarest:g}, beyond its formula, are {beyond['adam']:.2g} of it"
        heading(figure, title)
    settings = {n: ", ".join(f"{v:g}" for v in data[n].values) for n in ("strength", "size", "arrival")}
    return Picture(
        "equilibrium",
        figure,
        f"lr {data.attrs['lr']:g}; strengths {settings['strength']}; gradients of root mean square {settings['size']} that arrive "
        f"with p = {settings['arrival']}; memory of squares {data.attrs['beta2']:g}. A mark a setting in which a closed form's "
        f"regime holds: geometric mean and 95% t-interval over n = {data.sizes['seed']} seeds of {data.attrs['weights']} weights, "
        f"steps {data.attrs['settled']} to {data.attrs['steps']}. Grey: within {_NEAR:.0%}. Signs: Lion with beta1 = 0. Crosses, "
        "not counted in the factor: the formula of p = 1 at the smallest p, and that of independent signs for Lion.",
        f"Simulated over predicted mean squares, {len(means)} settings, all within a factor of {worst:.3g} of 1"
        + "".join(
            f"; {_SIGNS.get(n) or label_of(n)} is at {v:.2g} times a formula outside its regime"
            for n, v in beyond.items()
        )
        + ".",
    )


def _ratios(found: xr.DataArray, predicted: xr.DataArray) -> np.ndarray:
    """Simulated over predicted where there is a prediction, (setting, seed)."""
    dims = [str(d) for d in predicted.dims]
    form = predicted.values.ravel()
    samples = found.transpose(*dims, "seed").values.reshape(len(form), -1)
    known = np.isfinite(form)
    return np.asarray(samples[known] / form[known, None])


def _borrowed(data: xr.Dataset, name: str) -> tuple[xr.DataArray | None, str]:
    """A formula under decay beyond its regime, over (strength, size, arrival), NaN but where it is tried."""
    formula = data["predicted"].sel(coupling="decoupled_lr")
    if name in ("adam", "rmsprop"):
        rarest = float(data.arrival[0])
        common = formula.sel(optimizer=name).isel(arrival=-1, drop=True)
        return common.where(data.arrival == rarest), f"decay at p = {rarest:g}"
    if name == "lion" and "signs" in data.optimizer:
        return formula.sel(optimizer="signs").where(data.arrival == 1), "as if signs"
    return None, ""
