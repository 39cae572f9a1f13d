"""How a regularizer's pull depends on selectivity (S6): on its own, and against the loss's pull."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dynamics.rules import RULES
from evidence.claim import Estimate, above, below, mean_interval, ratio_interval, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED, MEHTA
from synthetic.claims.cells import each_cell

if TYPE_CHECKING:
    import xarray as xr

_PLAIN = ("sgd", "momentum", "nesterov")
# Selectivity counts as moderate while arrivals are at least this many critical ones.
_MODERATE = 20.0


_pull = partial(claim, experiment="selectivity", figure="pull")


def from_times(data: xr.Dataset, times: float) -> xr.Dataset:
    """Where arrivals are at least `times` the critical ones."""
    return data.sel(arrival=data.arrival[data.arrival >= times * data.attrs["critical"] * (1 - 1e-9)])


def _moderate(data: xr.Dataset) -> xr.Dataset:
    return from_times(data, _MODERATE)


def _at(data: xr.Dataset, times: float) -> xr.Dataset:
    """At `times` the critical arrival."""
    return data.sel(arrival=times * data.attrs["critical"], method="nearest")


def exponent(values: xr.DataArray) -> xr.DataArray:
    """Slope of log values in log 1/p, by least squares over all arrivals; the dimension arrival is gone."""
    x = -np.log(values.arrival)
    x = x - x.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        found: xr.DataArray = (x * np.log(values)).sum("arrival", skipna=False) / (x * x).sum()
    return found


def _adaptive(data: xr.Dataset) -> list[str]:
    return [str(name) for name in data.optimizer.values if RULES[str(name)].adaptive]


def _of_l2(data: xr.Dataset, rule: str) -> xr.DataArray:
    return data["pull"].sel(optimizer=rule, coupling="l2")


@_pull(
    "S6",
    source=MEHTA + "; the exponent derived here",
    decision=within(0.45, 0.55),
    formula="pull = lr lambda w / (sigma sqrt(p))",
)
def pull_exponent(data: xr.Dataset) -> Estimate:
    """Under Adam L2's pull on a weight grows with its selectivity as 1/sqrt(p), p = 1 - selectivity, while p is at
    least 20 (1 - sqrt(beta2)); seen at beta2 = 0.99, gradients of one size.

    Exponent of L2's pull under Adam in 1/p at moderate selectivity, one sample a seed.
    """
    return mean_interval(exponent(_of_l2(_moderate(data), "adam")).values, "exponent in 1/p", "seeds")


@_pull(
    "S6 sgd",
    source=MEHTA + "; the exponent derived here",
    decision=within(-0.01, 0.01),
    formula="pull = lr lambda w / (1 - momentum)",
)
def plain_exponent(data: xr.Dataset) -> Estimate:
    """Under SGD, heavy ball and Nesterov L2's pull is the same at every selectivity.

    Exponent of L2's pull in 1/p under SGD, heavy ball and Nesterov over all selectivities: each rule and seed.
    """
    return spread(exponent(data["pull"].sel(optimizer=list(_PLAIN), coupling="l2")).values, "exponent in 1/p")


@_pull("S6 decay", source=MEHTA + ", read as a statement about both regularizers' pull", decision=above(0.05))
def decay_exponent(data: xr.Dataset) -> Estimate:
    """Weight decay x lr pulls harder at selective weights under the adaptive rules (LAMB and schedule-free, which take
    decay into their step, aside).

    Exponent of decay's pull over all selectivities: each seed and adaptive rule that takes decay off the weight
    itself.
    """
    rules = [name for name in _adaptive(data) if not RULES[name].takes_pull]
    return spread(exponent(data["pull"].sel(optimizer=rules, coupling="decoupled_lr")).values, "exponent in 1/p")


@_pull("S6 decay lamb", source=DERIVED, decision=above(0.1))
def lamb_decay_exponent(data: xr.Dataset) -> Estimate:
    """Under LAMB, whose trust ratio rescales decay with the step, weight decay pulls harder at selective weights (each
    weight a tensor of its own).

    Exponent of decay's pull under LAMB over all selectivities, one sample a seed.
    """
    return mean_interval(
        exponent(data["pull"].sel(optimizer="lamb", coupling="decoupled_lr")).values, "exponent in 1/p", "seeds"
    )


def _each_rule(growth: xr.DataArray, unit: str) -> dict[str, Estimate]:
    """A cell a rule, (optimizer, seed); what grows from nothing has no finite growth and is left out."""
    finite = np.isfinite(growth.transpose("optimizer", "seed").values).all(axis=1)
    absent = dict.fromkeys(map(str, growth.optimizer.values[~finite]), 1)
    return each_cell(growth.isel(optimizer=finite), unit, ratio_interval, absent)


def _growth(data: xr.Dataset, arrival: float) -> xr.DataArray:
    """L2's pull at the arrival nearest to this over that at selectivity 0, (optimizer, seed) of adaptive rules."""
    pull = data["pull"].sel(optimizer=_adaptive(data), coupling="l2")
    with np.errstate(divide="ignore"):
        found: xr.DataArray = pull.sel(arrival=arrival, method="nearest") / pull.sel(arrival=1.0)
    return found


