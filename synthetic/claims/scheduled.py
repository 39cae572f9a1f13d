"""Section F: what learning-rate schedules do to weights without a gradient, and to the size that weights keep under noise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from evidence.claim import Estimate, mean_interval, never_above, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED, KOSSON
from synthetic.claims.cells import each_cell

if TYPE_CHECKING:
    import xarray as xr

_DEFAZIO = "Defazio 2025, arXiv 2506.02285"
_drawn = partial(claim, experiment="scheduled", figure="schedules")


@_drawn("F decay", source="algebra", decision=never_above(1e-9), formula="-ln(w/w0) = -sum ln(1 - lr_t strength)")
def scheduled_decay(data: xr.Dataset) -> Estimate:
    """Without a gradient decay x lr leaves prod(1 - lr_t strength) of a weight under every rule and schedule.

    Largest relative difference between a path under decay and prod(1 - lr_t strength), one sample a schedule and rule.
    """
    ratio = data["silent"].sel(coupling="decoupled_lr") / data["decayed"]
    return spread(abs(ratio - 1).max("silent_step").values, "relative difference")


@claim(
    "F average",
    source="Wang, Aitchison 2024, arXiv 2405.13698",
    experiment="scheduled",
    decision=never_above(1e-9),
    formula="w_T = (1-x)^T w_0 - sum_t x (1-x)^(T-1-t) u_t / strength",
)
def averaged_updates(data: xr.Dataset) -> Estimate:
    """Under decay x lr a weight is a running mean of its updates over -strength, of memory 1/(lr strength) steps, under
    every rule.

    Largest distance of a weight from the mean of its updates, one sample a rule.
    """
    return spread(abs(data["end"] - data["average"]).max("seed").values, "of the start")


@_drawn(
    "F floor",
    sentence="Without a gradient a weight under fresh Adam with L2 stays above w0 - sum lr_t until it changes sign.",
    source=DERIVED,
    decision=never_above(1e-9),
    formula="w_T >= w0 - sum lr_t",
    optimizers=["adam"],
)
@_drawn(
    "F floor adaptive",
    sentence="Without a gradient a weight under any fresh adaptive rule with L2, RMSprop and Adamax included, stays above "
    "w0 - sum lr_t until it changes sign.",
    source="F floor, read as one about every adaptive rule",
    decision=never_above(1e-9),
    optimizers=["rmsprop", "adam", "amsgrad", "adamax", "lion"],
)
def scheduled_floor(data: xr.Dataset, optimizers: Sequence[str]) -> Estimate:
    """How far under L2 a weight falls below 1 - sum of the rates before it changes sign, in learning rates; one sample a
    schedule and rule."""
    w = data["silent"].sel(coupling="l2", optimizer=list(optimizers))
    alive = (w > 0).cumprod("silent_step") > 0
    below_line = ((1 - data["gone"] - w) / data.attrs["silent_lr"]).where(alive).max("silent_step")
    return spread(below_line.values, "learning rates below the line")


def _middle(data: xr.Dataset, coupling: str) -> xr.Dataset:
    """Under the cosine, in the middle half of its steps, at which the rate falls fastest."""
    last = data.attrs["steps"]
    return data.sel(schedule="cosine", sized=coupling, step=slice(last / 4, 3 * last / 4))


@_drawn("F follow", source=KOSSON + ", read as one about every step of a schedule", decision=within(0.95, 1.05))
def followed_size(data: xr.Dataset) -> dict[str, Estimate]:
    """Under a cosine to 0 AdamW's weights keep the size of the rate's equilibrium, E[w^2] = lr_t / (2 strength), at every
    step (middle half, lr strength from 0.05 on, 800 steps).

    E[w^2] / (lr_t / (2 strength)) in the middle half of the cosine's steps, where the rate falls fastest: a cell a recorded
    step, one sample a seed.
    """
    at = _middle(data, "decoupled_lr")
    return each_cell(at["mean_square"] * 2 * data.attrs["strength"] / at["rates"], "times lr_t / (2 strength)")


def _over_steps(values: xr.DataArray, unit: str) -> Estimate:
    return mean_interval(values.mean("step").values, unit, "seeds")


@_drawn(
    "F lag",
    source=_DEFAZIO + "; the steps derived here",
    decision=within(0.8, 1.2),
    formula="lag = 1 / (2 lr_t strength)",
)
def lag_steps(data: xr.Dataset) -> Estimate:
    """Under a cosine to 0 the size of AdamW's weights trails the rate's equilibrium by about 1/(2 lr_t strength) steps
    (middle half, lr strength from 0.05 on, 800 steps).

    c, one a seed, for which E[w^2] is the equilibrium of the rate that was c / (2 lr_t strength) steps before t, in the
    middle half of the cosine's steps. Sizes are taken relative to those under the constant rate, whose noise is the same: of
    the lag this leaves all, of AdamW's distance from the leading order nothing.
    """
    at, path, strength = _middle(data, "decoupled_lr"), data.sel(schedule="cosine"), data.attrs["strength"]
    multiples = np.linspace(0, 4, 401)
    then = at["step"].values - multiples[:, None] / (2 * strength * at["rates"].values)
    rates = np.interp(then, path["step"], path["rates"])
    levels = (rates / (2 - rates * strength)).mean(axis=1) / (data.attrs["lr"] / (2 - data.attrs["lr"] * strength))
    steady = data["mean_square"].sel(schedule="constant", sized="decoupled_lr", step=at["step"]).mean("step")
    size = at["mean_square"].mean("step") / steady
    return mean_interval(
        np.asarray(np.interp(size.values, levels, multiples)), "x 1 / (2 lr_t strength) steps", "seeds"
    )


@_drawn(
    "F recursion",
    source=_DEFAZIO + "; derived here",
    decision=within(0.95, 1.05),
    formula="E <- (1 - lr_t strength)^2 E + lr_t^2",
)
def recursion(data: xr.Dataset) -> Estimate:
    """Under a cosine to 0 E = E[w^2] of AdamW's weights follows E <- (1 - lr_t strength)^2 E + lr_t^2, in the mean over the
    steps of the middle half (lr strength from 0.05 on, 800 steps).

    E[w^2] simulated / by the recursion, mean over the middle half of the cosine's steps, one sample a seed.
    """
    at = _middle(data, "decoupled_lr")
    return _over_steps(at["mean_square"] / at["followed"], "simulated / predicted")


@_drawn("F corrected", source=_DEFAZIO, decision=within(0.95, 1.05), formula="E[w^2] = lr_max / (2 strength)")
def corrected_size(data: xr.Dataset) -> Estimate:
    """Under a cosine to 0 decay of lr_t^2 strength / lr_max keeps AdamW's weights at E[w^2] = lr_max / (2 strength), in the
    mean over the cosine's second half.

    E[w^2] under decay x lr^2 / base lr / (base lr / (2 strength)), mean over the second half of the cosine's steps, one
    sample a seed.
    """
    at = data.sel(schedule="cosine", sized="corrected", step=slice(data.attrs["steps"] / 2, None))
    return _over_steps(at["mean_square"] * 2 * data.attrs["strength"] / data.attrs["lr"], "times lr_max / (2 strength)")
