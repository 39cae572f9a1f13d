"""Section A: what every rule does to a weight without a gradient."""

from __future__ import annotations

import xarray as xr

from evidence.claim import Claim, Estimate, above, below, never_above, spread, within

_PROJECT = "derived here"
_INVARIANT = ("adam", "amsgrad", "nadam", "rmsprop", "adagrad", "adamax", "lion")


def heavy_ball(data: xr.Dataset) -> Estimate:
    """A2: largest distance of heavy ball's path from the closed form, one sample a setting."""
    return spread(data["momentum_error"].values, "of the start")


def invariant_rules(data: xr.Dataset) -> Estimate:
    """A3: relative change of the path when strength and eps grow eightfold, over the rules said to be blind to it."""
    return spread(data["scaling_error"].sel(scaled=list(_INVARIANT)).values, "relative change of the path")


def every_adaptive_rule(data: xr.Dataset) -> Estimate:
    """A3 for all adaptive rules that were tried, one sample a rule (its largest change)."""
    return spread(data["scaling_error"].max("draw").values, "relative change of the path")


def largest_step(data: xr.Dataset) -> Estimate:
    """A4: largest step of fresh Adam + L2 before the weight changes sign, one sample a setting."""
    return spread(data["largest_step"].values, "learning rates")


def _passages(data: xr.Dataset, rule: str) -> Estimate:
    ratio = (data["passage"] / data["predicted"]).sel(rule=rule)
    return spread(ratio.values[ratio.notnull().values], f"simulated / predicted steps to {data.attrs['target']:g}")


def adam_passage(data: xr.Dataset) -> Estimate:
    """A5: simulated over predicted steps, one sample a setting inside the form's regime."""
    return _passages(data, "adam")


def adagrad_passage(data: xr.Dataset) -> Estimate:
    """A6: the same for Adagrad."""
    return _passages(data, "adagrad")


def adamax_passage(data: xr.Dataset) -> Estimate:
    """A7: the same for Adamax."""
    return _passages(data, "adamax")


def adadelta_excess(data: xr.Dataset) -> Estimate:
    """A8: by how much a weight under Adadelta + L2 stays above one under decay, at the least, one sample a setting."""
    return spread(data["adadelta_excess"].values, "relative, least after the first step")


def residual(data: xr.Dataset) -> Estimate:
    """A9: half-life over its lower bound, one sample a setting."""
    return spread(data["half_life"].values, "times the bound")


def below_the_limit(data: xr.Dataset) -> Estimate:
    """A10: logarithmic growth a step near 0 at 0.9 of the limit, Adam and RMSprop."""
    return spread(data["growth"].sel(side="below").values, "log growth a step")


def beyond_the_limit(data: xr.Dataset) -> Estimate:
    """A10: the same at 1.1 times the limit."""
    return spread(data["growth"].sel(side="above").values, "log growth a step")


def rate_at_the_end(data: xr.Dataset) -> Estimate:
    """A11: relative error of the closed rate near 0."""
    return spread(data["settled"].values, "relative error of the rate a step")


def lion_path(data: xr.Dataset) -> Estimate:
    """A13: distance of Lion under decay from its closed path, one sample a setting."""
    return spread(data["lion_error"].values, "of the end point 1/strength")


def lion_turn(data: xr.Dataset) -> Estimate:
    """A13: how far below 0 Lion + L2 turns, less the closed form, one sample a setting."""
    return spread(data["overshoot_error"].values, "learning rates")


def _claim(name: str, sentence: str, estimate: object, rule: object, words: str, formula: str = "") -> Claim:
    return Claim(name, sentence, _PROJECT, "laws", estimate, rule, words, formula, "silence")  # type: ignore[arg-type]


