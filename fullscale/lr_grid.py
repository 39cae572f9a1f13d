"""The learning rate of each optimizer in the study of BasicNet on digits: best mean validation accuracy over a stated grid."""

from __future__ import annotations

import math
import statistics
from typing import Any

from evidence.store import Row, environment
from fullscale.data import Images
from fullscale.digits_study import BATCH, STRENGTH, WIDTH, epochs
from fullscale.spec import RunSpec

# Factors of about 3. No optimizer's best may lie at an end of its row; a test holds the kept outcome to that.
GRID = {
    "sgd": (1.0, 0.3, 0.1, 0.03),
    "momentum": (0.3, 0.1, 0.03, 0.01),
    "adam": (3e-2, 1e-2, 3e-3, 1e-3, 3e-4),
    "rmsprop": (1e-2, 3e-3, 1e-3, 3e-4),
}
VALIDATION = 0.2
SEEDS = (0, 1, 2, 3, 4)


def specs(images: Images) -> list[RunSpec]:
    """The grid: a fifth of the training images, another one for each seed, stands in for the test images."""
    left = len(images.validation(VALIDATION, 0).train.labels)
    return [
        RunSpec(
            digest=images.digest,
            width=WIDTH,
            optimizer=name,
            coupling="l2",
            lr=lr,
            strength=STRENGTH,
            batch=BATCH,
            epochs=epochs(left),
            seed=seed,
            measure_every=epochs(left),
            validation=VALIDATION,
        )
        for name, rates in GRID.items()
        for lr in rates
        for seed in SEEDS
    ]


def outcome(rows: list[Row]) -> dict[str, Any]:
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
    for name in GRID:
        whole = [c for c in cells if c["optimizer"] == name and c["status"] == "done"]
        chosen[name] = max(whole, key=lambda c: (round(c["accuracy"], 9), -c["loss"]))
    shared = {name: value for name, value in rows[0].spec.items() if name not in ("optimizer", "lr", "seed")}
    shared["seeds"] = list(SEEDS)
    return {"chosen": chosen, "cells": cells, "spec": shared, "environment": environment()}


def standard_error(cell: dict[str, Any]) -> float:
    """Of a cell's mean accuracy over its seeds; 0 for fewer than two."""
    each = cell["each"]["accuracy"]
    return statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else 0.0


def indistinguishable(found: dict[str, Any], optimizer: str) -> list[dict[str, Any]]:
    """The cells of an optimizer whose accuracy is within one standard error of its best."""
    best = found["chosen"][optimizer]
    least = best["accuracy"] - standard_error(best)
    return [
        c for c in found["cells"] if c["optimizer"] == optimizer and c["status"] == "done" and c["accuracy"] >= least
    ]
