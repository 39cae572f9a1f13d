"""Where selective weights rest under L2 and under weight decay (B6, B7), the loss's scale (B9), conversion (B10)."""

from __future__ import annotations

import xarray as xr

from evidence.claim import Claim, Estimate, mean_interval, within
from synthetic.claims.selectivity import exponent, from_times

_LOSHCHILOV = "Loshchilov, Hutter 2019, arXiv 1711.05101"
_DERIVED = "derived here"


def _over(data: xr.Dataset, rules: list[str], loss: str, coupling: str, times: float) -> xr.DataArray:
    """Rest / closed form from `times` the critical arrival on, (optimizer, arrival, seed)."""
    at = from_times(data, times).sel(optimizer=rules, loss=loss, coupling=coupling)
    found: xr.DataArray = at["rest"] / at["predicted"]
    return found


def _rest_against_formula(data: xr.Dataset, rules: list[str], loss: str, coupling: str, times: float) -> Estimate:
    found = _over(data, rules, loss, coupling, times)
    return mean_interval(found.mean(("optimizer", "arrival"), skipna=False).values, "rest / formula", "seeds")


def adaptive_rest(data: xr.Dataset) -> Estimate:
    """Adam's and RMSprop's rest under L2 over their closed form, from 2 critical arrivals on; one sample a seed."""
    return _rest_against_formula(data, ["adam", "rmsprop"], "restoring", "l2", 2.0)


def linear_rest(data: xr.Dataset) -> Estimate:
    """SGD's and heavy ball's rest under L2 over p h w*/(p h + strength), at every arrival; one sample a seed."""
    return _rest_against_formula(data, ["sgd", "momentum"], "restoring", "l2", 0.0)


def naive_rest(data: xr.Dataset) -> Estimate:
    """Adam's rest under L2 at the critical arrival over SGD's closed form there; one sample a seed."""
    at = data.sel(loss="restoring", coupling="l2").sel(arrival=data.attrs["critical"], method="nearest")
    naive = at["predicted"].sel(optimizer="sgd")
    return mean_interval((at["rest"].sel(optimizer="adam") / naive).values, "rest / formula", "seeds")


def l2_constant_rest(data: xr.Dataset) -> Estimate:
    """Rest under a constant pull and L2 over the closed form, all rules but Lion, from 4 critical arrivals on."""
    return _rest_against_formula(data, ["sgd", "momentum", "adam", "rmsprop"], "constant", "l2", 4.0)


def lion_constant_rest(data: xr.Dataset) -> Estimate:
    """Lion's rest under a constant pull and L2 over p f / strength, from 4 critical arrivals on; one sample a seed."""
    at = from_times(data, 4.0).sel(loss="constant", coupling="l2")
    found = at["rest"].sel(optimizer="lion") / at["predicted"].sel(optimizer="sgd")
    return mean_interval(found.mean("arrival").values, "rest / formula", "seeds")


def _decay_slope(data: xr.Dataset, rules: list[str]) -> Estimate:
    at = from_times(data, 10.0).sel(optimizer=rules, loss="constant", coupling="decoupled_lr")
    return mean_interval(-exponent(at["rest"]).mean("optimizer").values, "slope in log p", "seeds")


def adaptive_decay_slope(data: xr.Dataset) -> Estimate:
    """Slope in p, log-log, of Adam's and RMSprop's rest under decay, from 10 critical arrivals on; one sample a seed."""
    return _decay_slope(data, ["adam", "rmsprop"])


def linear_decay_slope(data: xr.Dataset) -> Estimate:
    """The same for SGD and heavy ball."""
    return _decay_slope(data, ["sgd", "momentum"])


def lion_decay_slope(data: xr.Dataset) -> Estimate:
    """The same for Lion."""
    return _decay_slope(data, ["lion"])


def _small_over_large(data: xr.Dataset, coupling: str) -> Estimate:
    """Adam's rest under the loss at a smaller scale over that at scale 1, from 4 critical arrivals on; one a seed."""
    at = from_times(data, 4.0)["rest"].sel(optimizer="adam", coupling=coupling)
    ratio = (at.sel(loss="small") / at.sel(loss="constant")).mean("arrival").values
    return mean_interval(ratio, "times the rest at scale 1", "seeds")


def scale_under_decay(data: xr.Dataset) -> Estimate:
    """`_small_over_large` under decay."""
    return _small_over_large(data, "decoupled_lr")


def scale_under_l2(data: xr.Dataset) -> Estimate:
    """`_small_over_large` under L2."""
    return _small_over_large(data, "l2")


