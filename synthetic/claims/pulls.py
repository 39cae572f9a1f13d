"""What the toy worlds say about the claims. Each estimator reads one experiment's dataset and can come out either way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dynamics.rules import RULES
from evidence.claim import Estimate, above, ratio_interval, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED, LOSHCHILOV, MEHTA
from synthetic.claims.cells import each_cell

if TYPE_CHECKING:
    import xarray as xr

_silence = partial(claim, experiment="silence", figure="silence")
_selective = partial(claim, experiment="selective", figure="crossover")


def _adaptive(data: xr.Dataset) -> list[str]:
    return [str(name) for name in data.optimizer.values if RULES[str(name)].adaptive]


@_silence(
    "S8 silent",
    source=MEHTA + ", the factor chosen here",
    decision=above(100),
    formula="w0/w = exp(lr strength t) against lr t",
)
def silent_speedup(data: xr.Dataset) -> Estimate:
    """Without a gradient, at lr 1e-3 and strengths up to 1e-2, L2 shrinks a weight under an adaptive rule more than
    100 times faster than weight decay of equal strength.

    Steps to the target under decay / under L2, over adaptive rules and strengths.
    """
    steps = data["passage"].sel(optimizer=_adaptive(data))
    ratio = steps.sel(coupling="decoupled_lr") / steps.sel(coupling="l2")
    return spread(ratio.values, "times fewer steps under L2")


@_silence("A1", source=LOSHCHILOV, decision=within(0, 1e-9), formula="w_t = w0 (1 - lr strength)^t")
def sgd_difference(data: xr.Dataset) -> Estimate:
    """Under plain SGD, L2 and weight decay x lr are the same.

    Largest relative difference between SGD's paths under L2 and under decay, for each strength.
    """
    w = data["w"].sel(optimizer="sgd")
    difference = abs(w.sel(coupling="l2") / w.sel(coupling="decoupled_lr") - 1).max("step")
    return spread(difference.values, "relative difference of the paths")


def _pull_ratio(data: xr.Dataset, sizes: slice) -> dict[str, Estimate]:
    """L2's pull / decay's, a cell an adaptive rule, arrival and size, one sample a seed."""
    ratio = data["ratio"].sel(optimizer=_adaptive(data), size=sizes)
    return each_cell(ratio, "times the pull of decay", ratio_interval)


@_selective("S8 selective", source=MEHTA, decision=above(1), formula="R = 1/(sqrt(v) + eps)")
def pull_small_gradients(data: xr.Dataset) -> dict[str, Estimate]:
    """While gradients are small (root mean square below 1), L2 pulls harder than weight decay under Adam and RMSprop.

    L2's pull / decay's where the gradient's root mean square is below 1, a cell a rule, arrival and size, one sample a
    seed.
    """
    return _pull_ratio(data, slice(None, 0.999))


@_selective(
    "S8 always",
    source=MEHTA + ", read as a statement about every gradient",
    decision=above(1),
    formula="R = 1/(sqrt(v) + eps)",
)
def pull_large_gradients(data: xr.Dataset) -> dict[str, Estimate]:
    """L2 pulls harder than weight decay under Adam and RMSprop even where gradients are large (root mean square above 1).

    L2's pull / decay's where the gradient's root mean square is above 1, a cell a rule, arrival and size, one sample a
    seed.
    """
    return _pull_ratio(data, slice(1.001, None))


@_selective(
    "B1",
    source=LOSHCHILOV + ", with selectivity derived here",
    decision=within(0.95, 1.05),
    formula="R = 1/(sqrt(p sigma^2 + strength^2 w^2) + eps)",
)
def pull_against_prediction(data: xr.Dataset) -> dict[str, Estimate]:
    """Under Adam and RMSprop L2's pull is 1 / (sqrt(p sigma^2 + strength^2 w^2) + eps) times weight decay's, for p of at
    least 20 (1 - sqrt(beta2)).

    Simulated ratio / closed form inside its regime, a cell a rule, arrival and size of the gradient, one sample a seed.
    """
    return each_cell((data["ratio"] / data["predicted"]).sel(optimizer=_adaptive(data)), "simulated / predicted")


@_selective("B3", source=DERIVED, decision=within(0.98, 1.02), formula="R = 1/(1 - mu)")
def momentum_amplification(data: xr.Dataset) -> dict[str, Estimate]:
    """Under momentum, L2 pulls 1 / (1 - momentum) times as hard as weight decay, whatever the selectivity.

    L2's pull / decay's, times 1 - momentum, a cell a rule (heavy ball, Nesterov), arrival and size of the gradient, one
    sample a seed.
    """
    scaled = (data["ratio"] / data["predicted"]).sel(optimizer=["momentum", "nesterov"])
    return each_cell(scaled, "simulated / (1 / (1 - momentum))")
