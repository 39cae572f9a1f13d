"""Batch size: which features die, whether batch selectivity alone decides, and how often a batch misses a feature (S4, S5a, S6,
E3, E7, E8)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dynamics.theory.closed import batch_critical_selectivity
from evidence.claim import Estimate, above, below, mean_interval, never_above, ratio_interval, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED, MEHTA
from synthetic.claims import trends
from synthetic.claims.cells import each_cell

if TYPE_CHECKING:
    import xarray as xr

_minibatch = partial(claim, experiment="minibatch")
_MARGIN = MEHTA + ", read as a statement about one number; the margin chosen here"


def l2_less_decay(data: xr.Dataset, decay: str, strength: float) -> Estimate:
    """Share of dead features under Adam + L2 less that under Adam + this decay of equal strength, paired by seed, after equal
    steps."""
    dead = data["dead"].sel(strength=strength)
    apart = dead.sel(coupling="l2") - dead.sel(coupling=decay)
    return mean_interval(apart.values, "share of dead features, L2 less decay", "seeds")


_AS_STATED = "decay that takes strength x w a step, as the paper states it"
_CANNOT = ", which by construction kills none: alone it takes a weight to {:.2f}, and 0.05 is dead"
for _id, _strength, _decay, _words in (
    ("S4", 1e-2, "decoupled_lr", "weight decay x lr" + _CANNOT.format(0.9999**2048)),
    ("S4 schedule", 1e-3, "decoupled_schedule", _AS_STATED + _CANNOT.format(0.999**2048)),
    ("S4 schedule strong", 1e-2, "decoupled_schedule", _AS_STATED),
):
    claim(
        _id,
        experiment="decays",
        sentence=f"In the mean over batch sizes and selectivities, at strength {_strength:g} and lr 0.01, 2048 steps, Adam loses "
        f"more features to L2 than to {_words}.",
        source=MEHTA,
        decision=above(0),
        decay=_decay,
        strength=_strength,
    )(l2_less_decay)


@_minibatch(
    "S5a",
    sentence="Larger batches lose fewer features: after 4 epochs each, batches of 1 to 32 of 512 images, in the mean over Adam "
    "and RMSprop with L2 and over selectivities.",
    source=MEHTA,
    decision=below(0),
    figure="batch",
    horizon="epochs",
)
@_minibatch(
    "S5a steps",
    sentence="Larger batches lose fewer features even after equally many steps (2048), in the mean over Adam and RMSprop with L2 "
    "and over selectivities.",
    source=MEHTA + ", read at equal steps",
    decision=below(0),
    figure="batch",
    horizon="steps",
)
def batch_trend(data: xr.Dataset, horizon: str) -> Estimate:
    """Slope of the share of dead features under L2 against log2 of the batch size, least squares, one sample a seed."""
    dead = data["dead"].sel(optimizer=["adam", "rmsprop"], coupling="l2", horizon=horizon)
    return trends.trend(dead, "batch", "the batch")


def _settings(data: xr.Dataset, coupling: str, outcome: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(outcome (setting, seed), batch selectivity's label, batch) for Adam after equal steps: (1 - exciting/images)^batch
    goes by exciting x batch."""
    chosen = data[outcome].sel(optimizer="adam", coupling=coupling, horizon="steps")
    values, batch, exciting = trends.settings(chosen, "batch", "exciting")
    return values, batch * exciting, batch


_alone = partial(_minibatch, source=_MARGIN, decision=below(0.1), figure="batch")
_ALONE = "Batch size acts through batch selectivity P(no gradient) alone: at equal P(no gradient) and different batch size and "


@_alone(
    "S6 alone batch",
    sentence=_ALONE + "selectivity, Adam + L2 loses the same share of features, 2048 steps.",
    coupling="l2",
    outcome="dead",
)
@_alone(
    "S6 alone batch size",
    sentence=_ALONE + "selectivity, Adam + L2 leaves features of the same mean size, 2048 steps.",
    coupling="l2",
    outcome="size",
)
@_alone(
    "S6 alone batch decay",
    sentence=_ALONE + "selectivity, Adam + weight decay x lr leaves features of the same mean size, 2048 steps.",
    coupling="decoupled_lr",
    outcome="size",
)
def batch_alone(data: xr.Dataset, coupling: str, outcome: str) -> Estimate:
    """Of the variation between settings of batch size and selectivity, the share that is left among settings of equal batch
    selectivity; jackknife over seeds."""
    return trends.unexplained(*_settings(data, coupling, outcome)[:2])


