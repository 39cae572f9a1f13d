"""The study digits-long: BasicNet on digits at every learning rate of like accuracy, an optimizer's all at one sum of learning
rates, and without L2 at every rate of the grid. Its rows come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evidence.store import Row
from fullscale import lr_grid
from fullscale.lr_grid import indistinguishable, kept_rows
from fullscale.studies import Study, find_study
from fullscale.studies.standing import Standing

STUDY: Study = find_study("digits-long")
KEPT = "fullscale/studies/digits-long.sqlite"


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone; NaN, and no thresholds, for one that diverged.

    Args:
        optimizer: name of the rule.
        l2: whether they were regularized.
        lr: learning rate at the start.
        steps: asked for.
        inactive: (seeds,) share of the filters that are active for no training image.
        test_error: (seeds,) share of the test images.
        thresholds: of each seed what `fullscale.measure.zeroed` gave, None where it was not asked for.

    Example:
        >>> Cell("adam", True, 1e-3, 50000, np.array([0.3]), np.array([0.01]), (None,)).name
        'adam 0.001'
    """

    optimizer: str
    l2: bool
    lr: float
    steps: int
    inactive: NDArray[np.float64]
    test_error: NDArray[np.float64]
    thresholds: tuple[Mapping[str, Any] | None, ...]

    @property
    def name(self) -> str:
        """Optimizer and learning rate."""
        return f"{self.optimizer} {self.lr:g}"


def constants() -> dict[str, Any]:
    """What the experiment is run with; the steps of each run with L2 by optimizer and learning rate."""
    steps: dict[str, dict[float, int]] = {}
    for cell in STUDY.cells():
        if cell["coupling"] == "l2":
            steps.setdefault(cell["optimizer"], {})[cell["lr"]] = cell["steps"]
    shared = {name: STUDY.fixed[name] for name in ("data", "model", "width", "batch", "strength")}
    return shared | {"steps": steps, "seeds": STUDY.axes["seed"]}


@cache
def left_out() -> tuple[tuple[str, float], ...]:
    """Optimizer and learning rate of what validation cannot tell from the best, but would have needed too many steps.

    Example:
        >>> left_out()
        (('sgd', 0.03), ('rmsprop', 0.0003))
    """
    grid, steps = lr_grid.kept(), constants()["steps"]
    alike = ((name, cell["lr"]) for name in grid["chosen"] for cell in indistinguishable(grid, name))
    return tuple((name, lr) for name, lr in alike if lr not in steps[name])


@cache
def kept() -> list[Cell]:
    """The cells of the rows that come with the package."""
    return of_study(kept_rows(STUDY))


def of_study(stands: Standing) -> list[Cell]:
    """The cells of a study that is complete, in its order."""
    return [_cell(varied, [row for row in rows if row is not None]) for varied, rows in stands.by_cell()]


def _cell(varied: Mapping[str, Any], rows: list[Row]) -> Cell:
    inactive, error = (
        np.array([row.summary.get(name, np.nan) for row in rows]) for name in ("inactive_by_activation", "test_error")
    )
    swept = tuple(row.summary.get("thresholds") for row in rows)
    steps = varied.get("steps", STUDY.fixed["steps"])
    return Cell(varied["optimizer"], varied["coupling"] == "l2", varied["lr"], steps, inactive, error, swept)
