"""What the worlds of a BatchNorm + ReLU feature say: how it dies (E) and, in small, the claims on filters of a CNN (S).

`feature` is one feature that alone has to fit its teacher, `compete` many that can replace each other, `plane` the plane of
gamma and beta.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.rules import RULES
from dynamics.theory import closed
from evidence.claim import Claim, Estimate, above, mean_interval, never_above, spread, within

_MEHTA = "Mehta, Kim, Theobalt 2019, arXiv 1905.04967"
_SHARE = "of features"


def _groups(data: xr.Dataset) -> tuple[list[str], list[str]]:
    """Adaptive optimizers and the others."""
    names = [str(name) for name in data.optimizer.values]
    return [n for n in names if RULES[n].adaptive], [n for n in names if not RULES[n].adaptive]


def _at(data: xr.Dataset, coupling: str) -> xr.Dataset:
    return data.sel(coupling=coupling, strength=data.attrs["reference"])


def _a_seed(cells: xr.DataArray) -> xr.DataArray:
    """The mean over everything but the seed."""
    return cells.mean([d for d in cells.dims if d != "seed"])


def activity_law(data: xr.Dataset) -> Estimate:
    """Share of silent images less Phi(-a), trained features with gamma other than 0, one sample a seed."""
    gamma, beta = data["gamma"].values, data["beta"].values
    known = np.isfinite(gamma) & np.isfinite(beta) & (gamma != 0)
    law = closed.inactive_share(np.where(known, gamma, 1.0), np.where(known, beta, 0.0))
    difference = (data["silent_images"] - law).where(xr.DataArray(known, dims=data["gamma"].dims))
    return mean_interval(_a_seed(difference).values, "of images, measured less law", "seeds")


def violations(data: xr.Dataset) -> Estimate:
    """Share of its certified steps at which a feature had a gradient, a sample a feature that has any."""
    steps = data["certified_steps"].values
    seen = data["violations"].values[steps > 0] / steps[steps > 0]
    return spread(seen if seen.size else [np.nan], "of a feature's certified steps")


def reborn(data: xr.Dataset) -> Estimate:
    """Features that had a gradient after a certificate, of those ever certified; a sample an optimizer that has any."""
    over = [d for d in data["reborn"].dims if d != "optimizer"]
    ever = (data["certified_steps"] > 0).sum(over)
    seen = (data["reborn"].sum(over) / ever).values[ever.values > 0]
    return spread(seen if seen.size else [np.nan], "of certified features")


def bound(data: xr.Dataset) -> Estimate:
    """Largest abs(xhat)/sqrt(N - 1), over laws of inputs and seeds."""
    return spread(data["bound"].values, "of sqrt(N - 1)")


def drift(data: xr.Dataset) -> Estimate:
    """Largest relative change of beta/gamma under SGD and AdamW, a sample a start."""
    return spread(data["drift"].sel(update=["sgd", "adamw"]).values, "relative change of beta/gamma")


def death(data: xr.Dataset) -> Estimate:
    """Steps to exact zero activation / the closed form, where that has one."""
    ratio = (data["death"] / data["predicted"]).values
    return spread(ratio[np.isfinite(ratio)], "of the predicted steps")


def revival(data: xr.Dataset) -> Estimate:
    """ln(a_end/a) / its closed form, a sample a pair of residues: positive where the direction is the predicted one."""
    ratio = np.log(data["revival"].values) / np.log(data["predicted"].values)
    return spread(ratio, "of the predicted change of ln(-a)")


def decades(data: xr.Dataset) -> Estimate:
    """Steps to 1e-12 / steps to 1e-3 under decay, over strengths."""
    return spread((data["passage"].isel(target=1) / data["passage"].isel(target=0)).values, "times as many steps")


def collapse(data: xr.Dataset) -> Estimate:
    """Share of walks that reached 0 less the closed form, one sample a seed."""
    return mean_interval(
        _a_seed(data["collapsed"] - data["predicted"]).values, "of walks, measured less formula", "seeds"
    )


def adaptive_inactive(data: xr.Dataset) -> Estimate:
    """Share inactive by activation under adaptive optimizers + L2, one sample a seed."""
    return mean_interval(_a_seed(_at(data, "l2")["inactive"].sel(optimizer=_groups(data)[0])).values, _SHARE, "seeds")


def unregularized(data: xr.Dataset) -> Estimate:
    """Share inactive without a regularizer, a sample an optimizer and seed."""
    cells = _at(data, "none")["inactive"]
    return spread(cells.mean([d for d in cells.dims if d not in ("optimizer", "seed")]).values, _SHARE)


def adaptive_excess(data: xr.Dataset) -> Estimate:
    """Share inactive under L2, adaptive optimizers less the others, each at its tuned rate; one sample a seed."""
    inactive, (adaptive, plain) = _at(data, "l2")["inactive"], _groups(data)
    difference = _a_seed(inactive.sel(optimizer=adaptive)) - _a_seed(inactive.sel(optimizer=plain))
    return mean_interval(difference.values, _SHARE + ", difference", "seeds")


def _l2_excess(data: xr.Dataset, decay: str) -> Estimate:
    adaptive = _groups(data)[0]
    l2, other = (_a_seed(_at(data, c)["inactive"].sel(optimizer=adaptive)) for c in ("l2", decay))
    return mean_interval((l2 - other).values, _SHARE + ", difference", "seeds")


def l2_over_decay_lr(data: xr.Dataset) -> Estimate:
    """Share inactive under adaptive optimizers, L2 less decay x lr of equal strength, paired by seed."""
    return _l2_excess(data, "decoupled_lr")


def l2_over_decay_schedule(data: xr.Dataset) -> Estimate:
    """The same against decay x schedule, which has no factor of the learning rate."""
    return _l2_excess(data, "decoupled_schedule")


def _survivors(data: xr.Dataset, coupling: str) -> Estimate:
    selective = _at(data, coupling)["selective"]
    adam, sgd = (_a_seed(selective.sel(optimizer=n)) for n in ("adam", "sgd"))
    return mean_interval((adam - sgd).values, "of images, Adam's less SGD's", "seeds")


def survivors(data: xr.Dataset) -> Estimate:
    """Mean selectivity of live features without a regularizer, Adam's less SGD's, one sample a seed."""
    return _survivors(data, "none")


def survivors_l2(data: xr.Dataset) -> Estimate:
    """The same under L2."""
    return _survivors(data, "l2")


def measures(data: xr.Dataset) -> Estimate:
    """Share inactive by activation less share by scale, adaptive optimizers + L2, one sample a seed."""
    cells = _at(data, "l2").sel(optimizer=_groups(data)[0])
    return mean_interval(_a_seed(cells["inactive"] - cells["small"]).values, _SHARE + ", difference", "seeds")


def without_inactive(data: xr.Dataset) -> Estimate:
    """Largest change of an output when the features inactive by activation go, a sample a network."""
    return spread(data["without_inactive"].values, "change of an output")


def without_small(data: xr.Dataset) -> Estimate:
    """The same for those inactive by scale."""
    return spread(data["without_small"].values, "change of an output")


def _concordance(share: np.ndarray) -> np.ndarray:
    """Pairs of doses with a rise less pairs with a fall, of all pairs; doses on the last axis."""
    low, high = np.triu_indices(share.shape[-1], 1)
    return np.asarray(np.sign(share[..., high] - share[..., low]).mean(-1))


def strength_response(data: xr.Dataset) -> Estimate:
    """`_concordance` of share inactive with strength (0 first), adaptive optimizers + L2, one sample a seed."""
    inactive = data["inactive"].sel(optimizer=_groups(data)[0]).mean(("optimizer", "selectivity", "copy"))
    none, l2 = (inactive.sel(coupling=c).transpose("seed", "strength").values for c in ("none", "l2"))
    return mean_interval(_concordance(np.hstack([none[:, :1], l2])), "of pairs, rises less falls", "seeds")


def rate_response(data: xr.Dataset) -> Estimate:
    """`_concordance` of share inactive with the learning rate, adaptive optimizers + L2, one sample a tuning seed."""
    inactive = data["rate_inactive"].sel(optimizer=_groups(data)[0]).mean("optimizer")
    return mean_interval(
        _concordance(inactive.transpose("tuning_seed", "candidate").values), "of pairs, rises less falls", "seeds"
    )


def _saved(data: xr.Dataset, order: str) -> Estimate:
    cost = _at(data, "l2")["cost"].isel(removed=0)
    difference = _a_seed(cost.sel(order=order)) - _a_seed(cost.sel(order="most selective first"))
    return mean_interval(difference.values, "of loss saved", "seeds")


def saved_to_random(data: xr.Dataset) -> Estimate:
    """Rise of the loss when a share of the live features goes at random, less that when the most selective go."""
    return _saved(data, "random")


def saved_to_least(data: xr.Dataset) -> Estimate:
    """The same against the least selective first."""
    return _saved(data, "least selective first")


CLAIMS = (
    Claim(
        "E1",
        "A trained BatchNorm + ReLU feature on normal inputs is silent on the share Phi(-beta/abs(gamma)) of its images, "
        "on average over features of all settings.",
        "standard",
        "feature",
        activity_law,
        within(-0.02, 0.02),
        "interval within 2 points of 0",
        "P(inactive) = Phi(-beta / abs(gamma))",
    ),
    Claim(
        "E2",
        "No feature with beta <= -abs(gamma) sqrt(N - 1) has a gradient on the batch at hand, under any optimizer and coupling.",
        "derived here",
        "feature",
        violations,
        never_above(0),
        "none of the certified steps",
        "beta <= -abs(gamma) sqrt(N - 1)",
    ),
    Claim(
        "E2 bound",
        "No value of a batch of N, normalized by its own mean and biased variance, exceeds sqrt(N - 1), whatever the law of "
        "the inputs (normal, Cauchy, one outlier), to 1e-9 in double precision.",
        "derived here",
        "feature",
        bound,
        never_above(1 + 1e-9),
        "none above 1 by more than 1e-9",
        "abs(xhat) <= sqrt(N - 1)",
    ),
    Claim(
        "E2 for good",
        "A feature once certified never gets a gradient again, while optimizer and regularizer go on moving it.",
        "the certificate, read as one about all later steps",
        "feature",
        reborn,
        never_above(0),
        "none of the certified features",
    ),
    Claim(
        "E4 sgd",
        "Without a gradient SGD + L2 and Adam + weight decay keep the ratio beta/gamma, to 1e-9, so the dead cone keeps what "
        "is in it and takes nothing in.",
        "derived here",
        "cone",
        drift,
        never_above(1e-9),
        "no start's ratio changes by more than 1e-9",
        "beta_t / gamma_t = beta_0 / gamma_0",
        "plane",
    ),
    Claim(
        "E4 adam",
        "Without a gradient Adam + L2 carries a feature with beta < -abs(gamma) to exactly zero activation, in the predicted "
        "number of steps where both move at constant speed (lr tau at most 1% of gamma).",
        "derived here",
        "cone",
        death,
        within(0.96, 1.04),
        "every start within 4% of the formula",
        "T = (abs(gamma) x_max - abs(beta)) / (lr (x_max - 1))",
        "plane",
    ),
    Claim(
        "E5",
        "Where gradients of unequal size stop, Adam + L2 moves beta/abs(gamma) towards 0, life, if gamma's were the larger, and "
        "away from it if beta's were.",
        "derived here",
        "residue",
        revival,
        above(0),
        "every pair of residues in the predicted direction",
        "ln(w_t / w_0) = -(2 tau lr strength / sigma) (exp(t / (2 tau)) - 1)",
    ),
    Claim(
        "E6",
        "Under weight decay a weight of 1 without a gradient takes four times as many steps to 1e-12 as to 1e-3.",
        "algebra",
        "cone",
        decades,
        within(3.9, 4.1),
        "every ratio within 0.1 of 4",
        "T(1e-12) = 4 T(1e-3)",
    ),
    Claim(
        "E10",
        "Noise alone takes SGD's gamma to 0 with the closed form's probability, from 5 to 20 steps' length within 400 steps.",
        "Zhou et al., arXiv 2001.11216; correction Siegmund 1979",
        "walk",
        collapse,
        within(-0.02, 0.02),
        "interval within 2 points of 0",
        "P = erfc((gamma + 0.583 lr sigma) / (lr sigma sqrt(2 T)))",
    ),
    Claim(
        "S1 toy",
        "Where features can replace each other, some end up active for no image under adaptive optimizers with L2.",
        _MEHTA,
        "compete",
        adaptive_inactive,
        above(0),
        "interval above 0",
        "",
        "compete",
    ),
    Claim(
        "S2 toy",
        "Without a regularizer no feature ends up active for no image, where features can replace each other.",
        _MEHTA,
        "compete",
        unregularized,
        never_above(0),
        "no network with one",
        "",
        "compete",
    ),
    Claim(
        "S2 alone",
        "The same for single features that alone must fit a teacher.",
        _MEHTA,
        "feature",
        unregularized,
        never_above(0),
        "no optimizer and seed with one",
        "",
        "feature",
    ),
    Claim(
        "S3 toy",
        "With L2, adaptive optimizers silence more features than SGD and momentum, each at its tuned learning rate, where "
        "features can replace each other.",
        _MEHTA,
        "compete",
        adaptive_excess,
        above(0),
        "interval above 0",
        "",
        "compete",
    ),
    Claim(
        "S3 alone",
        "They do so, too, where a single feature alone must fit its teacher.",
        _MEHTA + ", read as a statement about every feature",
        "feature",
        adaptive_excess,
        above(0),
        "interval above 0",
        "",
        "feature",
    ),
    Claim(
        "S4 toy",
        "Under adaptive optimizers L2 silences more features than weight decay x lr of equal strength, where features can "
        "replace each other.",
        _MEHTA,
        "compete",
        l2_over_decay_lr,
        above(0),
        "interval above 0",
        "",
        "compete",
    ),
    Claim(
        "S4 schedule alone",
        "Under adaptive optimizers L2 silences more single features than weight decay without the factor lr, of equal strength "
        "and at a constant schedule.",
        _MEHTA,
        "feature",
        l2_over_decay_schedule,
        above(0),
        "interval above 0",
        "",
        "feature",
    ),
    Claim(
        "S7 toy",
        "Without a regularizer Adam's live features are more selective than SGD's, each at its tuned learning rate.",
        _MEHTA + ", secondary hypothesis",
        "compete",
        survivors,
        above(0),
        "interval above 0",
    ),
    Claim(
        "S7 toy L2",
        "With L2, too, Adam's live features are more selective than SGD's.",
        _MEHTA + ", secondary hypothesis",
        "compete",
        survivors_l2,
        above(0),
        "interval above 0",
    ),
    Claim(
        "S9 toy",
        "The shares of features inactive by activation and by scale agree within 5 points under adaptive optimizers with L2.",
        _MEHTA,
        "compete",
        measures,
        within(-0.05, 0.05),
        "interval within 5 points of 0",
    ),
    Claim(
        "S9 outputs",
        "Removing the features inactive by activation changes no output on the training images by more than 1e-9.",
        _MEHTA,
        "compete",
        without_inactive,
        never_above(1e-9),
        "no network with a larger change",
    ),
    Claim(
        "S9 scale",
        "Removing the features inactive by scale changes no output by more than 1e-3, the threshold on gamma.",
        _MEHTA,
        "compete",
        without_small,
        never_above(1e-3),
        "no network with a larger change",
    ),
    Claim(
        "S11 toy",
        "Under adaptive optimizers with L2, more strength silences more features, from none to the largest.",
        _MEHTA,
        "compete",
        strength_response,
        above(0),
        "more rises than falls",
    ),
    Claim(
        "S11 lr",
        "Under adaptive optimizers with L2, a larger learning rate silences more features.",
        _MEHTA,
        "compete",
        rate_response,
        above(0),
        "more rises than falls",
    ),
    Claim(
        "S12 toy",
        "Removing the most selective quarter of the live features costs less loss than removing a random quarter, under L2, "
        "mean over optimizers.",
        _MEHTA,
        "compete",
        saved_to_random,
        above(0),
        "interval above 0",
    ),
    Claim(
        "S12 least",
        "Removing the most selective quarter costs less than removing the least selective.",
        _MEHTA,
        "compete",
        saved_to_least,
        above(0),
        "interval above 0",
    ),
)
