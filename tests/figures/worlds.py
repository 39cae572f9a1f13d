"""Data for the figures' tests: the shapes of the real ones, with numbers that say where they belong."""

from __future__ import annotations

from functools import cache

import numpy as np
import xarray as xr

from fullscale.pocket import OPTIMIZERS, STRENGTH
from synthetic.selective import Selective
from synthetic.silence import Silence

SEEDS = 4
EPOCHS = [0.0, 2.0, 4.0, 6.0, 8.0]


@cache
def silence() -> xr.Dataset:
    """The world as it is reported: where its labels come to lie depends on the numbers."""
    return Silence().run()


@cache
def crossover() -> xr.Dataset:
    """The world as it is reported, with fewer weights."""
    return Selective(seeds=3, weights=16).run()


def cnn(ends: dict[str, float], seed: int = 0) -> xr.Dataset:
    """Networks whose inactive share rises to `ends` with L2, and stays near 0 without."""
    draws = np.random.default_rng(seed)
    axes = ("optimizer", "strength", "seed")
    coords = {"optimizer": list(OPTIMIZERS), "strength": [0.0, STRENGTH], "seed": range(SEEDS), "epoch": EPOCHS}
    shape = tuple(len(coords[name]) for name in axes)
    rise = np.linspace(0, 1, len(EPOCHS))
    level = np.stack([np.zeros(len(OPTIMIZERS)), [ends[name] for name in OPTIMIZERS]], axis=1)
    inactive = np.clip(level[..., None, None] * rise + draws.uniform(0, 0.01, (*shape, len(EPOCHS))), 0, 1)
    data = xr.Dataset({"inactive_by_activation": ((*axes, "epoch"), inactive)}, coords)
    data["inactive_by_scale"] = data["inactive_by_activation"] / 2
    for k, name in enumerate(("removed", "difference", "noise_difference", "error_before", "error_after")):
        data[name] = (axes, np.full(shape, 0.01 * (k + 1)))
    for name in ("parameters", "multiply_adds"):
        data[name] = (axes, np.full(shape, 0.5))
    data["lr"] = (axes[:2], np.full(shape[:2], 0.003))
    return data.assign_attrs(width=0.125, batch=16, data="digits", filters=232)
