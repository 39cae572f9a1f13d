"""What the toy worlds say about the claims. Each estimator reads one experiment's dataset and can come out either way."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.rules import RULES
from evidence.claim import Claim, Estimate, above, mean_interval, ratio_interval, spread, within

_MEHTA = "Mehta, Kim, Theobalt 2019, arXiv 1905.04967"
_LOSHCHILOV = "Loshchilov, Hutter 2019, arXiv 1711.05101"


def _adaptive(data: xr.Dataset) -> list[str]:
    return [str(name) for name in data.optimizer.values if RULES[str(name)].adaptive]


def silent_speedup(data: xr.Dataset) -> Estimate:
    """Steps to the target under decay / under L2, over adaptive rules and strengths."""
    steps = data["passage"].sel(optimizer=_adaptive(data))
    ratio = steps.sel(coupling="decoupled_lr") / steps.sel(coupling="l2")
    return spread(ratio.values, "times fewer steps under L2")


def sgd_difference(data: xr.Dataset) -> Estimate:
    """Largest relative difference between SGD's paths under L2 and under decay, for each strength."""
    w = data["w"].sel(optimizer="sgd")
    difference = abs(w.sel(coupling="l2") / w.sel(coupling="decoupled_lr") - 1).max("step")
    return spread(difference.values, "relative difference of the paths")


def _pull_ratio(data: xr.Dataset, sizes: slice) -> Estimate:
    """L2's pull / decay's for the adaptive rules, one sample a seed (geometric mean over rules, arrivals and sizes)."""
    ratio = data["ratio"].sel(optimizer=_adaptive(data), size=sizes)
    a_seed = xr.apply_ufunc(np.log, ratio).mean(("optimizer", "arrival", "size")).values
    return ratio_interval(np.exp(a_seed), "times the pull of decay", "seeds")


def pull_small_gradients(data: xr.Dataset) -> Estimate:
    """`_pull_ratio` where the gradient's root mean square is below 1."""
    return _pull_ratio(data, slice(None, 0.999))


def pull_large_gradients(data: xr.Dataset) -> Estimate:
    """`_pull_ratio` where the gradient's root mean square is above 1."""
    return _pull_ratio(data, slice(1.001, None))


def pull_against_prediction(data: xr.Dataset) -> Estimate:
    """Simulated ratio / closed form for the adaptive rules inside its regime, one sample a seed."""
    ratio = (data["ratio"] / data["predicted"]).sel(optimizer=_adaptive(data))
    return mean_interval(ratio.mean(("optimizer", "arrival", "size")).values, "simulated / predicted", "seeds")


def momentum_amplification(data: xr.Dataset) -> Estimate:
    """L2's pull / decay's under heavy ball and Nesterov, times 1 - momentum, one sample a seed."""
    scaled = (data["ratio"] / data["predicted"]).sel(optimizer=["momentum", "nesterov"])
    return mean_interval(
        scaled.mean(("optimizer", "arrival", "size")).values, "simulated / (1 / (1 - momentum))", "seeds"
    )


CLAIMS = (
    Claim(
        "S8 silent",
        "Without a gradient, at lr 1e-3 and strengths up to 1e-2, L2 shrinks a weight under an adaptive rule more than 100 "
        "times faster than weight decay of equal strength.",
        _MEHTA + ", the factor chosen here",
        "silence",
        silent_speedup,
        above(100),
        "every ratio above 100",
        "w0/w = exp(lr strength t) against lr t",
        "silence",
    ),
    Claim(
        "S8 selective",
        "While gradients are small (root mean square below 1), L2 pulls harder than weight decay under adaptive rules.",
        _MEHTA,
        "selective",
        pull_small_gradients,
        above(1),
        "interval above 1",
        "R = 1/(sqrt(v) + eps)",
        "crossover",
    ),
    Claim(
        "S8 always",
        "L2 pulls harder than weight decay under adaptive rules even where gradients are large (root mean square above 1).",
        _MEHTA + ", read as a statement about every gradient",
        "selective",
        pull_large_gradients,
        above(1),
        "interval above 1",
        "R = 1/(sqrt(v) + eps)",
        "crossover",
    ),
    Claim(
        "A1",
        "Under plain SGD, L2 and weight decay x lr are the same.",
        _LOSHCHILOV,
        "silence",
        sgd_difference,
        within(0, 1e-9),
        "every path within 1e-9",
        "w_t = w0 (1 - lr strength)^t",
        "silence",
    ),
    Claim(
        "B1",
        "The ratio of the two pulls is 1 / (sqrt(p sigma^2 + strength^2 w^2) + eps), for p of at least 20 (1 - sqrt(beta2)).",
        _LOSHCHILOV + ", with selectivity derived here",
        "selective",
        pull_against_prediction,
        within(0.95, 1.05),
        "interval within 5% of the formula",
        "R = 1/(sqrt(p sigma^2 + strength^2 w^2) + eps)",
        "crossover",
    ),
    Claim(
        "B3",
        "Under momentum, L2 pulls 1 / (1 - momentum) times as hard as weight decay, whatever the selectivity.",
        "derived here",
        "selective",
        momentum_amplification,
        within(0.98, 1.02),
        "interval within 2% of the formula",
        "R = 1/(1 - mu)",
        "crossover",
    ),
)
