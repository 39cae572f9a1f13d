"""Where a regularizer leaves a weight on a quadratic loss, against the loss's minimum: L2 beside weight decay."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from figures.style import WIDTH, Picture, colour_of, heading, label_ends, label_of, marker_of, styled

_TITLES = {"l2": "L2: joins the gradient", "decoupled_lr": "weight decay x lr"}


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.quadratic.Quadratic.run`: one panel a coupling, one curve an optimizer, at the smallest strength, whose
    clip 1/strength is the farthest out."""
    strength, names = float(data.strength[0]), [str(n) for n in data.optimizer.values]
    at = data.sel(strength=strength)
    targets = at.target.values
    top = 1.05 * max(targets[-1], float(np.nanmax(at["rest"])))
    with styled():
        figure, panels = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(WIDTH, 6.4))
        for axes, (coupling, title) in zip(panels, _TITLES.items(), strict=True):
            axes.plot(targets, targets, color="0.6", linewidth=0.8)
            for k, name in enumerate(names):
                one = at.sel(optimizer=name, coupling=coupling)
                axes.plot(targets, one["predicted"], color="0.8", linewidth=4, zorder=1)
                axes.plot(
                    targets, one["rest"], marker=marker_of(k), markersize=4, color=colour_of(name),
                    linewidth=1.2, zorder=3,
                )  # fmt: skip
            axes.set(title=title, xlim=(0, targets[-1] * 1.03), ylim=(0, top), ylabel="weight at rest")
            _label(axes, at["rest"].sel(coupling=coupling), names, top)
        panels[-1].set_xlabel("minimum of the loss, w*")
        last = at["rest"].isel(target=-1)
        l2, decay = (last.sel(coupling=c).values for c in _TITLES)
        heading(figure, f"At w* = {targets[-1]:g}: L2 leaves the optimizers {_range(l2)}, weight decay {_range(decay)}")
    distance = abs(at["rest"] - at["predicted"]).max(("optimizer", "coupling")).values
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


def _label(axes: Axes, rest: xr.DataArray, names: list[str], top: float) -> None:
    """One label for curves that the picture does not tell apart, in the colour of the last, which lies on top."""
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if float(abs(rest.sel(optimizer=name) - rest.sel(optimizer=group[0])).max()) < 0.01 * top:
                group.append(name)
                break
        else:
            groups.append([name])
    ends: dict[str, tuple[float, str]] = {}
    for group in groups:
        every = len(group) == len(names) > 1
        pairs = [", ".join(map(label_of, group[k : k + 2])) for k in range(0, len(group), 2)]
        words = f"all {len(names)}" if every else ",\n".join(pairs)
        end = float(rest.sel(optimizer=group[-1]).isel(target=-1)) / top
        ends[words] = (end, "0.2" if every else colour_of(group[-1]))
    label_ends(axes, ends, gap=0.065 * max(1 + words.count("\n") for words in ends))


def _range(values: np.ndarray) -> str:
    """In words, at the precision of the picture."""
    low, high = float(values.min()), float(values.max())
    return f"at {low:.2f}" if round(high - low, 2) == 0 else f"from {low:.2f} to {high:.2f}"
