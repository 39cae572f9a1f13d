"""Where selective weights rest under L2 and under weight decay (B6, B7), the loss's scale (B9), conversion (B10)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from evidence.claim import Estimate, mean_interval, within
from evidence.registry import claim
from evidence.sources import DERIVED, LOSHCHILOV
from synthetic.claims.cells import each_cell
from synthetic.claims.selectivity import exponent, from_times

if TYPE_CHECKING:
    import xarray as xr

_rest = partial(claim, experiment="rest", figure="rest")


def _rest_against_formula(
    data: xr.Dataset, rules: list[str], loss: str, coupling: str, times: float
) -> dict[str, Estimate]:
    """Rest / closed form from `times` the critical arrival on, a cell a rule and arrival."""
    at = from_times(data, times).sel(optimizer=rules, loss=loss, coupling=coupling)
    return each_cell(at["rest"] / at["predicted"], "rest / formula")


@_rest(
    "B6", source=DERIVED, decision=within(0.97, 1.03), formula="w = (p - p_c) h w* / ((p - p_c) h + lambda sqrt(beta2))"
)
def adaptive_rest(data: xr.Dataset) -> dict[str, Estimate]:
    """Against a gradient h (w - w*) on arrival Adam and RMSprop with L2 rest at (p - p_c) h w* / ((p - p_c) h + lambda
    sqrt(beta2)), for p of at least 2 p_c = 2 (1 - sqrt(beta2)); seen at beta2 = 0.99.

    Rest under L2 over the closed form, from 2 critical arrivals on: a cell a rule and arrival, one sample a seed.
    """
    return _rest_against_formula(data, ["adam", "rmsprop"], "restoring", "l2", 2.0)


@_rest("B6 linear", source=DERIVED, decision=within(0.97, 1.03), formula="w = p h w* / (p h + lambda)")
def linear_rest(data: xr.Dataset) -> dict[str, Estimate]:
    """Against a gradient h (w - w*) on arrival SGD and heavy ball with L2 rest at p h w* / (p h + lambda), at every
    selectivity.

    Rest under L2 over p h w*/(p h + strength): a cell a rule and arrival, one sample a seed.
    """
    return _rest_against_formula(data, ["sgd", "momentum"], "restoring", "l2", 0.0)


@_rest(
    "B6 naive",
    source="the linear equation, taken for every optimizer",
    decision=within(0.9, 1.1),
    formula="w = p h w* / (p h + lambda)",
)
def naive_rest(data: xr.Dataset) -> Estimate:
    """Adam with L2 rests at p h w* / (p h + lambda), where SGD rests, even at the critical arrival p_c = 1 - sqrt(beta2).

    Adam's rest under L2 at the critical arrival over SGD's closed form there; one sample a seed.
    """
    at = data.sel(loss="restoring", coupling="l2").sel(arrival=data.attrs["critical"], method="nearest")
    naive = at["predicted"].sel(optimizer="sgd")
    return mean_interval((at["rest"].sel(optimizer="adam") / naive).values, "rest / formula", "seeds")


@_rest("B7 l2", source=DERIVED, decision=within(0.95, 1.05), formula="w = p f / lambda")
def l2_constant_rest(data: xr.Dataset) -> dict[str, Estimate]:
    """A constant pull f on arrival against L2 leaves SGD and heavy ball at p f / lambda, Adam and RMSprop at (p - p_c)
    f / (lambda sqrt(beta2)), for p of at least 4 p_c, p_c = 1 - sqrt(beta2).

    Rest under a constant pull and L2 over the closed form, all rules but Lion, from 4 critical arrivals on: a cell a rule
    and arrival, one sample a seed.
    """
    return _rest_against_formula(data, ["sgd", "momentum", "adam", "rmsprop"], "constant", "l2", 4.0)


@_rest(
    "B7 l2 lion",
    source="the mean gradient, taken for every optimizer",
    decision=within(0.95, 1.05),
    formula="w = p f / lambda",
)
def lion_constant_rest(data: xr.Dataset) -> dict[str, Estimate]:
    """A constant pull f on arrival against L2 leaves Lion at p f / lambda, as it does SGD.

    Lion's rest under a constant pull and L2 over p f / strength, from 4 critical arrivals on: a cell an arrival, one sample
    a seed.
    """
    at = from_times(data, 4.0).sel(loss="constant", coupling="l2")
    return each_cell(at["rest"].sel(optimizer="lion") / at["predicted"].sel(optimizer="sgd"), "rest / formula")


def _decay_slope(data: xr.Dataset, rules: list[str]) -> dict[str, Estimate]:
    at = from_times(data, 10.0).sel(optimizer=rules, loss="constant", coupling="decoupled_lr")
    return each_cell(-exponent(at["rest"]), "slope in log p")


@_rest("B7 decay slope", source=DERIVED, decision=within(0.45, 0.55), formula="w = sqrt(p) / lambda")
def adaptive_decay_slope(data: xr.Dataset) -> dict[str, Estimate]:
    """A constant pull on arrival against weight decay leaves Adam and RMSprop at a weight that falls as sqrt(p).

    Slope in p, log-log, of the rest under decay, from 10 critical arrivals on: a cell a rule, one sample a seed.
    """
    return _decay_slope(data, ["adam", "rmsprop"])


@_rest("B7 decay slope sgd", source=DERIVED, decision=within(0.95, 1.05), formula="w = p f / (lambda (1 - momentum))")
def linear_decay_slope(data: xr.Dataset) -> dict[str, Estimate]:
    """A constant pull on arrival against weight decay leaves SGD and heavy ball at a weight that falls as p.

    Slope in p, log-log, of the rest under decay, from 10 critical arrivals on: a cell a rule, one sample a seed.
    """
    return _decay_slope(data, ["sgd", "momentum"])


@_rest("B7 decay slope lion", source=DERIVED, decision=within(-0.05, 0.05), formula="w = 1 / lambda")
def lion_decay_slope(data: xr.Dataset) -> dict[str, Estimate]:
    """A constant pull on arrival against weight decay leaves Lion at a weight that does not depend on p.

    Slope in p, log-log, of Lion's rest under decay, from 10 critical arrivals on; one sample a seed.
    """
    return _decay_slope(data, ["lion"])


def _small_over_large(data: xr.Dataset, coupling: str) -> dict[str, Estimate]:
    """Adam's rest under the loss at a smaller scale over that at scale 1, from 4 critical arrivals on, a cell an arrival."""
    at = from_times(data, 4.0)["rest"].sel(optimizer="adam", coupling=coupling)
    return each_cell(at.sel(loss="small") / at.sel(loss="constant"), "times the rest at scale 1")


