"""Data of trained networks for the figures' tests: cells of learning rate and strength, optimizers, and knobs."""

from __future__ import annotations

import numpy as np
import xarray as xr

NAMES = ("sgd", "momentum", "adagrad", "adadelta", "rmsprop", "adam", "amsgrad", "adamax")
COUPLINGS = ("none", "l2", "decoupled_schedule")
RATES, STRENGTHS = (1e-3, 3e-3), (0.0, 1e-4, 1e-3)
KNOBS = {
    "batch (equal epochs)": ([20, 40, 80, 160], -6.0),
    "batch (equal steps)": ([20, 40, 80, 160], 0.0),
    "width": ([0.0625, 0.125, 0.25], 10.0),
    "classes": ([2, 5, 10], -7.0),
}


def cells() -> xr.Dataset:
    """A cell a learning rate and strength; those without a regularizer have strength 0, the others do not."""
    axes = ("optimizer", "coupling", "cell")
    lr, strength = (np.full((len(NAMES), 3, 6), np.nan) for _ in range(2))
    where = [(rate, pull) for rate in RATES for pull in STRENGTHS]
    for c, coupling in enumerate(COUPLINGS):
        for k, (rate, pull) in enumerate(where):
            if (coupling == "none") == (pull == 0):
                lr[:, c, k], strength[:, c, k] = rate, pull
    seeds = np.array([-0.5, 0.0, 0.6])
    adaptive = np.arange(len(NAMES))[:, None, None] > 1
    inactive = np.where(adaptive, 1e4 * strength, 0.0)[..., None] + np.where(adaptive[..., None], 1 + seeds, 0.0)
    error = 30 - 2e3 * strength[..., None] + 1e3 * lr[..., None] + np.arange(len(NAMES))[:, None, None, None] + seeds
    return xr.Dataset(
        {
            "inactive": ((*axes, "seed"), inactive + 0 * error),
            "test_error": ((*axes, "seed"), error),
            # Lowest elsewhere: at the higher rate.
            "held_out_error": ((*axes, "seed"), error - 2e3 * lr[..., None]),
        },
        {
            "optimizer": list(NAMES),
            "coupling": list(COUPLINGS),
            "lr": (axes, lr),
            "strength": (axes, strength),
            "cell": range(6),
            "seed": range(3),
        },
        {"network": "BasicNet", "data": "CIFAR-10"},
    )


def optimizers() -> xr.Dataset:
    """One learning rate and strength an optimizer: shares and errors that differ by optimizer, coupling and seed."""
    axes = ("optimizer", "coupling", "seed")
    place, kind = np.arange(len(NAMES))[:, None, None], np.arange(len(COUPLINGS))[None, :, None]
    seeds = np.array([-0.5, 0.0, 0.7])
    return xr.Dataset(
        {
            "inactive": (axes, np.where((place > 1) & (kind > 0), 4.0 * place / np.maximum(kind, 1) + seeds, 0.0)),
            "test_error": (axes, 32 - kind + place + seeds),
        },
        {
            "optimizer": list(NAMES),
            "coupling": list(COUPLINGS),
            "seed": range(3),
            "lr": ("optimizer", np.full(len(NAMES), 0.01)),
        },
        {"network": "BasicNet", "data": "CIFAR-10", "strength": 1e-3},
    )


def knobs() -> xr.Dataset:
    """Shares that follow the logarithm of each knob with a slope of its own; seeds differ in level and slope."""
    value, inactive = np.full((len(KNOBS), 4), np.nan), np.full((len(KNOBS), 4, 3), np.nan)
    for i, (levels, slope) in enumerate(KNOBS.values()):
        value[i, : len(levels)] = levels
        doubled = np.log2(np.array(levels) / levels[0])
        inactive[i, : len(levels)] = 40 + doubled[:, None] * (slope + np.array([-1.0, 0.0, 1.0])) + [0.0, 1.0, 5.0]
    return xr.Dataset(
        {"inactive": (("knob", "level", "seed"), inactive)},
        {
            "knob": list(KNOBS),
            "level": range(4),
            "value": (("knob", "level"), value),
            "seed": range(3),
            "asked": (("knob", "seed"), np.full((len(KNOBS), 3), True)),
        },
        {"network": "BasicNet", "data": "CIFAR-10", "optimizer": "Adam + L2"},
    )
