"""What is claimed of the CNN experiment, and the data that bear on it. Each estimator can come out either way; what it claims
is declared on it, and found in `evidence.registry`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from dynamics.errors import InputError
from dynamics.rules import RULES
from evidence.claim import Estimate, above, mean_interval, never_above, spread, within
from evidence.registry import claim, experiment
from evidence.sources import MEHTA
from evidence.store import Store
from fullscale import digits_study, lr_grid, pruning_claims, thresholds
from fullscale.lr_grid import indistinguishable
from fullscale.studies.standing import Standing, standing

_AGAIN = "undertow reproduce --only fullscale --fresh"
experiment("pocket", digits_study.constants, _AGAIN)
experiment(
    "grid",
    lambda: {"kept": lr_grid.KEPT} | lr_grid.kept()["spec"] | {"rates": lr_grid.rates()},
    "undertow study digits-lr",
)
experiment("thresholds", lambda: digits_study.constants() | {"thresholds": thresholds.decades()}, _AGAIN)
_on_digits = partial(claim, source=MEHTA, experiment="pocket")


def bearing(store: Store, stands: Standing, grid: Standing | None = None) -> dict[str, Any]:
    """What the CNN claims look at, by experiment: the runs of `digits_study` and their thresholds, if the study is complete;
    the learning-rate grid, as it is kept unless that study is complete here; and the comparisons of pruning criteria as they are
    stored, or kept.

    Raises InputError for a damaged row.
    """
    rates = lr_grid.of_study(grid) if grid is not None and grid.complete else lr_grid.kept()
    data = {"grid": rates} | pruning_claims.bearing(store)
    if not stands.complete:
        return data
    rows = [row for row in stands.rows if row is not None]
    try:
        return data | {"pocket": digits_study.curves_and_ends(rows), "thresholds": digits_study.swept(rows)}
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"store {store.path} holds a damaged run ({error!r}): run again with --fresh") from error


def stored(store: Store) -> tuple[dict[str, Any], dict[str, str]]:
    """`bearing` of the runs that are stored; and, by experiment, how a study stands of which only some are."""
    stands, grid = (standing(study, store, curves=True) for study in (digits_study.STUDY, lr_grid.STUDY))
    begun = stands.stored and not stands.complete
    incomplete = dict.fromkeys(("pocket", "thresholds"), stands.in_words()) if begun else {}
    return bearing(store, stands, grid), incomplete


def _inactive(data: xr.Dataset, adaptive: bool, regularized: bool) -> xr.DataArray:
    """Inactive share by activation at the end of training: (optimizer, seed)."""
    names = [str(n) for n in data.optimizer.values if RULES[str(n)].adaptive == adaptive]
    strength = data.strength.values.max() if regularized else 0.0
    return data["inactive_by_activation"].sel(optimizer=names, strength=strength).isel(epoch=-1)


@_on_digits("S1", decision=above(1))
def adaptive_sparsity(data: xr.Dataset) -> Estimate:
    """With an adaptive optimizer and L2, some filters of a CNN with BatchNorm and ReLU end up active for no image.

    Inactive share under adaptive optimizers with L2, one sample a seed (mean over optimizers).
    """
    shares = 100 * _inactive(data, True, True).mean("optimizer", skipna=False)
    return mean_interval(shares.values, "% of filters", "seeds")


@_on_digits("S2", decision=never_above(0))
def unregularized_sparsity(data: xr.Dataset) -> Estimate:
    """Without regularization no filter of a CNN with BatchNorm and ReLU falls silent.

    Inactive share with strength 0, one sample a network (all optimizers, all seeds).
    """
    both = xr.concat([_inactive(data, a, False) for a in (True, False)], "optimizer")
    return spread(100 * both.values, "% of filters, over networks")


@_on_digits("S3", decision=above(0))
def adaptive_excess(data: xr.Dataset) -> Estimate:
    """Adaptive optimizers with L2 silence more filters than SGD and momentum SGD with it, each at its tuned learning rate.

    Inactive share: the least sparse adaptive optimizer minus the sparsest of the others, one sample a seed.
    """
    least = _inactive(data, True, True).min("optimizer", skipna=False)
    most = _inactive(data, False, True).max("optimizer", skipna=False)
    return mean_interval(100 * (least - most).values, "percentage points", "seeds")


@claim("S3 any lr", source=MEHTA + ", made stricter here", experiment="grid", decision=above(0))
def adaptive_excess_any_rate(found: dict[str, Any]) -> Estimate:
    """Adaptive optimizers with L2 silence more filters than SGD and momentum SGD with it at every learning rate whose
    validation accuracy is within one standard error of the optimizer's best.

    Inactive share: the least sparse adaptive optimizer minus the sparsest of the others, over every learning rate that
    validation cannot tell from the best, one sample a seed of the grid.
    """

    def shares(adaptive: bool) -> np.ndarray:
        names = [name for name in found["chosen"] if RULES[name].adaptive == adaptive]
        return np.array([c["each"]["inactive_by_activation"] for name in names for c in indistinguishable(found, name)])

    return mean_interval(100 * (shares(True).min(axis=0) - shares(False).max(axis=0)), "percentage points", "seeds")


@_on_digits("S9", decision=within(-0.01, 0.01))
def error_change(data: xr.Dataset) -> Estimate:
    """Removing the filters that are inactive by activation, or constant, leaves the test error as it was.

    Test error after the removal of inactive filters minus before, over every trained network that lost any.
    """
    change = (data["error_after"] - data["error_before"]).where(data["removed"] > 0).values
    return spread(100 * change[~np.isnan(change)], "percentage points of test error")


def flat_by(data: xr.Dataset, measure: str) -> Estimate:
    """Decades of thresholds around the paper's over which the share of inactive filters changes by less than a point."""
    return mean_interval(data["flat"].sel(measure=measure).values, "decades", "seeds")


for _measure in thresholds.MEASURES:
    claim(
        f"S9 thresholds {_measure}",
        sentence=f"Looser thresholds give comparable levels: the share of filters that are inactive by {_measure} changes by "
        "less than a point over three decades around the paper's threshold, under Adam with L2.",
        source=MEHTA,
        experiment="thresholds",
        decision=above(3),
        figure="thresholds",
        measure=_measure,
    )(flat_by)
