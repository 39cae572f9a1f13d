"""Remove the filters that do nothing, without changing what the network computes, and certify that it did not.

The inactive filters are those of Mehta, Kim, Theobalt (arXiv 1905.04967). Their removal is exact only if BatchNorm's
shift is heeded: a filter of zero scale and positive shift puts out a constant, which the next layer sees everywhere but
in its zero padding. So no bias can stand in for it. One constant channel stays, and the others join its weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from dynamics.errors import InputError
from fullscale.checkpoint import rebuild
from fullscale.cost import multiply_adds, parameters
from fullscale.measure import INACTIVE_ACTIVATION, Activity, batches, evaluation
from fullscale.models import Chain, NetConfig

ZERO_SCALE = 1e-12


@dataclass(frozen=True)
class LayerRemoval:
    """One layer: its filters before, how many fell into each class, and the indices of those that remain.

    A dead filter may be among the kept: the one that carries a layer's constants, or the last of a layer.
    """

    filters: int
    provably_dead: int
    constant: int
    empirically_dead: int
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Removal:
    """What was removed, layer by layer."""

    layers: tuple[LayerRemoval, ...]

    @property
    def share(self) -> float:
        """The share of all filters that were removed."""
        return 1 - sum(len(layer.kept) for layer in self.layers) / sum(layer.filters for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Certificate:
    """How far a smaller network's outputs are from the original's, and what it saves.

    difference: largest absolute difference of any output; relative: that, divided by the original's largest absolute
    output. error: share of held-out images misclassified. multiply_adds: for one image of the held-out size.
    A change in the order of summation alone shows as about 1e-6 relative in float32, 1e-15 in float64.
    """

    held_out_images: int
    held_out_difference: float
    held_out_relative: float
    random_images: int
    random_seed: int
    random_difference: float
    random_relative: float
    error_before: float
    error_after: float
    parameters_before: int
    parameters_after: int
    multiply_adds_before: int
    multiply_adds_after: int

    def as_dict(self) -> dict[str, Any]:
        """The certificate as plain data, ready for JSON."""
        return asdict(self)


def remove_dead(net: Chain, activity: Activity) -> tuple[Chain, Removal]:
    """A smaller network that computes the same as `net`, and what was removed; `activity` is `measure(net, images)`.

    provably dead: gamma is 0 and beta <= 0. Puts out 0 for every input; removed.
    constant: gamma is 0 and beta > 0. Puts out beta for every input; merged into the weights of the layer's largest
    constant, which stays, or, after the last layer, where pooling leaves no border, into the head's bias.
    empirically dead: any other filter whose peak in `activity` is below 1e-12. Removed, which is exact on the measured
    images and on no others.
    Here gamma is 0 if abs(gamma) <= 1e-12, so that scales that underflowed count; `certify` measures what that costs.
    A layer that would lose every filter keeps its first one as it is.

    The smaller network shares no memory with `net` and takes over its device, precision, modes and requires_grad flags;
    `net` is left as it was.
    Raises InputError for an activity that is not this network's.
    """
    state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    _check_same_network(state, activity)
    last = len(net.config.channels) - 1
    layers = []
    for i, filters in enumerate(net.config.channels):
        gamma, beta, peak = activity.gamma[i], activity.beta[i], activity.peak[i]
        flat = gamma.abs() <= ZERO_SCALE
        dead, constant, silent = flat & (beta <= 0), flat & (beta > 0), ~flat & (peak < INACTIVE_ACTIVATION)
        keep = ~(dead | constant | silent)
        if i < last and constant.any():
            keep[torch.where(constant, beta, 0).argmax()] = True
        elif not keep.any():
            keep[0] = True
        _fold(state, i, last, beta, constant, keep)
        kept = keep.nonzero().flatten()
        _slice(state, i, last, kept)
        layers.append(
            LayerRemoval(filters, int(dead.sum()), int(constant.sum()), int(silent.sum()), tuple(kept.tolist()))
        )

    channels = tuple(len(layer.kept) for layer in layers)
    smaller = rebuild(NetConfig(channels, net.config.strides, net.config.in_channels, net.config.classes), state)
    for new, old in zip(smaller.modules(), net.modules(), strict=True):
        new.training = old.training
    for parameter, original in zip(smaller.parameters(), net.parameters(), strict=True):
        parameter.requires_grad_(original.requires_grad)
    return smaller, Removal(tuple(layers))


def certify(
    before: Chain, after: Chain, held_out: Tensor, labels: Tensor, seed: int = 0, random_images: int = 256
) -> Certificate:
    """Compare two networks on held-out images (N, C, H, W) with labels (N,), and on as large standard normal noise.

    Both are evaluated in evaluation mode and come back in the mode they were in. The noise is drawn from `seed` alone.
    Raises InputError for images or labels that do not fit the networks, for networks that do not fit each other, and
    for outputs that are not finite.
    """
    if labels.shape != held_out.shape[:1] or labels.is_floating_point():
        raise InputError(f"labels {labels.dtype} {tuple(labels.shape)}: one whole number for each image is accepted")
    classes = before.config.classes
    if classes != after.config.classes:
        raise InputError(f"networks of {classes} and {after.config.classes} classes cannot be compared")
    if not ((labels >= 0) & (labels < classes)).all():
        raise InputError(f"labels from {int(labels.min())} to {int(labels.max())}: 0 to {classes - 1} are accepted")
    if random_images < 1:
        raise InputError(f"{random_images} random images: a positive whole number is accepted")
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn(random_images, *held_out.shape[1:], generator=source, dtype=torch.float64)

    old, new = _outputs(before, held_out), _outputs(after, held_out)
    difference, relative = _distance(old, new)
    noise_difference, noise_relative = _distance(_outputs(before, noise), _outputs(after, noise))
    height, width = held_out.shape[2:]
    return Certificate(
        held_out_images=len(held_out),
        held_out_difference=difference,
        held_out_relative=relative,
        random_images=random_images,
        random_seed=seed,
        random_difference=noise_difference,
        random_relative=noise_relative,
        error_before=_error(old, labels),
        error_after=_error(new, labels),
        parameters_before=parameters(before),
        parameters_after=parameters(after),
        multiply_adds_before=multiply_adds(before.config, height, width),
        multiply_adds_after=multiply_adds(after.config, height, width),
    )


def _check_same_network(state: dict[str, Tensor], activity: Activity) -> None:
    measured = {f"blocks.{i}.norm.weight": gamma for i, gamma in enumerate(activity.gamma)}
    measured |= {f"blocks.{i}.norm.bias": beta for i, beta in enumerate(activity.beta)}
    norms = {name for name in state if name.endswith(("norm.weight", "norm.bias"))}
    if norms != measured.keys() or any(not torch.equal(state[n].double().cpu(), measured[n]) for n in norms):
        raise InputError("the activity was measured on another network: measure this one")


def _fold(state: dict[str, Tensor], i: int, last: int, beta: Tensor, constant: Tensor, keep: Tensor) -> None:
    """Give what the constants of layer `i` that go contribute to those that take them over."""
    gone = (constant & ~keep).nonzero().flatten()
    if not len(gone):
        return
    # Summed in float64, rounded once.
    if i == last:
        weight, bias = state["head.weight"], state["head.bias"]
        share = weight.double().cpu()[:, gone] @ beta[gone]
        state["head.bias"] = (bias.double().cpu() + share).to(bias)
    else:
        name = f"blocks.{i + 1}.conv.weight"
        weight = state[name].double().cpu()
        # The largest constant carries the rest, so that no ratio exceeds 1.
        carrier = int((constant & keep).nonzero())
        weight[:, carrier] += torch.einsum("oihw,i->ohw", weight[:, gone], beta[gone] / beta[carrier])
        state[name] = weight.to(state[name])


def _slice(state: dict[str, Tensor], i: int, last: int, kept: Tensor) -> None:
    """Keep these filters of layer `i`, and the inputs that read them."""
    for name in ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        own = f"blocks.{i}.{name}"
        state[own] = state[own][kept.to(state[own].device)]
    reader = "head.weight" if i == last else f"blocks.{i + 1}.conv.weight"
    state[reader] = state[reader][:, kept.to(state[reader].device)]


def _outputs(net: Chain, images: Tensor) -> Tensor:
    with evaluation(net):
        outputs = torch.cat([net(x) for x in batches(net, images)]).double().cpu()
    if not outputs.isfinite().all():
        raise InputError("outputs are not finite: the network diverged, or the images did")
    return outputs


def _distance(old: Tensor, new: Tensor) -> tuple[float, float]:
    difference, scale = float((old - new).abs().max()), float(old.abs().max())
    return difference, difference / scale if scale > 0 else (0.0 if difference == 0 else inf)


def _error(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(dim=1) != labels.cpu()).double().mean())
