"""How a feature moves in the plane of its gamma and beta while nothing but the regularizer or noise moves it (E4 to E6, E10)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from evidence.claim import Estimate, above, never_above, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED
from synthetic.claims.cells import each_cell

if TYPE_CHECKING:
    import xarray as xr

_cone = partial(claim, experiment="cone")


@_cone(
    "E4 sgd",
    source=DERIVED,
    decision=never_above(1e-9),
    formula="beta_t / gamma_t = beta_0 / gamma_0",
    figure="plane",
)
def drift(data: xr.Dataset) -> Estimate:
    """Without a gradient SGD + L2 and Adam + weight decay keep the ratio beta/gamma, to 1e-9, so the dead cone keeps
    what is in it and takes nothing in.

    Largest relative change of beta/gamma under SGD and AdamW, a sample a start.
    """
    return spread(data["drift"].sel(update=["sgd", "adamw"]).values, "relative change of beta/gamma")


@_cone(
    "E4 adam",
    source=DERIVED,
    decision=within(0.96, 1.04),
    formula="T = (abs(gamma) x_max - abs(beta)) / (lr (x_max - 1))",
    figure="plane",
)
def death(data: xr.Dataset) -> Estimate:
    """Without a gradient Adam + L2 carries a feature with beta < -abs(gamma) to exactly zero activation, in the
    predicted number of steps where both move at constant speed (lr tau at most 1% of gamma).

    Steps to exact zero activation / the closed form, where that has one.
    """
    ratio = (data["death"] / data["predicted"]).values
    return spread(ratio[np.isfinite(ratio)], "of the predicted steps")


@claim(
    "E5",
    experiment="residue",
    source=DERIVED,
    decision=above(0),
    formula="ln(w_t / w_0) = -(2 tau lr strength / sigma) (exp(t / (2 tau)) - 1)",
)
def revival(data: xr.Dataset) -> Estimate:
    """Where gradients of unequal size stop, Adam + L2 moves beta/abs(gamma) towards 0, life, if gamma's were the
    larger, and away from it if beta's were.

    ln(a_end/a) / its closed form, a sample a pair of residues: positive where the direction is the predicted one.
    """
    ratio = np.log(data["revival"].values) / np.log(data["predicted"].values)
    return spread(ratio, "of the predicted change of ln(-a)")


@_cone("E6", source="algebra", decision=within(3.9, 4.1), formula="T(1e-12) = 4 T(1e-3)")
def decades(data: xr.Dataset) -> Estimate:
    """Under weight decay a weight of 1 without a gradient takes four times as many steps to 1e-12 as to 1e-3.

    Steps to 1e-12 / steps to 1e-3 under decay, over strengths.
    """
    return spread((data["passage"].isel(target=1) / data["passage"].isel(target=0)).values, "times as many steps")


@claim(
    "E10",
    experiment="walk",
    source="Zhou et al., arXiv 2001.11216; correction Siegmund 1979",
    decision=within(-0.02, 0.02),
    formula="P = erfc((gamma + 0.583 lr sigma) / (lr sigma sqrt(2 T)))",
)
def collapse(data: xr.Dataset) -> dict[str, Estimate]:
    """Noise alone takes SGD's gamma to 0 with the closed form's probability, from 5 to 20 steps' length within 400
    steps.

    Share of walks that reached 0 less the closed form, a cell a step's length, one sample a seed.
    """
    return each_cell(data["collapsed"] - data["predicted"], "of walks, measured less formula")
