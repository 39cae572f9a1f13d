"""How the share of dead features follows a knob, and what of it is not explained by batch selectivity: the probability that a
batch brings a feature no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evidence.claim import Estimate, mean_interval

if TYPE_CHECKING:
    import xarray as xr


def trend(outcome: xr.DataArray, along: str, what: str, kind: str = "share of dead features") -> Estimate:
    """Slope of the outcome against log2 of `along`, least squares, one sample a seed; other axes are averaged."""
    mean = outcome.mean([name for name in outcome.dims if name not in (along, "seed")]).transpose(along, "seed")
    slopes = np.polyfit(np.log2(mean[along].values), mean.values, 1)[0]
    return mean_interval(slopes, f"{kind} a doubling of {what}", "seeds")


def unexplained(outcome: np.ndarray, group: np.ndarray) -> Estimate:
    """Of the sum of squares between settings, the share that is left among settings of one group; 0 if the group decides.

    outcome: (setting, seed), group: (setting); settings alone in their group are left out. Squares are products of two
    different seeds, so the seeds' noise adds nothing to either sum. Interval by jackknife over the seeds; it is not a number
    where the settings differ by no more than that noise, for then there is nothing to share out.
    """
    labels, which, members = np.unique(group, return_inverse=True, return_counts=True)
    outcome, which = outcome[members[which] > 1], which[members[which] > 1]
    inner, total = outcome.copy(), outcome - outcome.mean(axis=0)
    for k in range(len(labels)):
        inner[which == k] -= outcome[which == k].mean(axis=0) if members[k] > 1 else 0.0
    n = outcome.shape[1]
    without = [np.arange(n), *(np.delete(np.arange(n), k) for k in range(n))]
    left, between = (np.array([_square(part[:, seeds]) for seeds in without]) for part in (inner, total))
    unit, over = "share of the variation between settings left at equal batch selectivity", "seeds, jackknife"
    if mean_interval(n * between[0] - (n - 1) * between[1:], unit, over).low <= 0:
        return Estimate(np.nan, np.nan, np.nan, n, unit, f"no variation beyond that of the {n} seeds")
    share = left / between
    return mean_interval(n * share[0] - (n - 1) * share[1:], unit, over)


def _square(deviation: np.ndarray) -> float:
    """Sum over settings of the squared mean over seeds, from products of different seeds alone; (setting, seed)."""
    n = deviation.shape[1]
    return float((deviation.sum(axis=1) ** 2 - (deviation**2).sum(axis=1)).sum() / (n * (n - 1)))


def settings(outcome: xr.DataArray, one: str, other: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(outcome (setting, seed), and for each setting its coordinate along `one` and along `other`)."""
    flat = outcome.stack(setting=(one, other)).transpose("setting", "seed")
    return flat.values, flat[one].values.astype(float), flat[other].values.astype(float)


def drift(outcome: np.ndarray, group: np.ndarray, batch: np.ndarray) -> Estimate:
    """Slope of the share of dead features against log2 of the batch within groups, least squares, one sample a seed."""
    x, y = np.log2(batch), outcome.copy()
    for label in np.unique(group):
        x[group == label] -= x[group == label].mean()
        y[group == label] -= y[group == label].mean(axis=0)
    slopes = x @ y / (x @ x)
    return mean_interval(slopes, "share of dead features a doubling of the batch at equal batch selectivity", "seeds")