CLAIMS = (
    _claim(
        "A2",
        "Heavy ball under L2 without a gradient follows the two powers of its characteristic equation.",
        heavy_ball,
        within(0, 1e-9),
        "every path within 1e-9",
        "r^2 - (1 + mu - x) r + mu = 0, x = lr strength",
    ),
    _claim(
        "A3",
        "Under L2 without a gradient the paths of Adam, AMSGrad, NAdam, RMSprop, Adagrad, Adamax and Lion do not change "
        "when strength and eps grow by the same factor.",
        invariant_rules,
        within(0, 1e-9),
        "every change below 1e-9",
        "(strength, eps) -> (c strength, c eps)",
    ),
    _claim(
        "A3 every rule",
        "So it is for every adaptive rule, RAdam, Adadelta and AdaBelief included.",
        every_adaptive_rule,
        never_above(1e-9),
        "every rule's change at most 1e-9",
    ),
    _claim(
        "A4",
        "Fresh Adam + L2 without a gradient moves a weight at most lr a step until it changes sign (beta1 <= beta2).",
        largest_step,
        never_above(1 + 1e-9),
        "no step above lr",
        "w_t >= w_0 - lr t",
    ),
    _claim(
        "A5",
        "Adam + L2 takes a weight to 1/100 in the steps that the scaled time S and the momentum's lag give.",
        adam_passage,
        within(0.95, 1.05),
        "every setting within 5%",
        "T = (w0/lr) S(theta, w/w0) - beta1/(1-beta1) ln(w0/w), theta = lr tau/w0",
    ),
    _claim(
        "A6",
        "Adagrad + L2 takes a weight to 1/100 in the steps of its closed form.",
        adagrad_passage,
        within(0.95, 1.05),
        "every setting within 5%",
        "T = (q/(lr strength) + w0^2/(4 lr^2)) ln(w0/w) - (w0^2 - w^2)/(8 lr^2)",
    ),
    _claim(
        "A7",
        "Adamax + L2 takes a weight to 1/100 in the steps of its closed form.",
        adamax_passage,
        within(0.95, 1.05),
        "every setting within 5%",
        "T = (w0 - w_c)/lr + tau ln(1 + ln(w_c/w) w_c/(lr tau)) - beta1/(1-beta1) ln(w0/w), w_c = min(w0, lr tau)",
    ),
    _claim(
        "A8",
        "Under Adadelta L2 is the weaker pull: without a gradient a weight stays above one under weight decay at every step.",
        adadelta_excess,
        above(0),
        "every setting above 0",
        "w_L2 > w_WD",
    ),
    _claim(
        "A9",
        "What is left of old gradients in Adam's v delays death: the half-life under L2 is no shorter than its bound.",
        residual,
        above(0.98),
        "every setting above 0.98 of the bound (a step's rounding)",
        "T_half >= 2 tau ln(1 + ln 2 sigma_0/(2 tau lr strength))",
    ),
    _claim(
        "A10",
        "Below lr strength / eps = 2 (1 + beta1)/(1 - beta1) Adam and RMSprop + L2 bring a small weight to rest at 0.",
        below_the_limit,
        below(0),
        "every setting shrinks at 0.9 of the limit",
        "lr strength/eps < 2 (1 + beta1)/(1 - beta1)",
    ),
    _claim(
        "A10 beyond",
        "Beyond that limit 0 is unstable.",
        beyond_the_limit,
        above(0),
        "every setting grows at 1.1 times the limit",
    ),
    _claim(
        "A11",
        "Once strength |w| is far below eps, a weight shrinks by the rate of a heavy ball with lr strength / eps.",
        rate_at_the_end,
        within(-0.01, 0.01),
        "every setting within 1%",
        "r^2 - (1 + beta1 - (1 - beta1) x) r + beta1 = 0, x = lr strength/eps",
    ),
    _claim(
        "A13",
        "Lion under weight decay, its momentum not 0 when the gradient stops, goes to -sign(m)/strength.",
        lion_path,
        within(0, 1e-9),
        "every path within 1e-9",
        "w_t = -s/strength + (w_0 + s/strength)(1 - lr strength)^t",
    ),
    _claim(
        "A13 turn",
        "Lion + L2 overshoots 0 by the length of its closed form, to the step.",
        lion_turn,
        within(-1e-6, 1e-6),
        "every setting within 1e-6 lr",
        "about beta1 lr/(1 - beta2)",
    ),
)
