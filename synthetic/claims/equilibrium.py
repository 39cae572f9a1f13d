"""Sections C, D and F: the size weights keep under noise, where a quadratic loss leaves them, what schedules do to both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from dynamics.theory.closed import adam_step_bound
from evidence.claim import Claim, Estimate, below, mean_interval, never_above, spread, within
from synthetic.quadratic import CLIPPED

_HERE = "derived here"
_KOSSON = "Kosson et al. 2023, arXiv 2305.17212"
_LAARHOVEN = "van Laarhoven 2017, arXiv 1706.05350"
_XIE = "Xie, Li 2024, arXiv 2404.04454"
_DEFAZIO = "Defazio 2025, arXiv 2506.02285"

Estimator = Callable[[xr.Dataset], Estimate]


def _over_seeds(values: xr.DataArray, unit: str) -> Estimate:
    """One sample a seed: the mean over all settings that are known."""
    return mean_interval(values.mean([d for d in values.dims if d != "seed"]).values, unit, "seeds")


def size_against_form(optimizers: Sequence[str], couplings: Sequence[str]) -> Estimator:
    """E[w^2] simulated / predicted where there is a closed form and p >= 100 (1 - sqrt(beta2)), at the largest strength
    within the form's regime: there most memories fit into the run."""

    def estimate(data: xr.Dataset) -> Estimate:
        common = data.arrival.values[data.arrival.values >= 100 * data.attrs["critical"]]
        chosen = data.sel(optimizer=list(optimizers), coupling=list(couplings), arrival=common)
        ratio = chosen["mean_square"] / chosen["predicted"]
        weak, strong = ratio.isel(strength=0, drop=True), ratio.isel(strength=-1, drop=True)
        return _over_seeds(strong.fillna(weak), "simulated / predicted")

    return estimate


def rare_arrivals(data: xr.Dataset) -> Estimate:
    """AdamW's E[w^2] where gradients are rarest / where they always come."""
    square = data["mean_square"].sel(optimizer="adam", coupling="decoupled_lr")
    return _over_seeds(square.isel(arrival=0) / square.isel(arrival=-1), "of the mean square at p = 1")


def lion_as_signs(data: xr.Dataset) -> Estimate:
    """Lion's E[w^2] / that of steps of independent signs, p = 1, decay x lr."""
    square = data.sel(coupling="decoupled_lr", arrival=1.0)
    ratio = square["mean_square"].sel(optimizer="lion") / square["predicted"].sel(optimizer="signs")
    return _over_seeds(ratio, "times that of independent signs")


def _order(data: xr.Dataset) -> xr.DataArray:
    """E[w^2] of Adam + L2 / of AdamW: (size, seed), means over the other settings above and below the fraction."""
    square = data["mean_square"].sel(optimizer="adam").mean(("strength", "arrival"))
    return square.sel(coupling="l2") / square.sel(coupling="decoupled_lr")


def order_by_size(data: xr.Dataset) -> Estimate:
    """The ratio of `_order`, turned round where the gradient's root mean square is above 1: the larger one, a seed."""
    ratio = _order(data)
    worst = xr.where(ratio["size"] < 1, ratio, 1 / ratio).max("size")
    return mean_interval(worst.values, "of the mean square that is claimed larger", "seeds")


def order_always(data: xr.Dataset) -> Estimate:
    """The larger ratio of `_order` over gradient sizes, one sample a seed."""
    return mean_interval(_order(data).max("size").values, "Adam + L2 / AdamW", "seeds")


def normalized(what: str, optimizer: str, couplings: Sequence[str]) -> Estimator:
    """`norm` or `rotation` of scale-invariant weights, simulated / predicted."""

    def estimate(data: xr.Dataset) -> Estimate:
        chosen = data.sel(optimizer=optimizer, coupling=list(couplings))
        return _over_seeds(chosen[what] / chosen[f"predicted_{what}"], "simulated / predicted")

    return estimate


