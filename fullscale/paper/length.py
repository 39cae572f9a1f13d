"""Which networks of the study paper still lose filters when they are judged: the protocol's rule on length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fullscale.paper.cells import PAIRED, RUN, STRONG, Cell, Cells
from fullscale.paper.rates import Rates

# Cells of S1, S3 and S4.
LONG: tuple[dict[str, Any], ...] = (
    *({"optimizer": "adam", "coupling": c, "strength": s} for c in ("l2", "decoupled_schedule") for s in STRONG),
    {"optimizer": "sgd"},
    {"optimizer": "momentum"},
)
# Their epochs -> the ends between which the mean inactive share may change by MOVES points: a tenth of the run, the last
# before the learning rate falls. That of any other cell may change by MOVES_MORE from the half to three quarters of its run.
ENDS = {12: (8, 9), 24: (17, 19)}
MOVES, MOVES_MORE = 1.0, 2.5


def long(cells: Cells, found: Rates, epochs: int) -> list[Cell]:
    """The cells of S1, S3 and S4 at that length. MissingRunError where a run of theirs is missing."""
    asked = [cells.find(**settings, lr=found.best(settings["optimizer"]), epochs=epochs) for settings in LONG]
    for cell in asked:
        cell.numbers("test_error", PAIRED)  # says what was not run
    return asked


def moving(cells: Iterable[Cell], found: Rates) -> list[Cell]:
    """Those of the cells that still move, over their runs that did not diverge and were measured at both ends.

    Args:
        cells: any of the study.
        found: the rates by which those of S1, S3 and S4 are known.

    Returns:
        Them; one that was not measured at its ends is not among them.
    """
    return [cell for cell in cells if _moves(cell, found)]


def _moves(cell: Cell, found: Rates) -> bool:
    spec = cell.spec
    theirs = Cells([])
    strict = spec.epochs in ENDS and any(
        theirs.find(**settings, lr=found.best(settings["optimizer"]), epochs=spec.epochs).spec == spec
        for settings in LONG
    )
    ends, most = (ENDS[spec.epochs], MOVES) if strict else ((spec.epochs / 2, 0.75 * spec.epochs), MOVES_MORE)
    seeds = [
        seed
        for seed, row in cell.rows.items()
        if row.status == "done" and set(ends) <= set(row.curves.get("epoch", ()))
    ]
    if not seeds:
        return False
    before, last = (cell.after(epoch, seeds) for epoch in ends)
    return abs(float(np.mean(last - before))) > most


def marked(cells: Iterable[Cell], found: Rates) -> str:
    """What an interval says of the cells that it rests on: which had not converged, three by name."""
    every = list(cells)
    names = [_named(cell) for cell in moving(every, found)]
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"; not converged: {len(names)} of {len(every)} cells ({', '.join(names[:3])}{more})"


def _named(cell: Cell) -> str:
    spec = cell.spec
    numbers = ("lr", "batch", "width", "label_noise", "epochs")
    other = [f"{name} {getattr(spec, name):g}" for name in numbers if getattr(spec, name) != getattr(RUN, name)]
    other += [f"{len(spec.classes)} classes"] if spec.classes else []
    return " ".join([spec.optimizer, spec.coupling, *([f"{spec.strength:g}"] if spec.strength else []), *other])
