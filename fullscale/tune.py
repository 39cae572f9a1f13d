"""The learning rate of each optimizer in the pocket experiment: best mean validation accuracy over a stated grid."""

from __future__ import annotations

from typing import Any

from fullscale.data import Images
from fullscale.pocket import BATCH, STRENGTH, WIDTH, epochs
from fullscale.spec import RunSpec
from fullscale.store import Row, environment

# Factors of about 3; wide enough that no optimizer's best lies at an end.
GRID = {
    "sgd": (1.0, 0.3, 0.1, 0.03),
    "momentum": (0.1, 0.03, 0.01),
    "adam": (1e-2, 3e-3, 1e-3, 3e-4),
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
            seeds=SEEDS,
            measure_every=epochs(left),
            validation=VALIDATION,
        )
        for name, rates in GRID.items()
        for lr in rates
    ]


def outcome(rows: list[Row]) -> dict[str, Any]:
    """What the grid found: every cell, and for each optimizer the cell of best accuracy (of equals, the lower loss).

    A cell of which a seed diverged is kept but never chosen.
    """
    cells = []
    for row in rows:
        seeds = [s for s in row.summary["seeds"] if s["status"] == "done"]
        cells.append(
            {
                "optimizer": row.spec["optimizer"],
                "lr": row.spec["lr"],
                "status": row.status,
                "seeds": len(seeds),
                "accuracy": _mean([1 - s["test_error"] for s in seeds]),
                "loss": _mean([s["test_loss"] for s in seeds]),
                "inactive_by_activation": _mean([s["inactive_by_activation"] for s in seeds]),
            }
        )
    chosen = {}
    for name in GRID:
        whole = [c for c in cells if c["optimizer"] == name and c["status"] == "done"]
        chosen[name] = max(whole, key=lambda c: (round(c["accuracy"], 9), -c["loss"]))
    return {"chosen": chosen, "cells": cells, "spec": _shared(rows[0]), "environment": environment()}


def _shared(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.spec.items() if name not in ("optimizer", "lr")}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
