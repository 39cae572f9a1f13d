"""Estimators for `synthetic.claims.gating`: trends, what selectivity leaves unexplained, distances from formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from dynamics.theory.closed import batch_critical_selectivity
from evidence.claim import Estimate, mean_interval, ratio_interval, spread

Estimator = Callable[[xr.Dataset], Estimate]


def _trend(outcome: xr.DataArray, along: str, what: str, kind: str = "share of dead features") -> Estimate:
    """Slope of the outcome against log2 of `along`, least squares, one sample a seed; other axes are averaged."""
    mean = outcome.mean([name for name in outcome.dims if name not in (along, "seed")]).transpose(along, "seed")
    slopes = np.polyfit(np.log2(mean[along].values), mean.values, 1)[0]
    return mean_interval(slopes, f"{kind} a doubling of {what}", "seeds")


def _unexplained(outcome: np.ndarray, group: np.ndarray) -> Estimate:
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


def _settings(outcome: xr.DataArray, one: str, other: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(outcome (setting, seed), and for each setting its coordinate along `one` and along `other`)."""
    flat = outcome.stack(setting=(one, other)).transpose("setting", "seed")
    return flat.values, flat[one].values.astype(float), flat[other].values.astype(float)


def batch_trend(optimizers: list[str], horizons: list[str]) -> Estimator:
    """`_trend` in the batch size under L2."""
    return lambda data: _trend(
        data["dead"].sel(optimizer=optimizers, coupling="l2", horizon=horizons), "batch", "the batch"
    )


def capacity_trend(optimizer: str) -> Estimator:
    """`_trend` in the number of features under L2."""
    return lambda data: _trend(data["dead"].sel(optimizer=optimizer, coupling="l2"), "network", "the network")


def difficulty_trend(optimizer: str, along: str) -> Estimator:
    """`_trend` in the gradients' scale, or in the number of patterns, under L2."""
    what = {"scale": "the gradient", "patterns": "the number of patterns"}[along]
    return lambda data: _trend(data["dead"].sel(optimizer=optimizer, coupling="l2"), along, what)


def decay_size_trend(data: xr.Dataset) -> Estimate:
    """`_trend` of the mean size in the gradients' scale, Adam + decay x lr."""
    size = data["size"].sel(optimizer="adam", coupling="decoupled_lr")
    return _trend(size, "scale", "the gradient", "mean size")


def _drift(outcome: np.ndarray, group: np.ndarray, batch: np.ndarray) -> Estimate:
    """Slope of the share of dead features against log2 of the batch within groups, least squares, one sample a seed."""
    x, y = np.log2(batch), outcome.copy()
    for label in np.unique(group):
        x[group == label] -= x[group == label].mean()
        y[group == label] -= y[group == label].mean(axis=0)
    slopes = x @ y / (x @ x)
    return mean_interval(slopes, "share of dead features a doubling of the batch at equal batch selectivity", "seeds")


def _batch_settings(data: xr.Dataset, coupling: str, outcome: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(outcome (setting, seed), batch selectivity's label, batch) for Adam after equal steps: (1 - exciting/images)^batch
    goes by exciting x batch."""
    chosen = data[outcome].sel(optimizer="adam", coupling=coupling, horizon="steps")
    values, batch, exciting = _settings(chosen, "batch", "exciting")
    return values, batch * exciting, batch


def _capacity_settings(data: xr.Dataset, coupling: str, outcome: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for networks: (1 - 1/network)^batch goes by batch / network."""
    values, batch, network = _settings(data[outcome].sel(optimizer="adam", coupling=coupling), "batch", "network")
    return values, batch / network, batch


def batch_alone(coupling: str, outcome: str) -> Estimator:
    """`_unexplained` over batch sizes and selectivities."""
    return lambda data: _unexplained(*_batch_settings(data, coupling, outcome)[:2])


def capacity_alone(coupling: str, outcome: str) -> Estimator:
    """`_unexplained` over batch sizes and networks."""
    return lambda data: _unexplained(*_capacity_settings(data, coupling, outcome)[:2])


def difficulty_alone(coupling: str, outcome: str) -> Estimator:
    """`_unexplained` for Adam at the largest number of patterns; batch selectivity goes by the batch, whatever the scale."""

    def estimate(data: xr.Dataset) -> Estimate:
        chosen = data[outcome].sel(optimizer="adam", coupling=coupling).isel(patterns=-1)
        return _unexplained(*_settings(chosen, "batch", "scale")[:2])

    return estimate


def batch_drift(data: xr.Dataset) -> Estimate:
    """`_drift` under Adam + L2: a larger batch and a rarer feature."""
    return _drift(*_batch_settings(data, "l2", "dead"))


def capacity_drift(data: xr.Dataset) -> Estimate:
    """`_drift` under Adam + L2: a larger batch and a larger network."""
    return _drift(*_capacity_settings(data, "l2", "dead"))


def l2_less_decay(decay: str, strength: float) -> Estimator:
    """Share of dead features under Adam + L2 less that under Adam + `decay` of this strength, paired, after equal steps."""

    def estimate(data: xr.Dataset) -> Estimate:
        dead = data["dead"].sel(strength=strength)
        apart = dead.sel(coupling="l2") - dead.sel(coupling=decay)
        return mean_interval(apart.values, "share of dead features, L2 less decay", "seeds")

    return estimate


def silent_error(formula: str) -> Estimator:
    """Distance of the share of batches without an exciting image from `formula`, for each batch size and selectivity."""
    return lambda data: spread(
        abs(data["silent"].mean("seed") - data[formula]).values, "distance from the formula, as a share of batches"
    )


def beyond_critical(data: xr.Dataset) -> Estimate:
    """Share of dead features beyond the critical selectivity of their batch less that of the others: Adam + L2, equal steps."""
    critical = [batch_critical_selectivity(data.attrs["beta2"], int(b)) for b in data.batch.values]
    beyond = data["selectivity"] > xr.DataArray(critical, {"batch": data.batch})
    dead = data["dead"].sel(optimizer="adam", coupling="l2", horizon="steps")
    apart = dead.where(beyond).mean(("batch", "exciting")) - dead.where(~beyond).mean(("batch", "exciting"))
    return mean_interval(apart.values, "difference of the shares of dead features", "seeds")


def rest_across_batches(regularizer: str) -> Estimator:
    """Mean weight at the largest batch / at the smallest, over the closed form's ratio, one sample a seed."""

    def estimate(data: xr.Dataset) -> Estimate:
        found, form = (data[name].sel(coupling=regularizer) for name in ("rest", "predicted"))
        ratio = (found / form).isel(batch=-1) / (found / form).isel(batch=0)
        return ratio_interval(ratio.values, "ratio of the weights, measured / formula", "seeds")

    return estimate


def starvation_error(sampling: str) -> Estimator:
    """Distance of the share of starved features from starvation_exact, for each batch size and length of the run."""
    return lambda data: spread(
        abs(data["starved"].sel(sampling=sampling).mean("seed") - data["predicted"]).values,
        "distance from the formula, as a share of features",
    )


def shared_error(coupling: str) -> Estimator:
    """Largest relative error of a weight, for each number of features."""
    return lambda data: spread(data["shared_off"].sel(coupling=coupling).values, "relative error of a weight")
