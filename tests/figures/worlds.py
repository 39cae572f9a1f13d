"""Data for the figures' tests: every figure with a small world of the shape of the real one, and ways to change it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comparison
import numpy as np
import trained
import xarray as xr

from bench import scaling as bench_scaling
from figures import (
    alive,
    batch,
    capacity,
    compete,
    critical,
    crossover,
    difficulty,
    equilibrium,
    feature,
    knobs,
    matched,
    minima,
    monitor,
    optimizers,
    phase,
    plane,
    pruning,
    pull,
    rest,
    scaling,
    schedules,
    silence,
    thresholds,
)  # fmt: skip
from figures.style import Picture
from fullscale.digits_study import OPTIMIZERS, STRENGTH
from fullscale.monitor.exact import Measured
from fullscale.monitor.record import VARIABLES, Record
from fullscale.monitor.summary import history
from fullscale.pruning_data import by_criterion
from fullscale.thresholds import by_threshold, decades
from synthetic.capacity import Capacity
from synthetic.compete import Compete
from synthetic.difficulty import Difficulty
from synthetic.feature import Feature
from synthetic.minibatch import MiniBatch
from synthetic.noise import Noise
from synthetic.phase import AXES, Phase
from synthetic.plane import Plane
from synthetic.quadratic import Quadratic
from synthetic.rest import Rest
from synthetic.scheduled import Scheduled
from synthetic.selective import Selective
from synthetic.selectivity import Selectivity
from synthetic.silence import Silence
from synthetic.visits import Visits

SEEDS = 4
EPOCHS = [0.0, 2.0, 4.0, 6.0, 8.0]
# Inactive shares at the end of training.
ENDS = {"sgd": 0.0, "momentum": 0.01, "adam": 0.2, "rmsprop": 0.39}

# A change: the variable, where, and its new value there, or how it comes from the old one.
Change = tuple[str, dict[str, Any], Any]


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


FLAT = [0.5] * 14 + [0.75]
STEEP = [0.03 * k for k in range(15)]
CLIFF = [0.1] * 14 + [0.9]


def point(activation: list[float], scale: list[float], error: list[float], low: float = 1e-14) -> dict[str, Any]:
    """One network's shares and errors, over thresholds from `low` to 1."""
    values = decades(low)
    count = len(values)
    return {
        "thresholds": values,
        "sparsity": {"activation": activation[-count:], "scale": scale[-count:]},
        "error": {"activation": error[-count:], "scale": error[-count:]},
        "error_before": 0.1,
        "filters": 232,
        "images": 1438,
        "test_images": 359,
    }


def three_networks() -> xr.Dataset:
    """Of different levels; flat by activation, steep by scale."""
    points = {s: point([x + 0.01 * s for x in FLAT], [x + 0.02 * s for x in STEEP], CLIFF) for s in range(3)}
    return by_threshold(points, model="BasicNet", data="digits")


FILTERS, STEPS = 40, np.arange(0, 4000, 50)
LAYERS = ["blocks.0.norm"] * 10 + ["blocks.1.norm"] * 30


def death(filter_: int, step: int, cause: str = "regularizer", **other: Any) -> dict[str, Any]:
    """A row of the monitor's table of deaths."""
    row = {"step": step, "certain": step + 100, "filter": filter_, "measure": "activation", "cause": cause}
    row |= {"pull": -1.0, "loss": -0.1, "input": 0.0, "loss_error": 0.1, "intervals": 9, "revived": None}
    return row | other


SELECTIVE = [death(39 - i, 1800 + 50 * (i % 3)) for i in range(6)]


def seen(deaths: list[dict[str, Any]]) -> xr.Dataset:
    """A monitored run with these deaths: filters of which each is more selective than the one before it."""
    record = Record(FILTERS)
    draws = np.random.default_rng(0)
    for step in STEPS:
        values = {name: draws.uniform(0, 1, FILTERS) for name in VARIABLES}
        values["selectivity"] = np.linspace(0, 1, FILTERS)
        record.add(int(step), values, 50)
    activations = dict.fromkeys(LAYERS, "relu")
    return history(
        record, LAYERS, list(range(FILTERS)), activations, deaths, Measured(FILTERS), interval=50, last=4000, note=""
    )


