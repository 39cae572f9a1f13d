"""What the worlds of a BatchNorm + ReLU feature say: how it dies (E) and, in small, the claims on filters of a CNN (S).

`feature` is one feature that alone has to fit its teacher, `compete` many that can replace each other.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dynamics.rules import RULES
from dynamics.theory import closed
from evidence.claim import Estimate, above, mean_interval, never_above, spread, within
from evidence.registry import claim
from evidence.sources import DERIVED, MEHTA

if TYPE_CHECKING:
    import xarray as xr

_SHARE = "of features"


_alone = partial(claim, experiment="feature")
_compete = partial(claim, experiment="compete")


def _groups(data: xr.Dataset) -> tuple[list[str], list[str]]:
    """Adaptive optimizers and the others."""
    names = [str(name) for name in data.optimizer.values]
    return [n for n in names if RULES[n].adaptive], [n for n in names if not RULES[n].adaptive]


def _at(data: xr.Dataset, coupling: str) -> xr.Dataset:
    return data.sel(coupling=coupling, strength=data.attrs["reference"])


def a_seed(cells: xr.DataArray) -> xr.DataArray:
    """The mean over everything but the seed."""
    return cells.mean([d for d in cells.dims if d != "seed"])


@_alone("E1", source="standard", decision=within(-0.02, 0.02), formula="P(inactive) = Phi(-beta / abs(gamma))")
def activity_law(data: xr.Dataset) -> Estimate:
    """A trained BatchNorm + ReLU feature on normal inputs is silent on the share Phi(-beta/abs(gamma)) of its images,
    on average over features of all settings.

    Share of silent images less Phi(-a), trained features with gamma other than 0, one sample a seed.
    """
    import xarray as xr

    gamma, beta = data["gamma"].values, data["beta"].values
    known = np.isfinite(gamma) & np.isfinite(beta) & (gamma != 0)
    law = closed.inactive_share(np.where(known, gamma, 1.0), np.where(known, beta, 0.0))
    difference = (data["silent_images"] - law).where(xr.DataArray(known, dims=data["gamma"].dims))
    return mean_interval(a_seed(difference).values, "of images, measured less law", "seeds")


@_alone("E2", source=DERIVED, decision=never_above(0), formula="beta <= -abs(gamma) sqrt(N - 1)")
def violations(data: xr.Dataset) -> Estimate:
    """No feature with beta <= -abs(gamma) sqrt(N - 1) has a gradient on the batch at hand, under any optimizer and
    coupling.

    Share of its certified steps at which a feature had a gradient, a sample a feature that has any.
    """
    steps = data["certified_steps"].values
    seen = data["violations"].values[steps > 0] / steps[steps > 0]
    return spread(seen if seen.size else [np.nan], "of a feature's certified steps")


@_alone("E2 for good", source="the certificate, read as one about all later steps", decision=never_above(0))
def reborn(data: xr.Dataset) -> Estimate:
    """A feature whose silence is certified, beta <= -abs(gamma) sqrt(N - 1), never gets a gradient again, while
    optimizer and regularizer go on moving it.

    Features that had a gradient after a certificate, of those ever certified; a sample an optimizer that has any.
    """
    over = [d for d in data["reborn"].dims if d != "optimizer"]
    ever = (data["certified_steps"] > 0).sum(over)
    seen = (data["reborn"].sum(over) / ever).values[ever.values > 0]
    return spread(seen if seen.size else [np.nan], "of certified features")


@_alone("E2 bound", source=DERIVED, decision=never_above(1 + 1e-9), formula="abs(xhat) <= sqrt(N - 1)")
def bound(data: xr.Dataset) -> Estimate:
    """No value of a batch of N, normalized by its own mean and biased variance, exceeds sqrt(N - 1), whatever the law
    of the inputs (normal, Cauchy, one outlier), to 1e-9 in double precision.

    Largest abs(xhat)/sqrt(N - 1), over laws of inputs and seeds.
    """
    return spread(data["bound"].values, "of sqrt(N - 1)")


@_compete("S1 toy", source=MEHTA, decision=above(0), figure="compete")
def adaptive_inactive(data: xr.Dataset) -> Estimate:
    """Where features can replace each other, some end up active for no image under adaptive optimizers with L2.

    Share inactive by activation under adaptive optimizers + L2, mean over optimizers and selectivities, one sample a seed.
    """
    return mean_interval(a_seed(_at(data, "l2")["inactive"].sel(optimizer=_groups(data)[0])).values, _SHARE, "seeds")


@_compete(
    "S2 toy",
    source=MEHTA,
    decision=never_above(0),
    sentence="Without a regularizer no feature ends up active for no image, where features can replace each other.",
    figure="compete",
    against=("S2",),
)
@_alone(
    "S2 alone",
    source=MEHTA,
    decision=never_above(0),
    sentence="Without a regularizer no single feature that alone must fit a teacher ends up active for no image.",
    figure="feature",
    against=("S2",),
)
def unregularized(data: xr.Dataset) -> Estimate:
    """Share inactive without a regularizer, a sample an optimizer and seed."""
    cells = _at(data, "none")["inactive"]
    return spread(cells.mean([d for d in cells.dims if d not in ("optimizer", "seed")]).values, _SHARE)


@_compete(
    "S3 toy",
    source=MEHTA,
    decision=above(0),
    sentence="With L2, adaptive optimizers on average silence more features than SGD and momentum, each at its tuned learning "
    "rate, where features can replace each other.",
    figure="compete",
)
@_alone(
    "S3 alone",
    source=MEHTA + ", read as a statement about every feature",
    decision=above(0),
    sentence="With L2, adaptive optimizers on average silence more features than SGD and momentum, each at its tuned learning "
    "rate, where a single feature alone must fit its teacher.",
    figure="feature",
)
def adaptive_excess(data: xr.Dataset) -> Estimate:
    """Share inactive under L2, mean of the adaptive optimizers less that of the others, over all selectivities, each at its tuned
    rate; one sample a seed."""
    inactive, (adaptive, plain) = _at(data, "l2")["inactive"], _groups(data)
    difference = a_seed(inactive.sel(optimizer=adaptive)) - a_seed(inactive.sel(optimizer=plain))
    return mean_interval(difference.values, _SHARE + ", difference", "seeds")


def _l2_excess(data: xr.Dataset, decay: str) -> Estimate:
    adaptive = _groups(data)[0]
    l2, other = (a_seed(_at(data, c)["inactive"].sel(optimizer=adaptive)) for c in ("l2", decay))
    return mean_interval((l2 - other).values, _SHARE + ", difference", "seeds")


@_compete("S4 toy", source=MEHTA, decision=above(0), figure="compete")
def l2_over_decay_lr(data: xr.Dataset) -> Estimate:
    """Under adaptive optimizers L2 on average silences more features than weight decay x lr of equal strength, where features
    can replace each other.

    Share inactive under adaptive optimizers, L2 less decay x lr of equal strength, mean over optimizers and selectivities,
    paired by seed.
    """
    return _l2_excess(data, "decoupled_lr")


@_alone("S4 schedule alone", source=MEHTA, decision=above(0), figure="feature")
def l2_over_decay_schedule(data: xr.Dataset) -> Estimate:
    """Under adaptive optimizers L2 on average silences more single features than weight decay without the factor lr, of
    equal strength and at a constant schedule.

    Share inactive under adaptive optimizers, L2 less decay x schedule (which has no factor of the learning rate) of
    equal strength, mean over optimizers and selectivities, paired by seed.
    """
    return _l2_excess(data, "decoupled_schedule")


def _survivors(data: xr.Dataset, coupling: str) -> Estimate:
    selective = _at(data, coupling)["selective"]
    adam, sgd = (a_seed(selective.sel(optimizer=n)) for n in ("adam", "sgd"))
    return mean_interval((adam - sgd).values, "of images, Adam's less SGD's", "seeds")


@_compete("S7 toy", source=MEHTA + ", secondary hypothesis", decision=above(0))
def survivors(data: xr.Dataset) -> Estimate:
    """Without a regularizer Adam's live features are more selective than SGD's, each at its tuned learning rate.

    Mean selectivity of live features without a regularizer, Adam's less SGD's, one sample a seed.
    """
    return _survivors(data, "none")


@_compete("S7 toy L2", source=MEHTA + ", secondary hypothesis", decision=above(0))
def survivors_l2(data: xr.Dataset) -> Estimate:
    """With L2 Adam's live features are more selective than SGD's, each at its tuned learning rate.

    Mean selectivity of live features under L2, Adam's less SGD's, one sample a seed.
    """
    return _survivors(data, "l2")


@_compete("S9 toy", source=MEHTA, decision=within(-0.05, 0.05))
def measures(data: xr.Dataset) -> Estimate:
    """The mean shares of features inactive by activation and by scale agree within 5 points under adaptive optimizers with
    L2.

    Share inactive by activation less share by scale, mean over adaptive optimizers and selectivities with L2, one sample a
    seed.
    """
    cells = _at(data, "l2").sel(optimizer=_groups(data)[0])
    return mean_interval(a_seed(cells["inactive"] - cells["small"]).values, _SHARE + ", difference", "seeds")


@_compete("S9 outputs", source=MEHTA, decision=never_above(1e-9))
def without_inactive(data: xr.Dataset) -> Estimate:
    """Removing the features inactive by activation changes no output on the training images by more than 1e-9.

    Largest change of an output when the features inactive by activation go, a sample a network.
    """
    return spread(data["without_inactive"].values, "change of an output")


@_compete("S9 scale", source=MEHTA, decision=never_above(1e-3))
def without_small(data: xr.Dataset) -> Estimate:
    """Removing the features inactive by scale changes no output by more than 1e-3, the threshold on gamma.

    Largest change of an output when the features inactive by scale go, a sample a network.
    """
    return spread(data["without_small"].values, "change of an output")


def _concordance(share: np.ndarray) -> np.ndarray:
    """Pairs of doses with a rise less pairs with a fall, of all pairs; doses on the last axis."""
    low, high = np.triu_indices(share.shape[-1], 1)
    return np.asarray(np.sign(share[..., high] - share[..., low]).mean(-1))


@_compete("S11 toy", source=MEHTA, decision=above(0))
def strength_response(data: xr.Dataset) -> Estimate:
    """Under adaptive optimizers with L2, more strength on average silences more features, from none to the largest.

    Pairs of strengths (0 first) with a rise of the share inactive less pairs with a fall, of all pairs: the share's mean
    over adaptive optimizers and selectivities with L2, one sample a seed.
    """
    inactive = data["inactive"].sel(optimizer=_groups(data)[0]).mean(("optimizer", "selectivity", "copy"))
    none, l2 = (inactive.sel(coupling=c).transpose("seed", "strength").values for c in ("none", "l2"))
    return mean_interval(_concordance(np.hstack([none[:, :1], l2])), "of pairs, rises less falls", "seeds")


@_compete("S11 lr", source=MEHTA, decision=above(0))
def rate_response(data: xr.Dataset) -> Estimate:
    """Under adaptive optimizers with L2, a larger learning rate on average silences more features.

    Pairs of learning rates with a rise of the share inactive less pairs with a fall, of all pairs: the share's mean over
    adaptive optimizers with L2, one sample a tuning seed.
    """
    inactive = data["rate_inactive"].sel(optimizer=_groups(data)[0]).mean("optimizer")
    return mean_interval(
        _concordance(inactive.transpose("tuning_seed", "candidate").values), "of pairs, rises less falls", "seeds"
    )


def _saved(data: xr.Dataset, order: str) -> Estimate:
    cost = _at(data, "l2")["cost"].isel(removed=0)
    difference = a_seed(cost.sel(order=order)) - a_seed(cost.sel(order="most selective first"))
    return mean_interval(difference.values, "of loss saved", "seeds")


@_compete("S12 toy", source=MEHTA, decision=above(0))
def saved_to_random(data: xr.Dataset) -> Estimate:
    """Removing the most selective quarter of the live features costs less loss than removing a random quarter, under
    L2, mean over optimizers.

    Rise of the loss when a share of the live features goes at random, less that when as many of the most selective go.
    """
    return _saved(data, "random")


@_compete("S12 least", source=MEHTA, decision=above(0))
def saved_to_least(data: xr.Dataset) -> Estimate:
    """Removing the most selective quarter of the live features costs less loss than removing the least selective
    quarter, under L2, mean over optimizers.

    Rise of the loss when the least selective of the live features go, less that when as many of the most selective go.
    """
    return _saved(data, "least selective first")
