"""The study of BasicNet on digits: a real CNN on real data in which filters die, or do not, within minutes on two cores.

The study is fullscale/studies/digits.toml; its learning rates are the best of digits-lr (`fullscale.lr_grid`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import InputError
from evidence.store import Row
from fullscale import thresholds
from fullscale.studies import Study, find_study

if TYPE_CHECKING:
    import xarray as xr

STUDY: Study = find_study("digits")
DATA: str = STUDY.fixed["data"]
WIDTH: float = STUDY.fixed["width"]
BATCH: int = STUDY.fixed["batch"]
STRENGTH: float = STUDY.axes["strength"][0]
SEEDS: tuple[int, ...] = tuple(STUDY.axes["seed"])
OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop")
# The optimizer whose networks are looked at over all thresholds.
SWEPT = "rmsprop"
CURVES = ("inactive_by_activation", "inactive_by_scale", "test_error")
ENDS = ("removed", "difference", "noise_difference", "error_before", "error_after", "parameters", "multiply_adds")


def constants() -> dict[str, Any]:
    """What the experiment is run with: one value, or one an optimizer."""
    rates = {cell["optimizer"]: cell["lr"] for cell in STUDY.cells()}
    shared = {name: STUDY.fixed[name] for name in ("data", "model", "width", "batch", "steps")}
    return shared | {"strength": STRENGTH, "seeds": SEEDS, "lr": {name: rates[name] for name in OPTIMIZERS}}


def curves_and_ends(rows: list[Row]) -> xr.Dataset:
    """The runs as labelled data; NaN from where a run has diverged. InputError if every one has.

    Curves (optimizer, strength, seed, epoch): the shares of inactive filters by both measures and the test error.
    Ends (optimizer, strength, seed): `removed` share of filters, `difference` of outputs on test images and
    `noise_difference` on random ones, `error_before` and `error_after` the removal, `parameters` and `multiply_adds` as
    shares of what they were. The attribute test_images is their number.
    """
    import xarray as xr

    whole = next((row.summary for row in rows if "channels" in row.summary), None)
    if whole is None:
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
    data.attrs = {"width": WIDTH, "batch": BATCH, "data": DATA, "filters": sum(whole["channels"])}
    data.attrs["test_images"] = whole["certificate"]["held_out_images"]
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
