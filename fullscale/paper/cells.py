"""The runs of the study paper, found by what they are: the stage that asked for a run does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError
from evidence.store import Row
from fullscale.spec import RunSpec

# Two and five of the ten classes, each with those before.
CLASSES = {2: ("automobile", "ship"), 5: ("airplane", "automobile", "bird", "horse", "ship"), 10: ()}
# Of the tables, and of the primary contrasts.
TABLE, PAIRED = (2, 3, 4), (2, 3, 4, 5, 6)
# Strengths at which L2 is compared with decay.
STRONG = (1e-3, 3e-3)
# One run of the study: what all of its runs are unless said otherwise.
RUN = RunSpec(
    digest="", width=0.125, optimizer="adam", coupling="l2", lr=1.0, strength=1e-3, batch=40, epochs=12, seed=0, size=16,
    held_out=0.1,
)  # fmt: skip
# Found by none of these: of them, images follow from the classes, and the others change no weight.
_ALIKE: dict[str, Any] = {"digest": "", "seed": 0, "measure_every": 1, "thresholds": False}


class MissingRunError(InputError):
    """No run of these settings and this seed is among those that are looked at."""


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone.

    Args:
        spec: of them, seed and digest being of no account.
        rows: of each seed its row.
    """

    spec: RunSpec
    rows: dict[int, Row]

    def numbers(self, name: str, seeds: Sequence[int]) -> NDArray[np.float64]:
        """A number of the summary in percent: (seeds,); NaN for a run that diverged.

        Raises MissingRunError where one was not run.
        """
        missing = [seed for seed in seeds if seed not in self.rows]
        if missing:
            s = self.spec
            raise MissingRunError(
                f"{s.optimizer}, {s.coupling} {s.strength:g}, lr {s.lr:g}: seed {missing[0]} was not run"
            )
        return 100 * np.array([_number(self.rows[seed], name) for seed in seeds])

    def after(self, epoch: float, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Inactive filters by activation at the end of an epoch, in percent: (seeds,)."""
        ends = [self.rows[seed].curves for seed in seeds]
        return 100 * np.array([c["inactive_by_activation"][c["epoch"].index(epoch)] for c in ends])


def _number(row: Row, name: str) -> float:
    return float(row.summary[name]) if row.status == "done" else float("nan")


class Cells:
    """All runs of the study that are stored.

    Args:
        rows: in any order; of two that differ in how often they were measured, the later stands.

    Example:
        >>> Cells([]).all()
        []
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._cells: dict[RunSpec, Cell] = {}
        for row in rows:
            spec = RunSpec.of(row.spec)
            cell = self._cells.setdefault(_key(spec), Cell(_key(spec), {}))
            cell.rows[spec.seed] = row

    def all(self) -> list[Cell]:
        """Every cell."""
        return list(self._cells.values())

    def find(self, **settings: Any) -> Cell:
        """The cell of these settings of a RunSpec, all others being the study's; `classes` as their number.

        One of which no run is stored is empty.
        """
        if "classes" in settings:
            settings["classes"] = CLASSES[settings["classes"]]
        if settings.get("coupling") == "none":
            settings["strength"] = 0.0
        key = _key(replace(RUN, **settings))
        return self._cells.get(key, Cell(key, {}))


class Noted(Cells):
    """Cells that remember which of them were looked at.

    Args:
        cells: those that are looked at through it.

    Example:
        >>> noted = Noted(Cells([]))
        >>> [cell.spec.batch for cell in (noted.find(batch=20), *noted.looked_at.values())]
        [20, 20]
    """

    def __init__(self, cells: Cells) -> None:
        self.cells, self.looked_at = cells, dict[RunSpec, Cell]()

    def all(self) -> list[Cell]:
        """Every cell; that is no look at one."""
        return self.cells.all()

    def find(self, **settings: Any) -> Cell:
        """As `Cells.find`."""
        found = self.cells.find(**settings)
        self.looked_at[found.spec] = found
        return found


def _key(spec: RunSpec) -> RunSpec:
    return replace(spec, **_ALIKE)
