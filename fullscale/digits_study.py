"""The study of BasicNet on digits: a real CNN on real data in which filters die, or do not, within minutes on two cores.

BasicNet at 1/8 width (232 filters) on scikit-learn's digits, all ten classes. Strength and length were chosen by looking
at where sparsity emerges at this size, so its level is that of a demonstration; the learning rates were not: each is the
one of best validation accuracy over a grid (`fullscale.lr_grid`), its outcome kept in tuned.json.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import numpy as np
import xarray as xr

from dynamics.errors import InputError
from evidence.store import Row
from fullscale import thresholds
from fullscale.spec import RunSpec

DATA = "digits"
WIDTH = 0.125
BATCH = 16
STEPS = 5_000
STRENGTH = 5e-3
SEEDS = (0, 1, 2)
OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop")
# The optimizer whose networks are looked at over all thresholds.
SWEPT = "adam"
CURVES = ("inactive_by_activation", "inactive_by_scale", "test_error")
ENDS = ("removed", "difference", "noise_difference", "error_before", "error_after", "parameters", "multiply_adds")


def epochs(images: int) -> int:
    """Epochs that come closest to STEPS with this many training images."""
    return round(STEPS / (images // BATCH))


def tuned() -> dict[str, Any]:
    """The outcome of the learning-rate grid, as `undertow tune` wrote it."""
    return dict(json.loads(resources.files("fullscale").joinpath("tuned.json").read_text()))


def constants() -> dict[str, Any]:
    """What the experiment is run with: one value, or one an optimizer."""
    rates = {name: row["lr"] for name, row in tuned()["chosen"].items()}
    shared = {"data": DATA, "model": "basicnet", "width": WIDTH, "batch": BATCH, "steps": STEPS, "strength": STRENGTH}
    return shared | {"seeds": SEEDS, "lr": rates}


def specs(digest: str, images: int) -> list[RunSpec]:
    """Each optimizer at its tuned learning rate, with and without L2; the longest runs first."""
    rates = constants()["lr"]
    return [
        RunSpec(
            digest=digest,
            width=WIDTH,
            optimizer=name,
            coupling="l2" if strength else "none",
            lr=rates[name],
            strength=strength,
            batch=BATCH,
            epochs=epochs(images),
            seed=seed,
            measure_every=2,
            thresholds=name == SWEPT and strength > 0,
        )
        for name in reversed(OPTIMIZERS)
        for strength in (STRENGTH, 0.0)
        for seed in SEEDS
    ]


def curves_and_ends(rows: list[Row]) -> xr.Dataset:
    """The runs as labelled data; NaN from where a run has diverged. InputError if every one has.

    Curves (optimizer, strength, seed, epoch): the shares of inactive filters by both measures and the test error.
    Ends (optimizer, strength, seed): `removed` share of filters, `difference` of outputs on test images and
    `noise_difference` on random ones, `error_before` and `error_after` the removal, `parameters` and `multiply_adds` as
    shares of what they were.
    """
    channels = next((row.summary["channels"] for row in rows if "channels" in row.summary), None)
    if channels is None:
        raise InputError("every run diverged: nothing is left to look at")
    strengths = sorted({row.spec["strength"] for row in rows})
    longest = max((row.curves.get("epoch", []) for row in rows), key=len)
    shape = (len(OPTIMIZERS), len(strengths), len(SEEDS))
    curves = {name: np.full((*shape, len(longest)), np.nan) for name in CURVES}
    ends = {name: np.full(shape, np.nan) for name in ENDS}
    lr = np.full(shape[:2], np.nan)
    for row in rows:
        pair = OPTIMIZERS.index(row.spec["optimizer"]), strengths.index(row.spec["strength"])
        cell = (*pair, SEEDS.index(row.spec["seed"]))
        lr[pair] = row.spec["lr"]
        for name in CURVES:
            curves[name][(*cell, slice(0, len(row.curves.get(name, []))))] = row.curves.get(name, [])
        if row.status == "done":
            for name, value in _end(row.summary).items():
                ends[name][cell] = value
    axes = ("optimizer", "strength", "seed")
    coords = {"optimizer": list(OPTIMIZERS), "strength": strengths, "seed": list(SEEDS), "epoch": longest}
    data = xr.Dataset({name: ((*axes, "epoch"), v) for name, v in curves.items()}, coords)
    data = data.assign({name: (axes, v) for name, v in ends.items()}).assign(lr=(axes[:2], lr))
    data.attrs = {"width": WIDTH, "batch": BATCH, "data": DATA, "filters": sum(channels)}
    return data


def swept(rows: list[Row]) -> xr.Dataset:
    """The networks of SWEPT with L2 over all thresholds: `fullscale.thresholds.by_threshold`. InputError if all diverged."""
    found = {row.spec["seed"]: row.summary["thresholds"] for row in rows if "thresholds" in row.summary}
    return thresholds.by_threshold(
        found, data=DATA, model=f"BasicNet at width {WIDTH}", optimizer=SWEPT, strength=STRENGTH
    )


def _end(summary: dict[str, Any]) -> dict[str, float]:
    certificate = summary["certificate"]
    return {
        "removed": summary["removal"]["share"],
        "difference": certificate["held_out_difference"],
        "noise_difference": certificate["random_difference"],
        "error_before": certificate["error_before"],
        "error_after": certificate["error_after"],
        "parameters": certificate["parameters_after"] / certificate["parameters_before"],
        "multiply_adds": certificate["multiply_adds_after"] / certificate["multiply_adds_before"],
    }
