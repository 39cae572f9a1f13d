"""A valid call of every closed form: each argument by its name, and what a form needs beside that."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from dynamics.theory import closed
from fuzz.rooms import Call, call

USUAL: dict[str, Any] = {
    "start": 1.0, "target": 0.5, "near": 0.1, "far": 0.01, "first": 0.1, "ratio": 0.5, "share": 0.1, "x": 1e-4,
    "lr": 1e-3, "strength": 0.1, "decay": 0.01, "l2": 0.01, "eps": 1e-8, "momentum": 0.9, "beta1": 0.9,
    "beta2": 0.999, "alpha": 0.99, "sigma": 1.0, "rms": 1.0, "root": True, "arrival": 0.5, "selectivity": 0.5,
    "pull": 0.5, "curvature": 0.05, "denominator": 0.1, "slope": 1.0, "w": 1.0, "power": 0.5, "step": 200, "steps": 200,
    "length": 20, "images": 8, "count": 4, "size": 100, "sign": 1, "noise": "normal", "gamma": 1.0, "beta": -2.0,
    "largest": 8.0, "theta": 1.0, "rounding": 1e-4, "sigma_gamma": 1.0, "sigma_beta": 0.5, "corrected": True,
    "nesterov": False, "decoupled": False, "t": np.arange(3), "rates": [0.1, 0.2], "arrivals": [0.1, 0.5],
    "updates": [0.1, 0.2],
}  # fmt: skip
BESIDE: dict[str, dict[str, Any]] = {
    "adagrad_l2_over_decay": {"step": 200.0},
    "adagrad_steps": {"root": 0.0},
    "death_steps": {"lr": 1e-6},
    "silent_time": {"ratio": np.array([0.5, 0.1])},
}


def valid(name: str) -> Call:
    """The call of the closed form of that name."""
    function = getattr(closed, name)
    given = USUAL | BESIDE.get(name, {})
    return call(function, **{argument: given[argument] for argument in inspect.signature(function).parameters})


def _bound(name: str) -> Callable[[], Call]:
    return lambda: valid(name)


FORMS = {f"closed.{name}": _bound(name) for name, value in vars(closed).items() if inspect.isfunction(value)}