@_pull("S6 half power", source=MEHTA + ", read as a statement about every adaptive rule", decision=above(0.9))
def least_half_power(data: xr.Dataset) -> dict[str, Estimate]:
    """Under every adaptive rule L2's pull grows with selectivity at least as 1/sqrt(p), to a tenth, down to p of about
    20 (1 - sqrt(beta2)).

    How L2's pull grows to the end of moderate selectivity, over 1/sqrt(p): a cell an adaptive rule, one sample a seed; a
    rule without a pull at selectivity 0 is left out.
    """
    arrival = float(_moderate(data).arrival.min())
    return _each_rule(_growth(data, arrival) * np.sqrt(arrival), "times 1/sqrt(p)")


@_pull("S6 every adaptive", source=MEHTA + ", the factor chosen here", decision=above(2))
def least_growth(data: xr.Dataset) -> dict[str, Estimate]:
    """Under every adaptive rule L2's pull is more than twice as hard at the critical selectivity as at selectivity 0.

    How L2's pull grows from selectivity 0 to the critical one: a cell an adaptive rule, one sample a seed; a rule without
    a pull at selectivity 0 is left out.
    """
    return _each_rule(_growth(data, data.attrs["critical"]), "times the pull at selectivity 0")


@_pull("S6 disproportionate", source=MEHTA + "; made precise here", decision=above(0.5))
def critical_exponent(data: xr.Dataset) -> Estimate:
    """Near the critical selectivity, from 4 (1 - sqrt(beta2)) down to 1 - sqrt(beta2), L2's pull under Adam grows
    faster than 1/sqrt(p).

    Exponent of L2's pull under Adam between 4 critical arrivals and 1, one sample a seed.
    """
    near = _of_l2(data, "adam").sel(arrival=[float(_at(data, k).arrival) for k in (4, 1)])
    return mean_interval(exponent(near).values, "exponent in 1/p", "seeds")


def _balance(data: xr.Dataset, rule: str, coupling: str = "l2") -> xr.DataArray:
    """The regularizer's pull over that of a loss that pulls as hard on arrival, (arrival, seed)."""
    return data["pull"].sel(optimizer=rule, coupling=coupling) / data["loss"].sel(optimizer=rule)


@_pull("S6 balance", source=MEHTA + ", read as a statement about the regularizer's share", decision=above(0.1))
def balance_exponent(data: xr.Dataset) -> Estimate:
    """Measured against the loss's own pull, L2's pull grows faster with selectivity under Adam than under SGD, by more
    than 0.1 in the exponent, while p is at least 20 (1 - sqrt(beta2)).

    Exponent of L2's pull over the loss's under Adam, less that under SGD, at moderate selectivity; one a seed.
    """
    at = _moderate(data)
    apart = exponent(_balance(at, "adam")) - exponent(_balance(at, "sgd"))
    return mean_interval(apart.values, "exponent above SGD's", "seeds")


@_pull("S6 balance sgd", source=DERIVED, decision=within(-0.1, 0.1), formula="pull / loss's pull = lambda / (p h)")
def sgd_balance_exponent(data: xr.Dataset) -> Estimate:
    """Under SGD selectivity does not change L2's pull against the loss's own.

    Exponent of L2's pull over the loss's under SGD, at moderate selectivity; one sample a seed.
    """
    return mean_interval(exponent(_balance(_moderate(data), "sgd")).values, "exponent in 1/p", "seeds")


@_pull("S6 balance decay", source=DERIVED, decision=below(0), formula="pull / loss's pull = lambda sigma / (h sqrt(p))")
def decay_balance_exponent(data: xr.Dataset) -> Estimate:
    """Measured against the loss's own pull, weight decay's pull grows more slowly with selectivity under Adam than
    under SGD, while p is at least 20 (1 - sqrt(beta2)).

    Exponent of decay's pull over the loss's under Adam, less that under SGD, at moderate selectivity; one a seed.
    """
    at = _moderate(data)
    apart = exponent(_balance(at, "adam", "decoupled_lr")) - exponent(_balance(at, "sgd", "decoupled_lr"))
    return mean_interval(apart.values, "exponent above SGD's", "seeds")


@_pull("S6 balance critical", source=DERIVED, decision=above(2))
def critical_balance(data: xr.Dataset) -> Estimate:
    """At p = 2 (1 - sqrt(beta2)) L2 weighs more than twice as much against the loss under Adam as under SGD, where gradients
    are mostly noise and enter Adam's v whole; were the loss's part left out of v, it would be just below twice.

    L2's pull over the loss's under Adam at 2 critical arrivals, in units of SGD's; one sample a seed. With v fed by the noise
    alone the ratio is p sqrt(beta2)/(p - p_c), 1.99: an arrival that the loss makes larger also raises the v that divides it.
    """
    at = _at(data, 2)
    return mean_interval((_balance(at, "adam") / _balance(at, "sgd")).values, "times SGD's", "seeds")
