"""Several settings side by side: a weight without a gradient, and the pull against the size of gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt

from dynamics.answers.curves import Curve
from dynamics.door import checked
from dynamics.errors import InputError
from figures.style import WIDTH, Picture, styled

# Okabe and Ito's palette in order of lightness, then again with dashes.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@checked
def draw(paths: Sequence[Curve], pulls: Sequence[Curve]) -> Picture:
    """From `dynamics.answers.curves.silent_paths` and `pull_curves` of the same settings."""
    if len(paths) != len(pulls):
        raise InputError(f"{len(paths)} paths, {len(pulls)} pulls: as many of each are accepted")
    with styled():
        height = 6.4 + 0.22 * len(paths)
        figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, height))
        handles = []
        for k, (path, pull) in enumerate(zip(paths, pulls, strict=True)):
            look = {"color": _COLOURS[k % len(_COLOURS)], "linestyle": ("-", "--", ":")[k // len(_COLOURS) % 3]}
            shown = path.x > 0
            handles += above.plot(path.x[shown], path.y[shown], label=path.setting, **look)
            below.plot(pull.x, pull.y, marker="o", markersize=3, **look)
        above.set(xscale="log", xlabel="steps without a gradient", ylabel="abs(w)", ylim=(0, 1.05))
        above.set_title("A weight that falls silent")
        # A scale of logarithms of nothing cannot be drawn.
        scale = "log" if any(np.isfinite(pull.y).any() for pull in pulls) else "linear"
        below.set(
            xscale="log", yscale=scale, xlabel="rms of the gradients", ylabel="share of a weight taken off a step"
        )
        below.set_title("A weight with gradients at every step")
        figure.legend(handles=handles, loc="outside lower center", ncols=1, fontsize=9)
    return Picture(
        "settings",
        figure,
        "Above: fresh state, from size 1, simulated. Below: mean over 8 seeds of 24 weights, small against gradient / strength.",
        "; ".join(_told(path, pull) for path, pull in zip(paths, pulls, strict=True)) + ".",
    )


def _told(path: Curve, pull: Curve) -> str:
    found = pull.y[np.isfinite(pull.y)]
    spread = f"{found.min():.2g} to {found.max():.2g}" if found.size else "no share"
    return f"{path.setting}: {path.y[-1]:.2g} left after {path.x[-1]:,} steps, pull {spread} of a weight a step"