@_rest("B9", source=LOSHCHILOV, decision=within(0.99, 1.01))
def scale_under_decay(data: xr.Dataset) -> dict[str, Estimate]:
    """A loss of a quarter of the scale leaves a weight under Adam and weight decay where it was.

    Adam's rest under decay and a loss of a quarter of the scale over that at scale 1, from 4 critical arrivals on: a cell an
    arrival, one sample a seed.
    """
    return _small_over_large(data, "decoupled_lr")


@_rest("B9 l2", source=DERIVED, decision=within(0.24, 0.26))
def scale_under_l2(data: xr.Dataset) -> dict[str, Estimate]:
    """A loss of a quarter of the scale leaves a weight under Adam and L2 at a quarter of where it was: an easier task
    strengthens L2 alone.

    Adam's rest under L2 and a loss of a quarter of the scale over that at scale 1, from 4 critical arrivals on: a cell an
    arrival, one sample a seed.
    """
    return _small_over_large(data, "l2")


@_rest(
    "B10",
    source=DERIVED,
    decision=within(0.95, 1.05),
    formula="lambda_decay = lambda / (sigma sqrt(p)); lambda / (1 - momentum)",
)
def conversion(data: xr.Dataset) -> dict[str, Estimate]:
    """L2 of strength lambda leaves a weight where weight decay of strength lambda / (sigma sqrt(p)) does under Adam
    and RMSprop, lambda / (1 - momentum) under heavy ball, for p of at least 20 (1 - sqrt(beta2)).

    Rest under L2 / under the decay that should equal it, at 20 critical arrivals and more: a cell a rule (Adam, RMSprop,
    heavy ball) and arrival, one sample a seed.
    """
    at = from_times(data, 20.0)["rest"].sel(loss="noisy", optimizer=["adam", "rmsprop", "momentum"])
    return each_cell(at.sel(coupling="l2") / at.sel(coupling="converted"), "times the rest under decay")
