"""What the pocket experiment says about the paper's claims. Each estimator can come out either way."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from dynamics.rules import RULES
from evidence.claim import Claim, Estimate, above, mean_interval, never_above, spread, within
from fullscale.thresholds import MEASURES
from fullscale.tune import indistinguishable

_MEHTA = "Mehta, Kim, Theobalt 2019, arXiv 1905.04967"


def _inactive(data: xr.Dataset, adaptive: bool, regularized: bool) -> xr.DataArray:
    """Inactive share by activation at the end of training: (optimizer, seed)."""
    names = [str(n) for n in data.optimizer.values if RULES[str(n)].adaptive == adaptive]
    strength = data.strength.values.max() if regularized else 0.0
    return data["inactive_by_activation"].sel(optimizer=names, strength=strength).isel(epoch=-1)


def adaptive_sparsity(data: xr.Dataset) -> Estimate:
    """S1: inactive share under adaptive optimizers with L2, one sample a seed (mean over optimizers)."""
    return mean_interval(
        100 * _inactive(data, True, True).mean("optimizer", skipna=False).values, "% of filters", "seeds"
    )


def unregularized_sparsity(data: xr.Dataset) -> Estimate:
    """S2: inactive share with strength 0, one sample a network (all optimizers, all seeds)."""
    both = xr.concat([_inactive(data, a, False) for a in (True, False)], "optimizer")
    return spread(100 * both.values, "% of filters, over networks")


def adaptive_excess(data: xr.Dataset) -> Estimate:
    """S3: the least sparse adaptive optimizer minus the sparsest of the others, one sample a seed."""
    least = _inactive(data, True, True).min("optimizer", skipna=False)
    most = _inactive(data, False, True).max("optimizer", skipna=False)
    return mean_interval(100 * (least - most).values, "percentage points", "seeds")


def adaptive_excess_any_rate(found: dict[str, Any]) -> Estimate:
    """S3 over every learning rate that validation cannot tell from the best, one sample a seed of the grid."""

    def shares(adaptive: bool) -> np.ndarray:
        names = [name for name in found["chosen"] if RULES[name].adaptive == adaptive]
        return np.array([c["each"]["inactive_by_activation"] for name in names for c in indistinguishable(found, name)])

    return mean_interval(100 * (shares(True).min(axis=0) - shares(False).max(axis=0)), "percentage points", "seeds")


def error_change(data: xr.Dataset) -> Estimate:
    """S9: test error after the removal of inactive filters minus before, over every trained network that lost any."""
    change = (data["error_after"] - data["error_before"]).where(data["removed"] > 0).values
    return spread(100 * change[~np.isnan(change)], "percentage points of test error")


def flat_by(measure: str, data: xr.Dataset) -> Estimate:
    """S9: decades of thresholds around the paper's over which the share of inactive filters changes by less than a point."""
    return mean_interval(data["flat"].sel(measure=measure).values, "decades", "seeds")


CLAIMS = (
    Claim(
        "S1",
        "With an adaptive optimizer and L2, some filters of a CNN with BatchNorm and ReLU end up active for no image.",
        _MEHTA,
        "pocket",
        adaptive_sparsity,
        above(1),
        "interval above 1%",
    ),
    Claim(
        "S2",
        "Without regularization no filter falls silent.",
        _MEHTA,
        "pocket",
        unregularized_sparsity,
        never_above(0),
        "0 filters in every network",
    ),
    Claim(
        "S3",
        "Adaptive optimizers with L2 silence more filters than SGD and momentum SGD with it, each at its tuned learning rate.",
        _MEHTA,
        "pocket",
        adaptive_excess,
        above(0),
        "interval above 0",
    ),
    Claim(
        "S3 any lr",
        "They do so at every learning rate whose validation accuracy is within one standard error of the optimizer's best.",
        _MEHTA + ", made stricter here",
        "grid",
        adaptive_excess_any_rate,
        above(0),
        "interval above 0",
    ),
    Claim(
        "S9",
        "Removing the filters that are inactive by activation, or constant, leaves the test error as it was.",
        _MEHTA,
        "pocket",
        error_change,
        within(-0.01, 0.01),
        "every network within 0.01 points",
    ),
    *(
        Claim(
            f"S9 thresholds {measure}",
            f"Looser thresholds give comparable levels: the share of filters that are inactive by {measure} changes by less "
            "than a point over three decades around the paper's threshold, under Adam with L2.",
            _MEHTA,
            "thresholds",
            partial(flat_by, measure),
            above(3),
            "interval above 3 decades",
            figure="thresholds",
        )
        for measure in MEASURES
    ),
)
