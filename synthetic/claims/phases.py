"""Where a selective feature dies under Adam + L2: the computed boundary against the diagrams, and a simpler rule refuted."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dynamics.theory import closed
from evidence.claim import Estimate, ratio_interval, within
from evidence.registry import claim
from evidence.sources import DERIVED
from synthetic.claims.cells import each_cell
from synthetic.phase import crossings

if TYPE_CHECKING:
    import xarray as xr


def _rows(data: xr.Dataset, against: xr.DataArray | float, unit: str) -> dict[str, Estimate]:
    """Each row's crossing over what is claimed of it; rows without one of the two are left out, and named by their ranges."""
    ratio = crossings(data) / against
    known = ratio.notnull().all("seed")
    axis = data.attrs["y"]
    absent = {}
    for there, rows in groupby(zip(known.values, data["y"].values, strict=True), key=lambda row: bool(row[0])):
        places = [place for _, place in rows]
        if not there:
            absent[f"{axis} {' to '.join(f'{x:.3g}' for x in dict.fromkeys((places[0], places[-1])))}"] = len(places)
    return each_cell(ratio[known.values].rename(y=axis), unit, ratio_interval, absent)


_DIES = "a feature dies under Adam + L2 where a gap between gradients long enough to kill it has probability 1/2"
for _diagram, _id, _sentence in (
    ("selectivity", "E8 strength", f"At every strength {_DIES}, to a factor of 1.5."),
    ("rate", "E8 lr", f"At every learning rate {_DIES}, to a factor of 1.5 in the strength."),
    (
        "batch",
        "E8 batch",
        f"At every batch size B {_DIES}, a batch bringing a gradient with probability 1 - s^B, to a factor of 1.5.",
    ),
    (
        "epoch",
        "E8 epoch",
        f"Where an epoch visits each image once, {_DIES}, whatever the memory of squares, to a factor of 1.5 in the epoch.",
    ),
):

    @claim(
        _id,
        sentence=_sentence,
        source=DERIVED,
        experiment=f"phase_{_diagram}",
        decision=within(0.67, 1.5),
        formula="(n - L) p (1-p)^L = ln 2, L = 2 tau ln(1 + ln(w/floor) sigma_0/(2 tau lr strength))",
        figure=f"phase_{_diagram}",
    )
    def boundary(data: xr.Dataset) -> dict[str, Estimate]:
        """x at which half of the lanes died over the computed one, a cell a row of the diagram, one sample a seed; rows are
        left out in which the diagram does not hold both, from lanes that all die to lanes that all live."""
        return _rows(data, data["boundary"], "simulated / computed")


@claim(
    "B5 death",
    source="the critical selectivity, read as the border of death",
    experiment="phase_selectivity",
    decision=within(0.8, 1.25),
    formula="p = 1 - sqrt(beta2)",
    figure="phase_selectivity",
)
def critical_alone(data: xr.Dataset) -> dict[str, Estimate]:
    """A feature dies under Adam + L2 if its selectivity is beyond sqrt(beta2) and lives if not, whatever the strength.

    Arrival at which half of the lanes died over the critical one, 1 - sqrt(beta2), a cell a strength, one sample a seed;
    strengths are left out at which the diagram does not hold the border, from lanes that all die to lanes that all live.
    """
    return _rows(data, closed.critical_arrival(1 - data.attrs["forgetting"]), "times the critical arrival")
