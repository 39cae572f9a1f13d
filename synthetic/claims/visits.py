"""What selectivity does to 1 / sqrt(v): the critical selectivity, and none for a weight visited once an epoch (B5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from evidence.claim import Estimate, above, ratio_interval, within
from evidence.registry import claim
from evidence.sources import DERIVED
from synthetic.claims.cells import each_cell

if TYPE_CHECKING:
    import xarray as xr

_visits = partial(claim, source=DERIVED, experiment="visits", figure="critical")


def _at(data: xr.Dataset, arrivals: str, times: float) -> xr.Dataset:
    """At the epoch nearest to the one that makes `times` the critical arrival."""
    return data.sel(arrivals=arrivals).sel(epoch=1 / (times * data.attrs["critical"]), method="nearest")


@_visits("B5", decision=within(0.97, 1.03), formula="E[v^-1/2] / E[v^-1/2 on arrival] = p sqrt(beta2) / (p - p_c)")
def inverse_root_against_formula(data: xr.Dataset) -> dict[str, Estimate]:
    """Between independent arrivals Adam's 1/sqrt(v) is p sqrt(beta2)/(p - p_c) times its mean on arrival, for p of at
    least 3 p_c, p_c = 1 - sqrt(beta2); seen at beta2 = 0.99.

    E[v^-1/2] / its mean on arrival / the closed form, independent arrivals, from 2.9 critical ones on: a cell an arrival
    (1 / epoch), one sample a seed.
    """
    at = data.sel(arrivals="independent")
    at = at.sel(epoch=at.epoch[1 / at.epoch >= 2.9 * data.attrs["critical"]])
    return each_cell(at["inverse_root"] / at["on_arrival"] / at["predicted"], "simulated / formula")


def _growth_with_time(data: xr.Dataset, arrivals: str, times: float) -> Estimate:
    at = _at(data, arrivals, times)
    return ratio_interval(
        (at["inverse_root"] / at["look"]).values, f"times the mean of 1/{at.attrs['looks']} of the time", "seeds"
    )


@_visits("B5 critical", decision=above(1.5))
def growth_beyond(data: xr.Dataset) -> Estimate:
    """Beyond the critical selectivity, at p = p_c / 2, p_c = 1 - sqrt(beta2), the mean of Adam's 1/sqrt(v) has no
    limit while nothing but those gradients enters v: looked at ten times as long it is more than 1.5 times as large.

    E[1/sqrt(v)] over all steps / over a tenth of them, at half the critical arrival, independent arrivals, without L2, whose
    own square (strength w)^2 at every step is a floor of v and gives the mean a limit.
    """
    return _growth_with_time(data, "independent", 0.5)


@_visits("B5 bounded", decision=within(0.9, 1.1))
def growth_before(data: xr.Dataset) -> Estimate:
    """Before the critical selectivity, at p = 4 p_c, p_c = 1 - sqrt(beta2), the mean of Adam's 1/sqrt(v) does not
    depend on how long one looks.

    E[1/sqrt(v)] over all steps / over a tenth of them, at four critical arrivals, independent arrivals.
    """
    return _growth_with_time(data, "independent", 4.0)


@_visits("B5 epoch", decision=within(0.9, 1.1))
def growth_by_epochs(data: xr.Dataset) -> Estimate:
    """A weight visited once an epoch has no critical selectivity: at p = p_c / 2, p_c = 1 - sqrt(beta2), the mean of
    Adam's 1/sqrt(v) does not depend on how long one looks.

    E[1/sqrt(v)] over all steps / over a tenth of them, at half the critical arrival, visited once an epoch.
    """
    return _growth_with_time(data, "once an epoch", 0.5)


@_visits(
    "B5 epoch formula",
    decision=within(0.95, 1.05),
    formula="E[v^-1/2] / E[v^-1/2 on arrival] = ((e^x - 1)^2 / x^2 - 1) / x",
)
def epochs_against_formula(data: xr.Dataset) -> dict[str, Estimate]:
    """Of a weight visited once in an epoch of E steps, up to E = 2 / (1 - sqrt(beta2)), Adam's 1/sqrt(v) is ((e^x -
    1)^2/x^2 - 1)/x times its mean on arrival, x = E/(2 tau).

    E[v^-1/2] / its mean on arrival / the closed form for visits once an epoch: a cell an epoch, one sample a seed.
    """
    at = data.sel(arrivals="once an epoch")
    return each_cell(at["inverse_root"] / at["on_arrival"] / at["predicted"], "simulated / formula")


@_visits("B5 visits", decision=within(0.9, 1.1))
def epochs_against_independent(data: xr.Dataset) -> Estimate:
    """At the critical arrival 1 - sqrt(beta2) L2 pulls as hard at a weight visited once an epoch as at one with
    independent arrivals, to a tenth.

    L2's pull once an epoch / with independent arrivals as often, at the critical arrival; one sample a seed.
    """
    once, independent = (_at(data, kind, 1.0)["pull"] for kind in ("once an epoch", "independent"))
    return ratio_interval((once / independent).values, "times the pull of independent arrivals", "seeds")
