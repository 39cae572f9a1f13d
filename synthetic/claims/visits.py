"""What selectivity does to 1 / sqrt(v): the critical selectivity, and none for a weight visited once an epoch (B5)."""

from __future__ import annotations

import xarray as xr

from evidence.claim import Claim, Estimate, above, mean_interval, ratio_interval, within

_DERIVED = "derived here"


def _at(data: xr.Dataset, arrivals: str, times: float) -> xr.Dataset:
    """At the epoch nearest to the one that makes `times` the critical arrival."""
    return data.sel(arrivals=arrivals).sel(epoch=1 / (times * data.attrs["critical"]), method="nearest")


def inverse_root_against_formula(data: xr.Dataset) -> Estimate:
    """E[v^-1/2] / its mean on arrival / the closed form, independent arrivals, from 2.9 critical ones on; one a seed."""
    at = data.sel(arrivals="independent")
    at = at.sel(epoch=at.epoch[1 / at.epoch >= 2.9 * data.attrs["critical"]])
    found = at["inverse_root"] / at["on_arrival"] / at["predicted"]
    return mean_interval(found.mean("epoch").values, "simulated / formula", "seeds")


def _growth_with_time(data: xr.Dataset, arrivals: str, times: float) -> Estimate:
    at = _at(data, arrivals, times)
    return ratio_interval(
        (at["inverse_root"] / at["look"]).values, f"times the mean of 1/{at.attrs['looks']} of the time", "seeds"
    )


def growth_beyond(data: xr.Dataset) -> Estimate:
    """E[1/sqrt(v)] over all steps / over a tenth of them, at half the critical arrival, independent arrivals."""
    return _growth_with_time(data, "independent", 0.5)


def growth_before(data: xr.Dataset) -> Estimate:
    """The same at four critical arrivals."""
    return _growth_with_time(data, "independent", 4.0)


def growth_by_epochs(data: xr.Dataset) -> Estimate:
    """The same at half the critical arrival, visited once an epoch."""
    return _growth_with_time(data, "once an epoch", 0.5)


def epochs_against_formula(data: xr.Dataset) -> Estimate:
    """E[v^-1/2] / its mean on arrival / the closed form for visits once an epoch, over all epochs; one sample a seed."""
    at = data.sel(arrivals="once an epoch")
    found = at["inverse_root"] / at["on_arrival"] / at["predicted"]
    return mean_interval(found.mean("epoch").values, "simulated / formula", "seeds")


def epochs_against_independent(data: xr.Dataset) -> Estimate:
    """L2's pull once an epoch / with independent arrivals as often, at the critical arrival; one sample a seed."""
    once, independent = (_at(data, kind, 1.0)["pull"] for kind in ("once an epoch", "independent"))
    return ratio_interval((once / independent).values, "times the pull of independent arrivals", "seeds")


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "B5",
        "Between independent arrivals Adam's 1/sqrt(v) is p sqrt(beta2)/(p - p_c) times its mean on arrival, for p of at "
        "least 3 p_c, p_c = 1 - sqrt(beta2); seen at beta2 = 0.99.",
        _DERIVED,
        "visits",
        inverse_root_against_formula,
        within(0.97, 1.03),
        "interval within 3% of the formula",
        "E[v^-1/2] / E[v^-1/2 on arrival] = p sqrt(beta2) / (p - p_c)",
        figure="critical",
    ),
    Claim(
        "B5 critical",
        "Beyond the critical selectivity, at p = p_c / 2, the mean of 1/sqrt(v) has no limit: looked at ten times as long it "
        "is more than 1.5 times as large.",
        _DERIVED,
        "visits",
        growth_beyond,
        above(1.5),
        "interval above 1.5",
        figure="critical",
    ),
    Claim(
        "B5 bounded",
        "Before it, at p = 4 p_c, the mean of 1/sqrt(v) does not depend on how long one looks.",
        _DERIVED,
        "visits",
        growth_before,
        within(0.9, 1.1),
        "interval within a tenth of 1",
        figure="critical",
    ),
    Claim(
        "B5 epoch",
        "Visited once an epoch instead of independently, a weight has no critical selectivity: at p = p_c / 2 the mean of "
        "1/sqrt(v) does not depend on how long one looks.",
        _DERIVED,
        "visits",
        growth_by_epochs,
        within(0.9, 1.1),
        "interval within a tenth of 1",
        figure="critical",
    ),
    Claim(
        "B5 epoch formula",
        "Once an epoch of E steps 1/sqrt(v) is ((e^x - 1)^2/x^2 - 1)/x times its mean on arrival, x = E/(2 tau), up to "
        "E = 2 / p_c.",
        _DERIVED,
        "visits",
        epochs_against_formula,
        within(0.95, 1.05),
        "interval within 5% of the formula",
        "E[v^-1/2] / E[v^-1/2 on arrival] = ((e^x - 1)^2 / x^2 - 1) / x",
        figure="critical",
    ),
    Claim(
        "B5 visits",
        "At the critical arrival L2 pulls as hard at a weight visited once an epoch as at one with independent arrivals, to "
        "a tenth.",
        _DERIVED,
        "visits",
        epochs_against_independent,
        within(0.9, 1.1),
        "interval within a tenth of 1",
        figure="critical",
    ),
)
