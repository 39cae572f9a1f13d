"""Capacity and difficulty: which features die, whether batch selectivity alone decides, and what features that share a target
keep (S5b, S5c, S6, E9)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from evidence.claim import Estimate, above, below, never_above, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED, MEHTA
from synthetic.claims import trends

if TYPE_CHECKING:
    import xarray as xr

_capacity = partial(claim, experiment="capacity", figure="capacity")
_difficulty = partial(claim, experiment="difficulty", figure="difficulty")
_MARGIN = MEHTA + ", read as a statement about one number; the margin chosen here"


@_capacity("S5b", source=MEHTA, decision=above(0))
def capacity_trend(data: xr.Dataset) -> Estimate:
    """Smaller networks lose a smaller share of their features: 16 to 1024 features for 512 patterns, Adam with L2, 2048
    steps, in the mean over batch sizes.

    Slope of the share of dead features under L2 against log2 of the number of features, one sample a seed.
    """
    return trends.trend(data["dead"].sel(optimizer="adam", coupling="l2"), "network", "the network")


@_difficulty(
    "S5c",
    sentence="Harder tasks lose fewer features, hard meaning that gradients stay large (0.1 to 10 times), Adam with L2, 2048 "
    "steps, in the mean over batch sizes and numbers of patterns.",
    source=MEHTA + "; the model of difficulty is ours",
    decision=below(0),
    along="scale",
)
@_difficulty(
    "S5c patterns",
    sentence="Harder tasks lose fewer features, hard meaning more patterns (32 to 512 for 64 features), Adam with L2, 2048 "
    "steps, in the mean over batch sizes and scales of the gradient.",
    source=MEHTA + "; the model of difficulty is ours",
    decision=below(0),
    along="patterns",
)
def difficulty_trend(data: xr.Dataset, along: str) -> Estimate:
    """Slope of the share of dead features under L2 against log2 of the gradients' scale, or of the number of patterns, one
    sample a seed."""
    what = {"scale": "the gradient", "patterns": "the number of patterns"}[along]
    return trends.trend(data["dead"].sel(optimizer="adam", coupling="l2"), along, what)


@_difficulty(
    "S5c decay",
    source=DERIVED + " (B9); the margin chosen here",
    decision=within(-0.001, 0.001),
    formula="(c g, c eps) moves AdamW as (g, eps) does",
)
def decay_size_trend(data: xr.Dataset) -> Estimate:
    """Under Adam with weight decay x lr, the scale of the gradients (0.1 to 10 times) changes nothing in the features' mean
    size.

    Slope of the mean size against log2 of the gradients' scale, Adam + decay x lr, one sample a seed.
    """
    size = data["size"].sel(optimizer="adam", coupling="decoupled_lr")
    return trends.trend(size, "scale", "the gradient", "mean size")


def _settings(data: xr.Dataset, coupling: str, outcome: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(outcome (setting, seed), batch selectivity's label, batch) for Adam: (1 - 1/network)^batch goes by batch / network."""
    values, batch, network = trends.settings(data[outcome].sel(optimizer="adam", coupling=coupling), "batch", "network")
    return values, batch / network, batch


def capacity_alone(data: xr.Dataset, coupling: str, outcome: str) -> Estimate:
    """Of the variation between settings of batch size and number of features, the share that is left among settings of equal
    batch selectivity; jackknife over seeds."""
    return trends.unexplained(*_settings(data, coupling, outcome)[:2])


def difficulty_alone(data: xr.Dataset, coupling: str, outcome: str) -> Estimate:
    """Of the variation between settings of batch size and gradient scale, the share that is left among settings of equal
    batch selectivity, at the largest number of patterns; jackknife over seeds."""
    chosen = data[outcome].sel(optimizer="adam", coupling=coupling).isel(patterns=-1)
    return trends.unexplained(*trends.settings(chosen, "batch", "scale")[:2])


for _knob, _subject, _varied, _estimator in (
    ("capacity", "Capacity", "batch size and number of features", capacity_alone),
    ("difficulty", "Difficulty", "scale of the gradient", difficulty_alone),
):
    for _word, _coupling, _outcome, _said in (
        ("", "l2", "dead", "Adam + L2 loses the same share of features"),
        (" size", "l2", "size", "Adam + L2 leaves features of the same mean size"),
        (" decay", "decoupled_lr", "size", "Adam + weight decay x lr leaves features of the same mean size"),
    ):
        claim(
            f"S6 alone {_knob}{_word}",
            sentence=f"{_subject} acts through batch selectivity P(no gradient) alone: at equal P(no gradient) and different "
            f"{_varied}, {_said}, 2048 steps.",
            source=_MARGIN,
            experiment=_knob,
            decision=below(0.1),
            figure=_knob,
            coupling=_coupling,
            outcome=_outcome,
        )(_estimator)


@_capacity("S6 alone capacity trend", source=_MARGIN, decision=within(-0.01, 0.01))
def capacity_drift(data: xr.Dataset) -> Estimate:
    """At equal P(no gradient), Adam + L2 loses as many features in small batches as in large ones that meet larger networks,
    2048 steps.

    Slope of the share of dead features against log2 of the batch among settings of equal batch selectivity, one sample a
    seed: a larger batch and a larger network.
    """
    return trends.drift(*_settings(data, "l2", "dead"))


@_capacity(
    "E9 l2",
    sentence="K = 16 to 1024 features that fit one target together, under Adam + L2: each keeps a weight in proportion to its "
    "p.",
    source=DERIVED + ", ridge regression",
    decision=never_above(0.01),
    formula="w_k = p_k Y/(lambda + sum p^2)",
    coupling="l2",
)
@_capacity(
    "E9 adamw",
    sentence="K = 16 to 1024 features that fit one target together, under Adam + weight decay x lr, from equal weights, without "
    "noise: all keep one weight, whatever their p and their number.",
    source=DERIVED,
    decision=never_above(0.01),
    formula="w_k = min(Y/sum p, 1/lambda)",
    coupling="decoupled_lr",
)
def shared_error(data: xr.Dataset, coupling: str) -> Estimate:
    """Largest relative error of a weight, for each number of features."""
    return spread(data["shared_off"].sel(coupling=coupling).values, "relative error of a weight")
