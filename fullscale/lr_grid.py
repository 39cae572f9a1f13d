"""The learning rate of each optimizer in the study of BasicNet on digits: best mean validation accuracy over the study
digits-lr, whose rows come with the package."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from evidence.claim import Estimate, mean_interval
from evidence.store import Row, Store
from fullscale.studies import Study, find_study
from fullscale.studies.standing import Standing, standing

STUDY: Study = find_study("digits-lr")
KEPT = "fullscale/studies/digits-lr.sqlite"


def rates() -> dict[str, list[float]]:
    """The grid: the learning rates of each optimizer."""
    found: dict[str, list[float]] = {name: [] for name in STUDY.axes["optimizer"]}
    for cell in STUDY.cells():
        if cell["lr"] not in found[cell["optimizer"]]:
            found[cell["optimizer"]].append(cell["lr"])
    return found


@cache
def kept() -> dict[str, Any]:
    """The outcome of the rows that come with the package."""
    return of_study(kept_rows(STUDY))


def kept_rows(study: Study) -> Standing:
    """How a study stands in the rows of it that come with the package."""
    with (
        resources.as_file(resources.files("fullscale.studies").joinpath(f"{study.name}.sqlite")) as path,
        Store(path, reading=True) as store,
    ):
        return standing(study, store)


def of_study(stands: Standing) -> dict[str, Any]:
    """The outcome of a study that is complete; `outcome` of its rows."""
    return outcome([row for row in stands.rows if row is not None])


def outcome(rows: Sequence[Row]) -> dict[str, Any]:
    """What the grid found: every cell, and for each optimizer the cell of best accuracy (of equals, the lower loss).

    A cell of which a seed diverged is kept but never chosen.
    """
    by_cell: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        by_cell.setdefault((row.spec["optimizer"], row.spec["lr"]), []).append(row)
    cells: list[dict[str, Any]] = []
    for (optimizer, lr), runs in by_cell.items():
        done = [row.summary for row in runs if row.status == "done"]
        each = {
            "accuracy": [1 - s["test_error"] for s in done],
            "loss": [s["test_loss"] for s in done],
            "inactive_by_activation": [s["inactive_by_activation"] for s in done],
        }
        status = next((row.status for row in runs if row.status != "done"), "done")
        cell = {"optimizer": optimizer, "lr": lr, "status": status, "seeds": len(done)}
        means = {name: sum(values) / len(values) if values else None for name, values in each.items()}
        cells.append(cell | means | {"each": each})
    chosen = {}
    for name in dict.fromkeys(c["optimizer"] for c in cells):
        whole = [c for c in cells if c["optimizer"] == name and c["status"] == "done"]
        chosen[name] = max(whole, key=lambda c: (round(c["accuracy"], 9), -c["loss"]))
    shared = {name: value for name, value in rows[0].spec.items() if name not in ("optimizer", "lr", "seed")}
    shared["seeds"] = sorted({row.spec["seed"] for row in rows})
    return {"chosen": chosen, "cells": cells, "spec": shared}


def standard_error(cell: dict[str, Any]) -> float:
    """Of a cell's mean accuracy over its seeds; 0 for fewer than two."""
    each = cell["each"]["accuracy"]
    return statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else 0.0


def indistinguishable(found: dict[str, Any], optimizer: str) -> list[dict[str, Any]]:
    """The cells of an optimizer that validation cannot tell from its best: the 95% t-interval of what they lag behind it reaches 0.

    Differences are taken within a seed, since all runs of a seed have the same validation part. That is a wider choice than
    one standard error of these differences, which would leave out every sixth rate that is as good as the best.
    """
    best = found["chosen"][optimizer]
    whole = [c for c in found["cells"] if c["optimizer"] == optimizer and c["status"] == "done"]
    return [c for c in whole if c["lr"] == best["lr"] or _lag(best, c).low <= 0]


def _lag(best: dict[str, Any], cell: dict[str, Any]) -> Estimate:
    ahead, behind = (np.array(one["each"]["accuracy"]) for one in (best, cell))
    return mean_interval(ahead - behind, "of accuracy", "seeds")