@_minibatch("S6 alone batch trend", source=_MARGIN, decision=within(-0.01, 0.01), figure="batch")
def batch_drift(data: xr.Dataset) -> Estimate:
    """At equal P(no gradient), Adam + L2 loses as many features in small batches as in large ones that meet rarer features,
    2048 steps.

    Slope of the share of dead features against log2 of the batch among settings of equal batch selectivity, one sample a
    seed: a larger batch and a rarer feature.
    """
    return trends.drift(*_settings(data, "l2", "dead"))


@_minibatch(
    "E3",
    sentence="A batch of B brings a feature no gradient with probability s^B, within 0.02, for batches up to a sixteenth of an "
    "epoch that holds every image once.",
    source=DERIVED,
    decision=never_above(0.02),
    formula="P = s^B",
    figure="batch",
    formed="silent_independent",
)
@_minibatch(
    "E3 epochs",
    sentence="Within epochs that hold every image once, k of the M exciting the feature, the probability that a batch brings "
    "it no gradient is hypergeometric.",
    source="elementary",
    decision=never_above(0.005),
    formula="P = C(M-k, B) / C(M, B)",
    figure="batch",
    formed="silent_epoch",
)
def silent_error(data: xr.Dataset, formed: str) -> Estimate:
    """Distance of the share of batches without an exciting image from the formula, for each batch size and selectivity."""
    distance = abs(data["silent"].mean("seed") - data[formed])
    return spread(distance.values, "distance from the formula, as a share of batches")


@_minibatch(
    "E3 critical",
    source=DERIVED + ", the margin too",
    decision=above(0.5),
    formula="s_c = beta2^(1/(2 B))",
    figure="batch",
)
def beyond_critical(data: xr.Dataset) -> Estimate:
    """Beyond the critical selectivity of their batch, most features die under Adam + L2, and most of the others live: the
    shares are more than a half apart (beta2 0.99, 2048 steps).

    Share of dead features beyond the critical selectivity of their batch less that of the others: Adam + L2, equal steps.
    """
    import xarray as xr

    critical = [batch_critical_selectivity(data.attrs["beta2"], int(b)) for b in data.batch.values]
    beyond = data["selectivity"] > xr.DataArray(critical, {"batch": data.batch})
    dead = data["dead"].sel(optimizer="adam", coupling="l2", horizon="steps")
    apart = dead.where(beyond).mean(("batch", "exciting")) - dead.where(~beyond).mean(("batch", "exciting"))
    return mean_interval(apart.values, "difference of the shares of dead features", "seeds")


@claim(
    "E7 l2",
    experiment="batch_rest",
    sentence="Where noise dominates, Adam + L2 leaves a feature at the same mean weight whatever the batch size (1, 4, 16).",
    source=DERIVED,
    decision=within(0.9, 1.1),
    formula="w = p h w*/(p h + lambda), free of B",
    coupling="l2",
)
@claim(
    "E7 adamw",
    experiment="batch_rest",
    sentence="Where noise dominates, Adam + weight decay shrinks a feature less the larger the batch, as if by L2 of strength "
    "lambda sigma sqrt(p/B).",
    source=DERIVED,
    decision=within(0.9, 1.1),
    formula="w = p h w*/(p h + lambda sigma sqrt(p/B))",
    coupling="decoupled_lr",
)
def rest_across_batches(data: xr.Dataset, coupling: str) -> dict[str, Estimate]:
    """Mean weight at a batch size / at the smallest, over the closed form's ratio, a cell a batch size, one sample a seed."""
    found, form = (data[name].sel(coupling=coupling) for name in ("rest", "predicted"))
    over = found / form
    larger = over.isel(batch=slice(1, None)) / over.isel(batch=0, drop=True)
    return each_cell(larger, "ratio of the weights, measured / formula", ratio_interval)


@claim(
    "E8",
    experiment="starvation",
    sentence="With independent batches, a feature that one image of 512 excites sees L steps or more without it among 2048 as "
    "often as the recursion for success runs says.",
    source=DERIVED + "; Feller 1968, volume 1, XIII.7",
    decision=never_above(0.1),
    formula="P = 1 - exp(-((n-L) p_b + 1)(1-p_b)^L), exact by recursion; p_b = 1 - s^B",
    figure="batch",
    sampling="independent",
)
@claim(
    "E8 epochs",
    experiment="starvation",
    sentence="Where every epoch holds every image once, a feature that one image of 512 excites sees L steps or more without "
    "it among 2048 as often as with independent batches.",
    source="supposed here",
    decision=never_above(0.1),
    formula="the same; but no run within epochs is longer than 2 M/B - 2",
    figure="batch",
    sampling="epochs",
)
def starvation_error(data: xr.Dataset, sampling: str) -> Estimate:
    """Distance of the share of features with a gap of L steps or more from the recursion, for each batch size and length of
    the gap."""
    distance = abs(data["starved"].sel(sampling=sampling).mean("seed") - data["predicted"])
    return spread(distance.values, "distance from the formula, as a share of features")
