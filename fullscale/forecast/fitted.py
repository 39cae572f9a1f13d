"""The forecast with fitted weights: what the theory leaves out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from fullscale.forecast.seen import Seen

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Of the regression's terms, beside the constant.
TERMS = ("layer", "gamma", "gradients")
FILE = "forecast-fitted.json"
# Probabilities of a layer's mean count from here to 1 minus it, and sizes from here on.
_SUREST, _SMALLEST = 3e-3, 1e-12
# A weight is taken to be of a normal distribution of this deviation, in deviations of its term: it keeps a term that is a
# perfect sign from an infinite weight.
_PRIOR = 1.0


def terms(seen: Seen, probability: Array) -> Array:
    """Of each filter, (filters, 3), NaN of those that are not alive.

    layer: logit of the mean of the theory's probabilities in its layer; gamma, gradients: logarithms of abs(gamma) and of the
    root mean square of the gradients of its weights, less the median of its layer.
    """
    found = np.full((len(seen), len(TERMS)), np.nan)
    for number in range(len(seen.names)):
        of = np.flatnonzero((seen.layer == number) & seen.alive)
        if not len(of):
            continue
        mean = np.clip(probability[of].mean(), _SUREST, 1 - _SUREST)
        gamma = np.log(np.maximum(seen.gamma[of], _SMALLEST))
        size = np.where(np.isfinite(seen.weights[of]), seen.weights[of], np.sqrt(seen.square[of]))
        gradients = np.log(np.maximum(size, _SMALLEST))
        found[of] = np.stack(
            [np.full(len(of), np.log(mean / (1 - mean))), gamma - np.median(gamma), gradients - np.median(gradients)],
            axis=1,
        )
    return found


def fit(columns: Sequence[Array], dies: Sequence[Flags]) -> Array:
    """Weights of a logistic regression, the constant last; each network counts as much as any other.

    columns: of each network (filters, terms); dies: (filters,).
    """
    from scipy.optimize import minimize

    x = np.concatenate(columns)
    x = np.column_stack([x, np.ones(len(x))])
    y = np.concatenate(dies)
    weight = np.concatenate([np.full(len(each), len(x) / (len(dies) * max(len(each), 1))) for each in dies])
    size = np.append(np.maximum(x[:, :-1].std(axis=0), _SMALLEST), 1.0)
    sign = np.where(y, 1.0, -1.0)

    def loss(w: Array) -> tuple[float, Array]:
        z = sign * ((x / size) @ w)
        value = float((weight * np.logaddexp(0, -z)).sum() + (w[:-1] ** 2).sum() / (2 * _PRIOR**2))
        slope = -(weight * sign / (1 + np.exp(np.clip(z, -700, 700)))) @ (x / size)
        return value, slope + np.append(w[:-1], 0.0) / _PRIOR**2

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(found.x / size, dtype=np.float64)


def predicted(columns: Array, weights: Array) -> Array:
    """Probabilities, (filters,)."""
    z = columns @ weights[:-1] + weights[-1]
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -700, 700))), dtype=np.float64)


@cache
def kept() -> tuple[float, ...]:
    """The weights that come with the package, the constant last."""
    data = json.loads(resources.files("fullscale.studies").joinpath(FILE).read_text(encoding="utf-8"))
    return tuple(data["weights"])
