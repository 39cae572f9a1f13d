"""Where a selective feature dies under Adam + L2: the computed boundary against the diagrams, and a simpler rule refuted."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from dynamics.theory import closed
from evidence.claim import Claim, Decision, Estimate, ratio_interval, spread, within
from synthetic.phase import crossing


def boundary(data: xr.Dataset) -> Estimate:
    """x at which half of the lanes died over the computed one, one sample a row of the diagram."""
    ratio = crossing(data) / data["boundary"]
    return ratio_interval(ratio.values[ratio.notnull().values], "simulated / computed", "rows of the diagram")


def critical_alone(data: xr.Dataset) -> Estimate:
    """Arrival at which half of the lanes died over the critical one, 1 - sqrt(beta2), one sample a strength."""
    found = crossing(data)
    critical = closed.critical_arrival(1 - data.attrs["forgetting"])
    return spread(found.values[found.notnull().values] / critical, "times the critical arrival")


def _boundary(diagram: str, sentence: str, words: str) -> Claim:
    estimate: Callable[[xr.Dataset], Estimate] = boundary
    return Claim(
        f"E8 {words}",
        sentence,
        "derived here",
        f"phase_{diagram}",
        estimate,
        within(0.67, 1.5),
        "interval within a factor of 1.5",
        "(n - L) p (1-p)^L = ln 2, L = 2 tau ln(1 + ln(w/floor) sigma_0/(2 tau lr strength))",
        f"phase_{diagram}",
    )


CLAIMS = (
    _boundary(
        "selectivity",
        "At every strength half of the features die where a silence as long as death takes is as likely as not.",
        "strength",
    ),
    _boundary("rate", "The same boundary holds at every learning rate.", "lr"),
    _boundary("batch", "It holds for mini-batches with the probability that one brings a gradient, 1 - s^B.", "batch"),
    _boundary("epoch", "It holds where an epoch visits each image once, for every memory of squares.", "epoch"),
    Claim(
        "B5 death",
        "A feature dies under Adam + L2 if its selectivity is beyond sqrt(beta2) and lives if not, whatever the strength.",
        "the critical selectivity, read as the border of death",
        "phase_selectivity",
        critical_alone,
        Decision(0.8, 1.25, every=True),
        "every strength within a quarter of it",
        "p = 1 - sqrt(beta2)",
        "phase_selectivity",
    ),
)
