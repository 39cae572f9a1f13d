"""Stage 1 of the study paper: the learning rate of each optimizer, by the error on held-out images (docs/protocol.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fullscale.paper.cells import Cells

SEEDS = (0, 1)
# Of the held-out images, in percent; a cell above it tells nothing of how much two rates differ by chance.
LEARNS = 60.0
OPTIMIZERS = ("sgd", "momentum", "adagrad", "adadelta", "rmsprop", "adam", "amsgrad", "adamax")


@dataclass(frozen=True)
class Rates:
    """What stage 1 found.

    Args:
        errors: optimizer -> learning rate -> held-out error in percent, mean over seeds, NaN where a run diverged; rates
            from high to low.
        standard_error: of the mean of a paired difference between two rates, in points.
    """

    errors: Mapping[str, Mapping[float, float]]
    standard_error: float

    def best(self, optimizer: str) -> float:
        """The rate of lowest error; of equals the lower one."""
        found = {lr: error for lr, error in self.errors[optimizer].items() if not math.isnan(error)}
        return min(found, key=lambda lr: (found[lr], lr))

    def as_good(self, optimizer: str) -> list[float]:
        """All rates whose error is above the best's by at most one standard error, from high to low."""
        errors = self.errors[optimizer]
        return [lr for lr, error in errors.items() if error <= errors[self.best(optimizer)] + self.standard_error]

    def edge(self, optimizer: str) -> str:
        """Where the best rate ends its row: "highest", "lowest" or ""."""
        place = list(self.errors[optimizer]).index(self.best(optimizer))
        return "highest" if place == 0 else "lowest" if place == len(self.errors[optimizer]) - 1 else ""


def rates(cells: Cells) -> Rates:
    """The rule of the protocol on what is stored.

    Args:
        cells: with both seeds of every rate.

    Returns:
        The Rates. MissingRunError where a seed was not run, as `Cell.numbers` raises it.

    Example:
        >>> rates(Cells([])).errors["adam"]
        {}
    """
    samples: dict[str, dict[float, np.ndarray]] = {}
    for optimizer in OPTIMIZERS:
        mine = [cell for cell in cells.all() if cell.spec.optimizer == optimizer]
        found = [cell for cell in mine if cell is cells.find(optimizer=optimizer, lr=cell.spec.lr)]
        found.sort(key=lambda cell: -cell.spec.lr)
        samples[optimizer] = {cell.spec.lr: cell.numbers("held_out_error", SEEDS) for cell in found}
    # Two seeds: half the squared difference of their differences is an estimate of its variance.
    pairs = [
        float((a - b)[0] - (a - b)[1]) ** 2 / 2
        for each in samples.values()
        for a, b in pairwise(each.values())
        if a.mean() < LEARNS and b.mean() < LEARNS
    ]
    variance = sum(pairs) / len(pairs) if pairs else 0.0
    means = {name: {lr: float(each.mean()) for lr, each in found.items()} for name, found in samples.items()}
    return Rates(means, math.sqrt(variance / len(SEEDS)))