def conversion(data: xr.Dataset) -> Estimate:
    """Rest under L2 / under the decay that should equal it, at 20 critical arrivals and more; Adam, RMSprop, heavy
    ball."""
    at = from_times(data, 20.0)["rest"].sel(loss="noisy", optimizer=["adam", "rmsprop", "momentum"])
    ratio = at.sel(coupling="l2") / at.sel(coupling="converted")
    return mean_interval(ratio.mean(("optimizer", "arrival")).values, "times the rest under decay", "seeds")


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "B6",
        "Against a gradient h (w - w*) on arrival Adam and RMSprop with L2 rest at (p - p_c) h w* / ((p - p_c) h + "
        "lambda sqrt(beta2)), for p of at least 2 p_c = 2 (1 - sqrt(beta2)); seen at beta2 = 0.99.",
        _DERIVED,
        "rest",
        adaptive_rest,
        within(0.97, 1.03),
        "interval within 3% of the formula",
        "w = (p - p_c) h w* / ((p - p_c) h + lambda sqrt(beta2))",
        figure="rest",
    ),
    Claim(
        "B6 linear",
        "SGD and heavy ball with L2 rest at p h w* / (p h + lambda), at every selectivity.",
        _DERIVED,
        "rest",
        linear_rest,
        within(0.97, 1.03),
        "interval within 3% of the formula",
        "w = p h w* / (p h + lambda)",
        figure="rest",
    ),
    Claim(
        "B6 naive",
        "Adam with L2 rests there too, even at the critical arrival p_c.",
        "the linear equation, taken for every optimizer",
        "rest",
        naive_rest,
        within(0.9, 1.1),
        "interval within a tenth of the formula",
        "w = p h w* / (p h + lambda)",
        figure="rest",
    ),
    Claim(
        "B7 l2",
        "A constant pull f on arrival against L2 leaves SGD and heavy ball at p f / lambda, Adam and RMSprop at "
        "(p - p_c) f / (lambda sqrt(beta2)), for p of at least 4 p_c.",
        _DERIVED,
        "rest",
        l2_constant_rest,
        within(0.95, 1.05),
        "interval within 5% of the formula",
        "w = p f / lambda",
        figure="rest",
    ),
    Claim(
        "B7 l2 lion",
        "Lion with L2 rests at p f / lambda as well.",
        "the mean gradient, taken for every optimizer",
        "rest",
        lion_constant_rest,
        within(0.95, 1.05),
        "interval within 5% of the formula",
        "w = p f / lambda",
        figure="rest",
    ),
    Claim(
        "B7 decay slope",
        "A constant pull on arrival against weight decay leaves Adam and RMSprop at a weight that falls as sqrt(p).",
        _DERIVED,
        "rest",
        adaptive_decay_slope,
        within(0.45, 0.55),
        "interval within 0.05 of 1/2",
        "w = sqrt(p) / lambda",
        figure="rest",
    ),
    Claim(
        "B7 decay slope sgd",
        "The same leaves SGD and heavy ball at a weight that falls as p.",
        _DERIVED,
        "rest",
        linear_decay_slope,
        within(0.95, 1.05),
        "interval within 0.05 of 1",
        "w = p f / (lambda (1 - momentum))",
        figure="rest",
    ),
    Claim(
        "B7 decay slope lion",
        "The same leaves Lion at a weight that does not depend on p.",
        _DERIVED,
        "rest",
        lion_decay_slope,
        within(-0.05, 0.05),
        "interval within 0.05 of 0",
        "w = 1 / lambda",
        figure="rest",
    ),
    Claim(
        "B9",
        "A loss of a quarter of the scale leaves a weight under Adam and weight decay where it was.",
        _LOSHCHILOV,
        "rest",
        scale_under_decay,
        within(0.99, 1.01),
        "interval within 1% of 1",
        figure="rest",
    ),
    Claim(
        "B9 l2",
        "Under Adam and L2 it leaves the weight at a quarter: an easier task strengthens L2 alone.",
        _DERIVED,
        "rest",
        scale_under_l2,
        within(0.24, 0.26),
        "interval within 0.24 to 0.26",
        figure="rest",
    ),
    Claim(
        "B10",
        "L2 of strength lambda leaves a weight where weight decay of strength lambda / (sigma sqrt(p)) does under Adam and "
        "RMSprop, lambda / (1 - momentum) under heavy ball, for p of at least 20 p_c.",
        _DERIVED,
        "rest",
        conversion,
        within(0.95, 1.05),
        "interval within 5% of 1",
        "lambda_decay = lambda / (sigma sqrt(p)); lambda / (1 - momentum)",
        figure="rest",
    ),
)
