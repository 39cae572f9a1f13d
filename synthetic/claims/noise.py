"""Section C: the size that weights keep under noise, alone and where a normalization follows them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from evidence.claim import Estimate, below, mean_interval, within
from evidence.registry import claim
from evidence.sources import DERIVED, KOSSON
from synthetic.claims.cells import each_cell

if TYPE_CHECKING:
    import xarray as xr

_LAARHOVEN = "van Laarhoven 2017, arXiv 1706.05350"
_BOTH = ("l2", "decoupled_lr")
_noise = partial(claim, experiment="noise", figure="equilibrium")
_normalized = partial(claim, experiment="scale_invariant")


@_noise(
    "C sgd",
    sentence="Under pure noise SGD keeps a weight at E[w^2] = lr sigma^2 / (strength (2 - lr strength)), with L2 and with "
    "decay x lr alike.",
    source=KOSSON,
    decision=within(0.95, 1.05),
    formula="E[w^2] = lr sigma^2 / (strength (2 - lr strength))",
    optimizers=["sgd"],
    couplings=_BOTH,
)
@_noise(
    "C momentum",
    sentence="Under pure noise heavy ball with L2 keeps a weight at E[w^2] = lr sigma^2 (1+mu) / ((1-mu) strength (2 (1+mu) "
    "- lr strength)).",
    source=DERIVED,
    decision=within(0.95, 1.05),
    formula="E[w^2] = lr sigma^2 (1+mu) / ((1-mu) strength (2 (1+mu) - lr strength))",
    optimizers=["momentum"],
    couplings=["l2"],
)
@_noise(
    "C adamw",
    sentence="Under pure noise AdamW and RMSprop with decay x lr keep a weight at E[w^2] of about lr / (2 strength), whatever "
    "the gradient's size, where gradients arrive with a probability p of at least 100 (1 - sqrt(beta2)).",
    source=KOSSON + "; to all orders derived here",
    decision=within(0.95, 1.05),
    formula="E[w^2] = lr^2 (1-beta1) (1+a beta1) / ((1+beta1) (1-a^2) (1-a beta1)), a = 1 - lr strength",
    optimizers=["adam", "rmsprop"],
    couplings=["decoupled_lr"],
)
@_noise(
    "C adam l2",
    sentence="Under pure noise Adam and RMSprop with L2 keep a weight at E[w^2] of about lr sigma sqrt(p) / (2 strength), "
    "where the pull stays below a tenth of the gradients and their probability p is at least 100 (1 - sqrt(beta2)).",
    source=DERIVED,
    decision=within(0.95, 1.05),
    formula="E[w^2] = lr r (1+beta1) / (strength (2 (1+beta1) - (1-beta1) lr strength / r)), r = sigma sqrt(p)",
    optimizers=["adam", "rmsprop"],
    couplings=["l2"],
)
@_noise(
    "C sign",
    sentence="Under pure noise steps of lr sign(g) with decay x lr keep a weight at E[w^2] = p lr / (strength (2 - lr "
    "strength)), p being the probability of a gradient.",
    source=DERIVED,
    decision=within(0.95, 1.05),
    formula="E[w^2] = p lr / (strength (2 - lr strength))",
    optimizers=["signs"],
    couplings=["decoupled_lr"],
)
@_noise(
    "C lion arcsine",
    sentence="Under normal noise at every step Lion keeps a weight at the E[w^2] of independent sign steps times 1 + 2 sum "
    "a^k R_k, where R_k is the correlation of its signs k steps apart and a = 1 - lr strength.",
    source=DERIVED + ", by the arcsine law",
    decision=within(0.95, 1.05),
    formula="E[w^2] = lr^2 / (1-a^2) (1 + 2 sum_k a^k R_k), R_k = (2/pi) arcsin(rho_k)",
    optimizers=["lion"],
    couplings=["decoupled_lr"],
)
def size_against_form(data: xr.Dataset, optimizers: Sequence[str], couplings: Sequence[str]) -> dict[str, Estimate]:
    """E[w^2] simulated / predicted where there is a closed form and p >= 100 (1 - sqrt(beta2)), at the largest strength
    within the form's regime: there most memories fit into the run. A cell an optimizer, coupling, size of the gradient and
    p; one sample a seed."""
    common = data.arrival.values[data.arrival.values >= 100 * data.attrs["critical"]]
    chosen = data.sel(optimizer=list(optimizers), coupling=list(couplings), arrival=common)
    ratio = chosen["mean_square"] / chosen["predicted"]
    weak, strong = ratio.isel(strength=0, drop=True), ratio.isel(strength=-1, drop=True)
    return each_cell(strong.fillna(weak), "simulated / predicted")


@_noise("C adamw p", source=KOSSON + ", read as a statement about every p", decision=within(0.95, 1.05))
def rare_arrivals(data: xr.Dataset) -> dict[str, Estimate]:
    """Under pure noise AdamW's E[w^2] does not depend on how often gradients arrive, down to twice the critical probability
    p_c = 1 - sqrt(beta2).

    E[w^2] where gradients are rarest / where they always come, under AdamW, a cell a strength and size of the gradient.
    """
    square = data["mean_square"].sel(optimizer="adam", coupling="decoupled_lr")
    rare, always = (square.isel(arrival=k, drop=True) for k in (0, -1))
    return each_cell(rare / always, "of the mean square at p = 1")


@_noise("C lion", source="the claim on sign steps, read as one about Lion", decision=within(0.95, 1.05))
def lion_as_signs(data: xr.Dataset) -> dict[str, Estimate]:
    """Under pure noise Lion at its default betas keeps a weight at the size of independent sign steps, E[w^2] = lr /
    (strength (2 - lr strength)).

    Lion's E[w^2] / that of steps of independent signs, p = 1, decay x lr, a cell a strength and size of the gradient.
    """
    square = data.sel(coupling="decoupled_lr", arrival=1.0)
    ratio = square["mean_square"].sel(optimizer="lion") / square["predicted"].sel(optimizer="signs")
    return each_cell(ratio, "times that of independent signs")


def _order(data: xr.Dataset) -> xr.DataArray:
    """E[w^2] of Adam + L2 / of AdamW: (strength, size, arrival, seed)."""
    square = data["mean_square"].sel(optimizer="adam")
    return square.sel(coupling="l2", drop=True) / square.sel(coupling="decoupled_lr", drop=True)


@_noise("C order", source=DERIVED, decision=below(1), formula="E[w^2] ratio = sigma sqrt(p)")
def order_by_size(data: xr.Dataset) -> dict[str, Estimate]:
    """Adam with L2 keeps weights smaller than AdamW of equal strength where the gradient's root mean square sigma sqrt(p)
    is below 1, and larger where it is above 1 (seen at 0.5 and 2).

    E[w^2] of Adam + L2 / of AdamW, turned round where the gradient's root mean square is above 1: a cell a strength, size
    of the gradient and p, one sample a seed.
    """
    import xarray as xr

    ratio = _order(data)
    return each_cell(xr.where(ratio["size"] < 1, ratio, 1 / ratio), "of the mean square that is claimed larger")


@_noise(
    "C order always",
    source="L2 as the stronger regularizer, read as a statement about every gradient",
    decision=below(1),
)
def order_always(data: xr.Dataset) -> dict[str, Estimate]:
    """Adam with L2 keeps weights smaller than AdamW of equal strength, whatever the gradients.

    E[w^2] of Adam + L2 / of AdamW: a cell a strength, size of the gradient and p, one sample a seed.
    """
    return each_cell(_order(data), "Adam + L2 / AdamW")


@_normalized(
    "C scale sgd",
    sentence="Under SGD weights followed by a normalization settle at |w|^4 = lr G^2 / (strength (2 - lr strength)).",
    source=_LAARHOVEN,
    decision=within(0.999, 1.001),
    formula="|w|^4 = lr G^2 / (strength (2 - lr strength))",
    what="norm",
    optimizer="sgd",
    couplings=_BOTH,
)
@_normalized(
    "C turn sgd",
    sentence="Under SGD weights followed by a normalization, once settled, turn by arccos(1 - lr strength) a step.",
    source=_LAARHOVEN,
    decision=within(0.999, 1.001),
    formula="cos(angle) = 1 - lr strength",
    what="rotation",
    optimizer="sgd",
    couplings=_BOTH,
)
@_normalized(
    "C scale momentum",
    sentence="Under momentum weights followed by a normalization settle where SGD of learning rate lr / (1-mu) would, decay "
    "x lr counting 1-mu times.",
    source=DERIVED + ", to leading order",
    decision=within(0.97, 1.03),
    formula="|w|^4 = lr G^2 / (2 strength (1-mu)), by decay / (1-mu)^2",
    what="norm",
    optimizer="momentum",
    couplings=_BOTH,
)
@_normalized(
    "C scale adamw",
    sentence="Under AdamW d weights followed by a normalization settle at |w| = sqrt(lr d / (2 strength)), at lr strength of "
    "at most (1-beta1)/20.",
    source=KOSSON,
    decision=within(0.97, 1.03),
    formula="|w| = sqrt(lr d / (2 strength))",
    what="norm",
    optimizer="adam",
    couplings=["decoupled_lr"],
)
@_normalized(
    "C turn adamw",
    sentence="Under AdamW weights followed by a normalization, once settled, turn by sqrt(2 lr strength (1-beta1) / "
    "(1+beta1)) a step.",
    source=KOSSON,
    decision=within(0.97, 1.03),
    formula="angle = sqrt(2 lr strength (1-beta1) / (1+beta1))",
    what="rotation",
    optimizer="adam",
    couplings=["decoupled_lr"],
)
@_normalized(
    "C scale adam l2",
    sentence="Under Adam with L2 d weights followed by a normalization settle at |w|^3 = lr G sqrt(d) / (2 strength).",
    source=DERIVED,
    decision=within(0.97, 1.03),
    formula="|w|^3 = lr G sqrt(d) / (2 strength)",
    what="norm",
    optimizer="adam",
    couplings=["l2"],
)
def normalized(data: xr.Dataset, what: str, optimizer: str, couplings: Sequence[str]) -> dict[str, Estimate]:
    """The norm of the weights, or the angle by which they turn a step, simulated / predicted; a cell a coupling and slope of the
    loss, one sample a seed."""
    chosen = data.sel(optimizer=optimizer, coupling=list(couplings))
    return each_cell(chosen[what] / chosen[f"predicted_{what}"], "simulated / predicted")


@_normalized(
    "C scale free",
    sentence="Under Adam with L2 weights followed by a normalization settle at a size that does not depend on the gradient's "
    "scale: a loss ten times as large changes nothing.",
    source=KOSSON + ", on AdamW, read as one about Adam with L2",
    decision=within(0.97, 1.03),
    coupling="l2",
)
@_normalized(
    "C scale free adamw",
    sentence="Under AdamW weights followed by a normalization settle at a size that does not depend on the gradient's scale: "
    "a loss ten times as large changes nothing.",
    source=KOSSON,
    decision=within(0.97, 1.03),
    coupling="decoupled_lr",
)
def norm_of_slopes(data: xr.Dataset, coupling: str) -> Estimate:
    """Adam's norm at the largest slope of the loss / at the smallest, one sample a seed."""
    norm = data["norm"].sel(optimizer="adam", coupling=coupling)
    return mean_interval((norm.isel(slope=-1) / norm.isel(slope=0)).values, "times the norm", "seeds")
