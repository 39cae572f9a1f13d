"""Section D: where a quadratic loss leaves weights, which learning rates are stable, and bounds on AdamW's and Lion's weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dynamics.theory.closed import adam_step_bound
from evidence.claim import Estimate, never_above, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED
from synthetic.claims.cells import each_cell
from synthetic.quadratic import CLIPPED

if TYPE_CHECKING:
    import xarray as xr

_XIE = "Xie, Li 2024, arXiv 2404.04454"
_CHEN = "Chen et al. 2023, arXiv 2310.05898"
_EVERY = ("sgd", "momentum", "rmsprop", "adam", "amsgrad", "adamax", "lion")
_quadratic = partial(claim, experiment="quadratic")
_noisy = partial(claim, experiment="noisy_quadratic")
_bounded = partial(claim, experiment="bounded")


@_quadratic(
    "D l2 quiet",
    sentence="Without noise and with a gradient at every step, L2 leads every optimizer, Lion included, to h w* / (h + "
    "strength), within a learning rate.",
    source="calculus",
    decision=never_above(1),
    formula="w = h w* / (h + strength)",
    figure="minima",
    optimizers=_EVERY,
    coupling="l2",
)
@_quadratic(
    "D decay",
    sentence="Without noise decay x lr leads SGD to h w* / (h + strength) and momentum to h w* / (h + strength (1-mu)).",
    source=DERIVED,
    decision=never_above(0.01),
    formula="w = h w* / (h + strength (1-mu))",
    figure="minima",
    optimizers=["sgd", "momentum"],
    coupling="decoupled_lr",
)
@_quadratic(
    "D clip",
    sentence="Without noise decay x lr leads AdamW, RMSprop, Adamax and Lion to w* clipped to +-1/strength, within 15 lr, in "
    "2000 steps.",
    source=f"{_XIE}; {_CHEN}",
    decision=never_above(15),
    formula="w = min(max(w*, -1/strength), 1/strength)",
    figure="minima",
    optimizers=CLIPPED,
    coupling="decoupled_lr",
)
@_quadratic(
    "D clip off",
    sentence="Without noise decay x lr leads AdamW, RMSprop, Adamax and Lion to w* clipped to +-1/strength, within 15 lr in "
    "2000 steps, for w* more than a tenth away from 1/strength; at 1/strength the gradient fades as the weight arrives, and "
    "the denominator remembers a larger one.",
    source=DERIVED,
    decision=never_above(15),
    formula="w = min(max(w*, -1/strength), 1/strength)",
    figure="minima",
    optimizers=CLIPPED,
    coupling="decoupled_lr",
    corner=False,
)
@_quadratic(
    "D amsgrad",
    sentence="Without noise decay x lr leads AMSGrad, which keeps its largest denominator, not to a clipped w* but to "
    "h w* / (h + strength sqrt(v_max)).",
    source=DERIVED,
    decision=never_above(1),
    formula="w = h w* / (h + strength sqrt(v_max))",
    figure="minima",
    optimizers=["amsgrad"],
    coupling="decoupled_lr",
)
def quiet_rest(data: xr.Dataset, optimizers: Sequence[str], coupling: str, corner: bool = True) -> Estimate:
    """Distance from the predicted resting place in learning rates, one sample an optimizer, strength and target (where the
    claim leaves it out, without targets of 1/strength)."""
    chosen = data.sel(optimizer=list(optimizers), coupling=coupling)
    distance = abs(chosen["rest"] - chosen["predicted"]) / data.attrs["lr"]
    if not corner:
        distance = distance.where(abs(chosen["target"] * chosen["strength"] - 1) > 0.1)
    return spread(distance.values[distance.notnull().values], "learning rates")


@_noisy(
    "D l2",
    sentence="Where gradients arrive with probability p = 0.1, L2 holds every optimizer, Lion included, at the minimum of "
    "mean loss and penalty, p h w* / (p h + strength).",
    source="calculus, read as a statement about every optimizer",
    decision=within(0.97, 1.03),
    optimizers=_EVERY,
)
@_noisy(
    "D l2 linear",
    sentence="Where gradients arrive with probability p = 0.1, L2 holds SGD and momentum, whose steps are linear in the "
    "gradient, at p h w* / (p h + strength).",
    source=DERIVED,
    decision=within(0.97, 1.03),
    formula="w = p h w* / (p h + strength)",
    optimizers=["sgd", "momentum"],
)
def selective_rest(data: xr.Dataset, optimizers: Sequence[str]) -> dict[str, Estimate]:
    """Mean weight under L2, gradients at the smallest p and no noise / p h w*/(p h + strength), a cell an optimizer, one sample
    a seed."""
    p, strength = float(data.arrival[0]), data.attrs["strength"]
    ratio = data["rest"].sel(optimizer=list(optimizers), coupling="l2", arrival=p, sigma=0.0) * (p + strength) / p
    return each_cell(ratio, "of the formula")


@_noisy(
    "D l2 adaptive",
    sentence="Where gradients arrive with probability p = 0.1, L2 holds Adam and RMSprop at p h w* / (p h + strength) with p "
    "replaced by p - p_c, p_c = 1 - sqrt(beta2), and strength by strength sqrt(beta2).",
    source=DERIVED,
    decision=within(0.97, 1.03),
    formula="w = (p-p_c) h w* / ((p-p_c) h + strength sqrt(beta2))",
    coupling="l2",
    noisy=False,
)
@_noisy(
    "D noisy",
    sentence="Where noise dominates the gradients, decay x lr acts on AdamW and RMSprop as L2 of strength times sqrt(v).",
    source=DERIVED,
    decision=within(0.95, 1.05),
    formula="w = p h w* / (p h + strength sigma sqrt(p))",
    coupling="decoupled_lr",
    noisy=True,
)
def noisy_rest(data: xr.Dataset, coupling: str, noisy: bool) -> dict[str, Estimate]:
    """Mean weight under Adam and RMSprop, simulated / predicted: under decay with noise beside the pull, a cell an optimizer
    and p; under L2 without noise, at the smallest p, a cell an optimizer. One sample a seed."""
    chosen = data.sel(optimizer=["adam", "rmsprop"], coupling=coupling)
    chosen = chosen.isel(sigma=-1) if noisy else chosen.isel(arrival=0, sigma=0)
    return each_cell(chosen["rest"] / chosen["predicted"], "simulated / predicted")


@claim(
    "D stability",
    experiment="stability",
    source="Cohen et al. 2022, arXiv 2207.14484; with strength derived here",
    decision=never_above(0),
)
def stability(data: xr.Dataset) -> Estimate:
    """The largest stable lr is 2/(h+strength) for SGD, 2(1+mu)/(h+strength) for momentum with L2 and
    2(1+mu)/(h+strength(1+mu)) with decay, and 2(1+beta1)/(1-beta1) P/(h+strength) for Adam of denominator P with L2: weights
    shrink at 98% of it and grow at 102%.

    Logarithm of the growth a step below the stated limit, of the shrinking above it, at the fraction of the limit where it
    is largest; one sample a rule and coupling. Negative: shrinks below the limit and grows above.
    """
    import xarray as xr

    against = xr.apply_ufunc(lambda g, over: -np.log(g) * np.sign(over), data["growth"], data["fraction"] - 1)
    return spread(against.max("fraction").values, "of growth a step against the claimed direction")


@_bounded(
    "D bound",
    sentence="No weight of AdamW that starts at 0 exceeds 7.2703/strength, whatever its gradients.",
    source=DERIVED,
    decision=never_above(1),
    formula="|w| <= (1-beta1) / sqrt((1-beta2) (1 - beta1^2/beta2)) / strength",
    optimizer="adam",
    bound=adam_step_bound(),
)
@_bounded(
    "D bound unit",
    sentence="No weight of AdamW that starts at 0 exceeds 1/strength, whatever its gradients.",
    source=_XIE + ", on where it converges, read as one about every step",
    decision=never_above(1 + 1e-9),
    optimizer="adam",
    bound=1.0,
)
@_bounded(
    "D bound lion",
    sentence="No weight of Lion with decay that starts at 0 exceeds 1/strength, whatever its gradients.",
    source=_CHEN,
    decision=never_above(1 + 1e-9),
    formula="|w| <= 1 / strength",
    optimizer="lion",
    bound=1.0,
)
def largest_weight(data: xr.Dataset, optimizer: str, bound: float) -> Estimate:
    """Largest |w| x strength under decay x lr / the bound, one sample a series of gradients and seed."""
    return spread(data["largest"].sel(optimizer=optimizer).values / bound, "of the bound")
