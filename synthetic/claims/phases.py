"""Where a selective feature dies under Adam + L2: the computed boundary against the diagrams, and a simpler rule refuted."""

from __future__ import annotations

import xarray as xr

from dynamics.theory import closed
from evidence.claim import Decision, Estimate, ratio_interval, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED
from synthetic.phase import crossing


def boundary(data: xr.Dataset) -> Estimate:
    """x at which half of the lanes died over the computed one, one sample a row of the diagram."""
    ratio = crossing(data) / data["boundary"]
    return ratio_interval(ratio.values[ratio.notnull().values], "simulated / computed", "rows of the diagram")


_DIES = "a feature dies under Adam + L2 where a gap between gradients long enough to kill it has probability 1/2"
for _diagram, _id, _sentence in (
    ("selectivity", "E8 strength", f"At every strength {_DIES}."),
    ("rate", "E8 lr", f"At every learning rate {_DIES}."),
    ("batch", "E8 batch", f"At every batch size B {_DIES}, a batch bringing a gradient with probability 1 - s^B."),
    ("epoch", "E8 epoch", f"Where an epoch visits each image once, {_DIES}, whatever the memory of squares."),
):
    claim(
        _id,
        sentence=_sentence,
        source=DERIVED,
        experiment=f"phase_{_diagram}",
        decision=within(0.67, 1.5),
        formula="(n - L) p (1-p)^L = ln 2, L = 2 tau ln(1 + ln(w/floor) sigma_0/(2 tau lr strength))",
        figure=f"phase_{_diagram}",
    )(boundary)


@claim(
    "B5 death",
    source="the critical selectivity, read as the border of death",
    experiment="phase_selectivity",
    decision=Decision(0.8, 1.25, every=True),
    formula="p = 1 - sqrt(beta2)",
    figure="phase_selectivity",
)
def critical_alone(data: xr.Dataset) -> Estimate:
    """A feature dies under Adam + L2 if its selectivity is beyond sqrt(beta2) and lives if not, whatever the strength.

    Arrival at which half of the lanes died over the critical one, 1 - sqrt(beta2), one sample a strength.
    """
    found = crossing(data)
    critical = closed.critical_arrival(1 - data.attrs["forgetting"])
    return spread(found.values[found.notnull().values] / critical, "times the critical arrival")
