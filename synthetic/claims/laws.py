"""Section A: what every rule does to a weight without a gradient."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from evidence.claim import Estimate, above, below, never_above, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED

if TYPE_CHECKING:
    import xarray as xr

_INVARIANT = ("adam", "amsgrad", "nadam", "rmsprop", "adagrad", "adamax", "lion")


_law = partial(claim, source=DERIVED, experiment="laws", figure="silence")


@_law("A2", decision=within(0, 1e-9), formula="r^2 - (1 + mu - x) r + mu = 0, x = lr strength")
def heavy_ball(data: xr.Dataset) -> Estimate:
    """Heavy ball under L2 without a gradient follows the two powers of its characteristic equation.

    Largest distance of heavy ball's path from the closed form, one sample a setting.
    """
    return spread(data["momentum_error"].values, "of the start")


@_law("A3", decision=within(0, 1e-9), formula="(strength, eps) -> (c strength, c eps)")
def invariant_rules(data: xr.Dataset) -> Estimate:
    """Under L2 without a gradient the paths of Adam, AMSGrad, NAdam, RMSprop, Adagrad, Adamax and Lion do not change
    when strength and eps grow by the same factor.

    Relative change of the path when strength and eps grow eightfold, over the rules said to be blind to it.
    """
    return spread(data["scaling_error"].sel(scaled=list(_INVARIANT)).values, "relative change of the path")


@_law("A3 every rule", decision=never_above(1e-9))
def every_adaptive_rule(data: xr.Dataset) -> Estimate:
    """Under L2 without a gradient the path of no adaptive rule, RAdam, Adadelta and AdaBelief included, changes when
    strength and eps grow by the same factor.

    Relative change of the path when strength and eps grow eightfold, over all adaptive rules that were tried, one
    sample a rule (its largest change).
    """
    return spread(data["scaling_error"].max("draw").values, "relative change of the path")


@_law("A4", decision=never_above(1 + 1e-9), formula="w_t >= w_0 - lr t")
def largest_step(data: xr.Dataset) -> Estimate:
    """Fresh Adam + L2 without a gradient moves a weight at most lr a step until it changes sign (beta1 <= beta2).

    Largest step of fresh Adam + L2 before the weight changes sign, one sample a setting.
    """
    return spread(data["largest_step"].values, "learning rates")


def _passages(data: xr.Dataset, rule: str) -> Estimate:
    ratio = (data["passage"] / data["predicted"]).sel(rule=rule)
    return spread(ratio.values[ratio.notnull().values], f"simulated / predicted steps to {data.attrs['target']:g}")


@_law(
    "A5",
    decision=within(0.95, 1.05),
    formula="T = (w0/lr) S(theta, w/w0) - beta1/(1-beta1) ln(w0/w), theta = lr tau/w0",
)
def adam_passage(data: xr.Dataset) -> Estimate:
    """Without a gradient Adam + L2 takes a weight to 1/100 in the steps that the scaled time S and the momentum's lag
    give.

    Simulated over predicted steps, one sample a setting inside the form's regime.
    """
    return _passages(data, "adam")


@_law(
    "A6", decision=within(0.95, 1.05), formula="T = (q/(lr strength) + w0^2/(4 lr^2)) ln(w0/w) - (w0^2 - w^2)/(8 lr^2)"
)
def adagrad_passage(data: xr.Dataset) -> Estimate:
    """Without a gradient Adagrad + L2 takes a weight to 1/100 in the steps of its closed form.

    Simulated over predicted steps under Adagrad, one sample a setting inside the form's regime.
    """
    return _passages(data, "adagrad")


@_law(
    "A7",
    decision=within(0.95, 1.05),
    formula="T = (w0 - w_c)/lr + tau ln(1 + ln(w_c/w) w_c/(lr tau)) - beta1/(1-beta1) ln(w0/w), w_c = min(w0, lr tau)",
)
def adamax_passage(data: xr.Dataset) -> Estimate:
    """Without a gradient Adamax + L2 takes a weight to 1/100 in the steps of its closed form.

    Simulated over predicted steps under Adamax, one sample a setting inside the form's regime.
    """
    return _passages(data, "adamax")


@_law("A8", decision=above(0), formula="w_L2 > w_WD")
def adadelta_excess(data: xr.Dataset) -> Estimate:
    """Under Adadelta L2 is the weaker pull: without a gradient a weight stays above one under weight decay at every
    step.

    By how much a weight under Adadelta + L2 stays above one under decay, at the least, one sample a setting.
    """
    return spread(data["adadelta_excess"].values, "relative, least after the first step")


@_law("A9", decision=above(0.98), formula="T_half >= 2 tau ln(1 + ln 2 sigma_0/(2 tau lr strength))")
def residual(data: xr.Dataset) -> Estimate:
    """What is left of old gradients in Adam's v delays death: the half-life under L2 is no shorter than its bound.

    Half-life over its lower bound, one sample a setting.
    """
    return spread(data["half_life"].values, "times the bound")


@_law("A10", decision=below(0), formula="lr strength/eps < 2 (1 + beta1)/(1 - beta1)")
def below_the_limit(data: xr.Dataset) -> Estimate:
    """Below lr strength / eps = 2 (1 + beta1)/(1 - beta1) Adam and RMSprop + L2 bring a small weight to rest at 0.

    Logarithmic growth a step near 0 at 0.9 of the limit, Adam and RMSprop.
    """
    return spread(data["growth"].sel(side="below").values, "log growth a step")


@_law("A10 beyond", decision=above(0))
def beyond_the_limit(data: xr.Dataset) -> Estimate:
    """Beyond lr strength / eps = 2 (1 + beta1)/(1 - beta1) a weight of 0 is unstable under Adam and RMSprop + L2.

    Logarithmic growth a step near 0 at 1.1 times the limit, Adam and RMSprop.
    """
    return spread(data["growth"].sel(side="above").values, "log growth a step")


@_law(
    "A11", decision=within(-0.01, 0.01), formula="r^2 - (1 + beta1 - (1 - beta1) x) r + beta1 = 0, x = lr strength/eps"
)
def rate_at_the_end(data: xr.Dataset) -> Estimate:
    """Under Adam and RMSprop + L2 without a gradient, once strength |w| is far below eps, a weight shrinks by the rate
    of a heavy ball with lr strength / eps.

    Relative error of the closed rate near 0.
    """
    return spread(data["settled"].values, "relative error of the rate a step")


@_law("A13", decision=within(0, 1e-9), formula="w_t = -s/strength + (w_0 + s/strength)(1 - lr strength)^t")
def lion_path(data: xr.Dataset) -> Estimate:
    """Lion under weight decay, its momentum not 0 when the gradient stops, goes to -sign(m)/strength.

    Distance of Lion under decay from its closed path, one sample a setting.
    """
    return spread(data["lion_error"].values, "of the end point 1/strength")


@_law("A13 turn", decision=within(-1e-6, 1e-6), formula="about beta1 lr/(1 - beta2)")
def lion_turn(data: xr.Dataset) -> Estimate:
    """Without a gradient a weight under Lion + L2 overshoots 0 by the length of its closed form, to the step.

    How far below 0 Lion + L2 turns, less the closed form, one sample a setting.
    """
    return spread(data["overshoot_error"].values, "learning rates")