def norm_of_slopes(coupling: str) -> Estimator:
    """Adam's norm at the largest slope of the loss / at the smallest."""

    def estimate(data: xr.Dataset) -> Estimate:
        norm = data["norm"].sel(optimizer="adam", coupling=coupling)
        return _over_seeds(norm.isel(slope=-1) / norm.isel(slope=0), "times the norm")

    return estimate


def quiet_rest(optimizers: Sequence[str], coupling: str, corner: bool = True) -> Estimator:
    """Distance from the predicted resting place in learning rates, one sample an optimizer, strength and target; without
    `corner`, targets of 1/strength are left out."""

    def estimate(data: xr.Dataset) -> Estimate:
        chosen = data.sel(optimizer=list(optimizers), coupling=coupling)
        distance = abs(chosen["rest"] - chosen["predicted"]) / data.attrs["lr"]
        if not corner:
            distance = distance.where(abs(chosen["target"] * chosen["strength"] - 1) > 0.1)
        return spread(distance.values[distance.notnull().values], "learning rates")

    return estimate


def selective_rest(optimizers: Sequence[str]) -> Estimator:
    """Mean weight under L2, gradients at the smallest p and no noise / p h w*/(p h + strength): of the optimizers the one
    that is farthest from 1."""

    def estimate(data: xr.Dataset) -> Estimate:
        p, strength = float(data.arrival[0]), data.attrs["strength"]
        ratio = data["rest"].sel(coupling="l2", arrival=p, sigma=0.0) * (p + strength) / p
        farthest = max(optimizers, key=lambda name: abs(float(ratio.sel(optimizer=name).mean()) - 1))
        return mean_interval(ratio.sel(optimizer=farthest).values, f"of the formula ({farthest})", "seeds")

    return estimate


def noisy_rest(coupling: str, noisy: bool) -> Estimator:
    """Mean weight under Adam and RMSprop, simulated / predicted, with noise beside the pull (over all p) or without (at
    the smallest)."""

    def estimate(data: xr.Dataset) -> Estimate:
        chosen = data.sel(optimizer=["adam", "rmsprop"], coupling=coupling)
        chosen = chosen.isel(sigma=-1) if noisy else chosen.isel(arrival=0, sigma=0)
        return _over_seeds(chosen["rest"] / chosen["predicted"], "simulated / predicted")

    return estimate


def stability(data: xr.Dataset) -> Estimate:
    """Logarithm of the growth a step below the stated limit, of the shrinking above it, at the fraction of the limit where
    it is largest; one sample a rule and coupling. Negative: shrinks below the limit and grows above."""
    against = xr.apply_ufunc(lambda g, over: -np.log(g) * np.sign(over), data["growth"], data["fraction"] - 1)
    return spread(against.max("fraction").values, "of growth a step against the claimed direction")


def largest_weight(optimizer: str, bound: float) -> Estimator:
    """Largest |w| x strength under decay x lr / `bound`, one sample a series of gradients and seed."""

    def estimate(data: xr.Dataset) -> Estimate:
        return spread(data["largest"].sel(optimizer=optimizer).values / bound, "of the bound")

    return estimate


def scheduled_decay(data: xr.Dataset) -> Estimate:
    """Largest relative difference between a path under decay and prod(1 - lr_t strength), one sample a schedule and rule."""
    ratio = data["silent"].sel(coupling="decoupled_lr") / data["decayed"]
    return spread(abs(ratio - 1).max("silent_step").values, "relative difference")


def averaged_updates(data: xr.Dataset) -> Estimate:
    """Largest distance of a weight from the mean of its updates, one sample a rule."""
    return spread(abs(data["end"] - data["average"]).max("seed").values, "of the start")


def scheduled_floor(optimizers: Sequence[str]) -> Estimator:
    """How far under L2 a weight falls below 1 - sum of the rates before it changes sign, in learning rates; one sample a
    schedule and rule."""

    def estimate(data: xr.Dataset) -> Estimate:
        w = data["silent"].sel(coupling="l2", optimizer=list(optimizers))
        alive = (w > 0).cumprod("silent_step") > 0
        below_line = ((1 - data["gone"] - w) / data.attrs["silent_lr"]).where(alive).max("silent_step")
        return spread(below_line.values, "learning rates below the line")

    return estimate