LANES, LENGTHS, SPEEDS = [16, 256, 4096, 65_536], [1, 16, 256, 4096], [1, 20, 180, 270]


def timed(by_lanes: list[float], by_threads: list[float], cores: int = 2) -> xr.Dataset:
    """As the benchmark stores it, speeds in millions; three repetitions a point, the middle one as given."""

    def points(axis: str, at: list[int], speeds: list[float]) -> list[dict[str, object]]:
        middle = zip(at, speeds, strict=True)
        return [{axis: x, "weight_steps_per_second": [1e6 * s, 0.9e6 * s, 1.2e6 * s]} for x, s in middle]

    content = {
        "fixed": {"lanes": 4096, "steps": 1024, "threads": 1},
        "lanes": points("lanes", LANES, by_lanes),
        "steps": points("steps", LENGTHS, SPEEDS),
        "threads": points("threads", [1, 2, 4][: len(by_threads)], by_threads),
    }
    return bench_scaling.speeds_by_axis(content, "some processor", cores)


PHASE = {"seeds": 4, "cells": 9, "steps": 4_000}
FIGURES: dict[str, tuple[Callable[[xr.Dataset], Picture], Callable[[], xr.Dataset]]] = {
    # As they are reported: where labels come to lie depends on the numbers.
    "silence": (silence.draw, Silence().run),
    "crossover": (crossover.draw, Selective(seeds=3, weights=16).run),
    "alive": (alive.draw, lambda: cnn(ENDS)),
    "batch": (
        batch.draw,
        MiniBatch(seeds=3, features=4, optimizers=("adam",), lr=(0.01,), epochs=2).run,
    ),
    "capacity": (capacity.draw, Capacity(seeds=3, followed=8, steps=1024, shared_steps=512).run),
    "difficulty": (difficulty.draw, Difficulty(seeds=3, steps=1024).run),
    "pruning": (pruning.draw, comparison.comparison),
    "pruning_vgg16": (pruning.draw, lambda: by_criterion(comparison.at_one_error())),
    "pull": (pull.draw, Selectivity(seeds=2, weights=2).run),
    "critical": (critical.draw, Visits(epochs=(20, 50, 100, 200, 400), seeds=3, weights=3).run),
    "rest": (rest.draw, Rest(seeds=2, weights=2).run),
    "equilibrium": (equilibrium.draw, Noise(seeds=3, weights=4, settled=300, steps=500).run),
    "minima": (minima.draw, Quadratic().run),
    "schedules": (schedules.draw, Scheduled(seeds=3, weights=64, silent_steps=200, averaged_steps=5).run),
    "feature": (feature.draw, Feature(images=64, epochs=12, seeds=5, tuning_seeds=1).run),
    "compete": (compete.draw, Compete(epochs=20, seeds=4, tuning_seeds=1).run),
    "plane": (plane.draw, Plane().run),
    **{f"phase_{diagram}": (phase.draw, Phase(diagram, **PHASE).run) for diagram in AXES},
    "thresholds": (thresholds.draw, three_networks),
    "matched": (matched.draw, trained.cells),
    "knobs": (knobs.draw, trained.knobs),
    "optimizers": (optimizers.draw, trained.optimizers),
    "monitor": (monitor.draw, lambda: seen([*SELECTIVE, death(0, 300, "noise", revived=500), death(5, 200, measure="scale")])),
    "scaling": (scaling.draw, lambda: timed([20, 190, 265, 270], [270, 520, 530])),
}  # fmt: skip


@cache
def measured(name: str) -> xr.Dataset:
    """The data of a figure; not to be changed."""
    return FIGURES[name][1]()


def changed(name: str, *changes: Change) -> xr.Dataset:
    """A copy of the data of a figure with these changes, each where its labels say."""
    data = measured(name).copy(deep=True)
    for variable, where, value in changes:
        data[variable].loc[where] = value(data[variable].loc[where]) if callable(value) else value
    return data


def drawn(name: str, *changes: Change) -> Picture:
    """The figure, from its data with these changes."""
    return FIGURES[name][0](changed(name, *changes))