def _middle(data: xr.Dataset, coupling: str) -> xr.Dataset:
    """AdamW under the cosine, in the middle half of its steps, at which the rate falls fastest."""
    last = data.attrs["steps"]
    return data.sel(schedule="cosine", sized=coupling, step=slice(last / 4, 3 * last / 4))


def followed_size(data: xr.Dataset) -> Estimate:
    """E[w^2] / (lr_t / (2 strength)): `_middle`."""
    at = _middle(data, "decoupled_lr")
    return _over_seeds(at["mean_square"] * 2 * data.attrs["strength"] / at["rates"], "times lr_t / (2 strength)")


def lag_steps(data: xr.Dataset) -> Estimate:
    """c, one a seed, for which E[w^2] is the equilibrium of the rate that was c / (2 lr_t strength) steps before t: `_middle`.

    Sizes are taken relative to those under the constant rate, whose noise is the same: of the lag this leaves all, of
    AdamW's distance from the leading order nothing.
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


def recursion(data: xr.Dataset) -> Estimate:
    """E[w^2] / the recursion of `closed.lagging_mean_square`: `_middle`."""
    at = _middle(data, "decoupled_lr")
    return _over_seeds(at["mean_square"] / at["followed"], "simulated / predicted")


def corrected_size(data: xr.Dataset) -> Estimate:
    """E[w^2] under decay x lr^2 / base lr / (base lr / (2 strength)), over the second half of the cosine."""
    at = data.sel(schedule="cosine", sized="corrected", step=slice(data.attrs["steps"] / 2, None))
    return _over_seeds(at["mean_square"] * 2 * data.attrs["strength"] / data.attrs["lr"], "times lr_max / (2 strength)")


_BOTH = ("l2", "decoupled_lr")
_WITHIN = "interval within 5% of the formula"
CLAIMS = (
    Claim("C sgd", "Under pure noise SGD keeps a weight at E[w^2] = lr sigma^2 / (strength (2 - lr strength)), by L2 and by "
          "decay x lr alike.", _KOSSON, "noise", size_against_form(["sgd"], _BOTH), within(0.95, 1.05), _WITHIN,
          "E[w^2] = lr sigma^2 / (strength (2 - lr strength))", "equilibrium"),
    Claim("C momentum", "Heavy ball with L2 keeps it at lr sigma^2 (1+mu) / ((1-mu) strength (2(1+mu) - lr strength)).",
          _HERE, "noise", size_against_form(["momentum"], ["l2"]), within(0.95, 1.05), _WITHIN,
          "E[w^2] = lr sigma^2 (1+mu) / ((1-mu) strength (2 (1+mu) - lr strength))", "equilibrium"),
    Claim("C adamw", "AdamW and RMSprop with decay x lr keep it at about lr / (2 strength), whatever the gradient's size, where "
          "gradients arrive with p of at least 100 (1 - sqrt(beta2)).", _KOSSON + "; to all orders derived here", "noise",
          size_against_form(["adam", "rmsprop"], ["decoupled_lr"]), within(0.95, 1.05), _WITHIN,
          "E[w^2] = lr^2 (1-beta1) (1+a beta1) / ((1+beta1) (1-a^2) (1-a beta1)), a = 1 - lr strength", "equilibrium"),
    Claim("C adamw p", "AdamW's size under noise is free of how often gradients arrive, even at twice the critical "
          "p_c = 1 - sqrt(beta2).", _KOSSON + ", read as a statement about every p", "noise", rare_arrivals,
          within(0.95, 1.05), "interval within 5% of the size at p = 1", "", "equilibrium"),
    Claim("C adam l2", "Adam and RMSprop with L2 keep it at about lr sigma sqrt(p) / (2 strength), where the pull stays "
          "below a tenth of the gradients and p is at least 100 (1 - sqrt(beta2)).", _HERE, "noise",
          size_against_form(["adam", "rmsprop"], ["l2"]), within(0.95, 1.05), _WITHIN,
          "E[w^2] = lr r (1+beta1) / (strength (2 (1+beta1) - (1-beta1) lr strength / r)), r = sigma sqrt(p)", "equilibrium"),
    Claim("C sign", "Steps of lr sign(g) with decay x lr keep it at p lr / (strength (2 - lr strength)).", _HERE, "noise",
          size_against_form(["signs"], ["decoupled_lr"]), within(0.95, 1.05), _WITHIN,
          "E[w^2] = p lr / (strength (2 - lr strength))", "equilibrium"),
    Claim("C lion", "Lion at its default betas, being sign descent, keeps it at the size of independent sign steps, "
          "lr / (strength (2 - lr strength)).", "the claim on sign steps, read as one about Lion", "noise", lion_as_signs,
          within(0.95, 1.05), _WITHIN, "", "equilibrium"),
    Claim("C lion arcsine", "Under normal noise at every step Lion keeps it at that size times 1 + 2 sum a^k R_k, R_k being "
          "the correlation of its signs k steps apart.", _HERE + ", by the arcsine law", "noise",
          size_against_form(["lion"], ["decoupled_lr"]), within(0.95, 1.05), _WITHIN,
          "E[w^2] = lr^2 / (1-a^2) (1 + 2 sum_k a^k R_k), R_k = (2/pi) arcsin(rho_k)", "equilibrium"),
    Claim("C order", "Adam with L2 keeps weights smaller than AdamW of equal strength where the gradient's root mean square "
          "sigma sqrt(p) is below 1, and larger where it is above (seen at 0.5 and 2).", _HERE, "noise", order_by_size,
          below(1), "interval below 1 at the size that is nearer to it", "E[w^2] ratio = sigma sqrt(p)", "equilibrium"),
    Claim("C order always", "Adam with L2 keeps weights smaller than AdamW of equal strength, whatever the gradients.",
          "L2 as the stronger regularizer, read as a statement about every gradient", "noise", order_always, below(1),
          "interval below 1 at every size of gradients", "", "equilibrium"),
    Claim("C scale sgd", "Under SGD weights followed by a normalization settle at |w|^4 = lr G^2 / (strength (2 - lr strength)).",
          _LAARHOVEN, "scale_invariant", normalized("norm", "sgd", _BOTH), within(0.999, 1.001), "interval within 0.1%",
          "|w|^4 = lr G^2 / (strength (2 - lr strength))"),
    Claim("C turn sgd", "They then turn by arccos(1 - lr strength) a step.", _LAARHOVEN, "scale_invariant",
          normalized("rotation", "sgd", _BOTH), within(0.999, 1.001), "interval within 0.1%",
          "cos(angle) = 1 - lr strength"),
    Claim("C scale momentum", "Under momentum they settle where SGD of learning rate lr / (1-mu) would, decay x lr counting "
          "1-mu times.", _HERE + ", to leading order", "scale_invariant", normalized("norm", "momentum", _BOTH),
          within(0.97, 1.03), "interval within 3%", "|w|^4 = lr G^2 / (2 strength (1-mu)), by decay / (1-mu)^2"),
    Claim("C scale adamw", "Under AdamW d of them settle at |w| = sqrt(lr d / (2 strength)), at lr strength of at most "
          "(1-beta1)/20.", _KOSSON, "scale_invariant", normalized("norm", "adam", ["decoupled_lr"]), within(0.97, 1.03),
          "interval within 3%", "|w| = sqrt(lr d / (2 strength))"),
    Claim("C turn adamw", "They then turn by sqrt(2 lr strength (1-beta1) / (1+beta1)) a step.", _KOSSON, "scale_invariant",
          normalized("rotation", "adam", ["decoupled_lr"]), within(0.97, 1.03), "interval within 3%",
          "angle = sqrt(2 lr strength (1-beta1) / (1+beta1))"),
    Claim("C scale adam l2", "Under Adam with L2 they settle at |w|^3 = lr G sqrt(d) / (2 strength).", _HERE, "scale_invariant",
          normalized("norm", "adam", ["l2"]), within(0.97, 1.03), "interval within 3%",
          "|w|^3 = lr G sqrt(d) / (2 strength)"),
    Claim("C scale free", "Adam's normalized weights settle at a size free of the gradient's scale, by L2 too: a loss ten times "
          "as large changes nothing.", _KOSSON + ", on AdamW, read as one about Adam with L2", "scale_invariant",
          norm_of_slopes("l2"), within(0.97, 1.03), "interval within 3% of the same norm"),
    Claim("C scale free adamw", "By decoupled decay they do.", _KOSSON, "scale_invariant", norm_of_slopes("decoupled_lr"),
          within(0.97, 1.03), "interval within 3% of the same norm"),
    Claim("D l2 quiet", "Without noise and with a gradient at every step, L2 leads every optimizer, Lion included, to "
          "h w* / (h + strength), within a learning rate.", "calculus", "quadratic",
          quiet_rest(["sgd", "momentum", "rmsprop", "adam", "amsgrad", "adamax", "lion"], "l2"), never_above(1),
          "no distance above lr", "w = h w* / (h + strength)", "minima"),
    Claim("D l2", "Where gradients arrive with probability p = 0.1, L2 holds every optimizer, Lion included, at the minimum of "
          "mean loss and penalty, p h w* / (p h + strength).", "calculus, read as a statement about every optimizer",
          "noisy_quadratic", selective_rest(["sgd", "momentum", "rmsprop", "adam", "amsgrad", "adamax", "lion"]),
          within(0.97, 1.03), "interval within 3% of the formula for the optimizer that is farthest off"),
    Claim("D l2 linear", "It so holds SGD and momentum, whose steps are linear in the gradient.", _HERE, "noisy_quadratic",
          selective_rest(["sgd", "momentum"]), within(0.97, 1.03),
          "interval within 3% of the formula for the one that is farther off", "w = p h w* / (p h + strength)"),
    Claim("D l2 adaptive", "It holds Adam and RMSprop where p is replaced by p - p_c and strength by strength sqrt(beta2).",
          _HERE, "noisy_quadratic", noisy_rest("l2", noisy=False), within(0.97, 1.03), "interval within 3%",
          "w = (p-p_c) h w* / ((p-p_c) h + strength sqrt(beta2))"),
    Claim("D decay", "Without noise decay x lr leads SGD to h w* / (h + strength) and momentum to h w* / (h + strength (1-mu)).",
          _HERE, "quadratic", quiet_rest(["sgd", "momentum"], "decoupled_lr"), never_above(0.01),
          "no distance above lr / 100", "w = h w* / (h + strength (1-mu))", "minima"),
    Claim("D clip", "Without noise decay x lr leads AdamW, RMSprop, Adamax and Lion to w* clipped to +-1/strength, within 15 lr, "
          "in 2000 steps.", _XIE + "; Chen et al. 2023, arXiv 2310.05898", "quadratic", quiet_rest(CLIPPED, "decoupled_lr"),
          never_above(15), "no distance above 15 lr", "w = min(max(w*, -1/strength), 1/strength)", "minima"),
    Claim("D clip off", "It does for w* more than a tenth away from 1/strength; there the gradient fades as the weight arrives, "
          "and the denominator remembers a larger one.", _HERE, "quadratic", quiet_rest(CLIPPED, "decoupled_lr", corner=False),
          never_above(15), "no distance above 15 lr", "w = min(max(w*, -1/strength), 1/strength)", "minima"),
    Claim("D amsgrad", "AMSGrad, which keeps its largest denominator, is not clipped but led to "
          "h w* / (h + strength sqrt(v_max)).", _HERE, "quadratic", quiet_rest(["amsgrad"], "decoupled_lr"), never_above(1),
          "no distance above lr", "w = h w* / (h + strength sqrt(v_max))", "minima"),
    Claim("D noisy", "Where noise dominates the gradients, decay x lr acts on AdamW and RMSprop as L2 of strength times "
          "sqrt(v).", _HERE, "noisy_quadratic", noisy_rest("decoupled_lr", noisy=True), within(0.95, 1.05), _WITHIN,
          "w = p h w* / (p h + strength sigma sqrt(p))"),
    Claim("D stability", "The largest stable lr is 2/(h+strength) for SGD, 2(1+mu)/(h+strength) for momentum with L2 and "
          "2(1+mu)/(h+strength(1+mu)) with decay, and 2(1+beta1)/(1-beta1) P/(h+strength) for Adam of denominator P with L2: "
          "weights shrink at 98% of it and grow at 102%.", "Cohen et al. 2022, arXiv 2207.14484; with strength derived here",
          "stability", stability, never_above(0), "growth in the claimed direction at every setting"),
    Claim("D bound", "No weight of AdamW that starts at 0 exceeds 7.2703/strength, whatever its gradients.", _HERE, "bounded",
          largest_weight("adam", adam_step_bound()), never_above(1), "no weight above the bound",
          "|w| <= (1-beta1) / sqrt((1-beta2) (1 - beta1^2/beta2)) / strength"),
    Claim("D bound unit", "No weight of AdamW that starts at 0 exceeds 1/strength, whatever its gradients.",
          _XIE + ", on where it converges, read as one about every step", "bounded", largest_weight("adam", 1.0),
          never_above(1 + 1e-9), "no weight above the bound"),
    Claim("D bound lion", "No weight of Lion with decay does.", "Chen et al. 2023, arXiv 2310.05898", "bounded",
          largest_weight("lion", 1.0), never_above(1 + 1e-9), "no weight above the bound", "|w| <= 1 / strength"),
    Claim("F decay", "Without a gradient decay x lr leaves prod(1 - lr_t strength) of a weight under every rule and schedule.",
          "algebra", "scheduled", scheduled_decay, never_above(1e-9), "every path within 1e-9",
          "-ln(w/w0) = -sum ln(1 - lr_t strength)", "schedules"),
    Claim("F average", "Under decay x lr a weight is a running mean of its updates over -strength, of memory 1/(lr strength) "
          "steps, under every rule.", "Wang, Aitchison 2024, arXiv 2405.13698", "scheduled", averaged_updates,
          never_above(1e-9), "every weight within 1e-9", "w_T = (1-x)^T w_0 - sum_t x (1-x)^(T-1-t) u_t / strength"),
    Claim("F floor", "Without a gradient fresh Adam with L2 stays above w0 - sum lr_t until it changes sign.", _HERE, "scheduled",
          scheduled_floor(["adam"]), never_above(1e-9), "no path below the line", "w_T >= w0 - sum lr_t", "schedules"),
    Claim("F floor adaptive", "So does every adaptive rule, RMSprop and Adamax included.", "F floor, read as one about them all",
          "scheduled", scheduled_floor(["rmsprop", "adam", "amsgrad", "adamax", "lion"]), never_above(1e-9),
          "no path below the line", "", "schedules"),
    Claim("F follow", "Under a cosine to 0 AdamW's weights keep the size of the rate's equilibrium, lr_t / (2 strength), at every "
          "step (middle half, lr strength from 0.05 on, 800 steps).", _KOSSON + ", read as one about every step of a schedule",
          "scheduled", followed_size, within(0.95, 1.05), "interval within 5% of it", "", "schedules"),
    Claim("F lag", "There their size trails by about 1/(2 lr_t strength) steps.", _DEFAZIO + "; the steps derived here",
          "scheduled", lag_steps, within(0.8, 1.2), "interval within a fifth of it", "lag = 1 / (2 lr_t strength)", "schedules"),
    Claim("F recursion", "It follows E <- (1 - lr_t strength)^2 E + lr_t^2 step by step.", _DEFAZIO + "; derived here",
          "scheduled", recursion, within(0.95, 1.05), _WITHIN, "E <- (1 - lr_t strength)^2 E + lr_t^2", "schedules"),
    Claim("F corrected", "Decay of lr_t^2 strength / lr_max keeps it at lr_max / (2 strength) down to the cosine's end.", _DEFAZIO,
          "scheduled", corrected_size, within(0.95, 1.05), "interval within 5% of it", "E[w^2] = lr_max / (2 strength)",
          "schedules"),
)  # fmt: skip
