"""How many filters are inactive, and how selective each one is: the measures of the paper.

Source: Mehta, Kim, Theobalt, "Implicit Filter Sparsification in Convolutional Neural Networks" (arXiv 1905.04967),
long form arXiv 1811.12495. One pass over the training set gives all of it, at any threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from dynamics.errors import InputError
from fullscale.models import Chain

INACTIVE_ACTIVATION = 1e-12
INACTIVE_SCALE = 1e-3
SELECTIVE_BELOW = 1e-3


class Shares(NamedTuple):
    """The share of filters that are inactive at one threshold, by each of the two measures."""

    threshold: float
    by_activation: float
    by_scale: float


@dataclass(frozen=True, eq=False)
class Activity:
    """What every filter of a network did on one set of images.

    Each field holds one float64 tensor a layer, of shape (filters,), on the CPU.
    peak: largest activation after ReLU, over images and plane; gamma, beta: BatchNorm's scale and shift;
    selectivity: share of the images whose largest activation over the plane stays below 1e-3 of the filter's peak;
    1 for a filter that never fires.
    """

    peak: tuple[Tensor, ...]
    gamma: tuple[Tensor, ...]
    beta: tuple[Tensor, ...]
    selectivity: tuple[Tensor, ...]

    def inactive_by_activation(self, threshold: float = INACTIVE_ACTIVATION) -> float:
        """The share of all filters whose peak is below `threshold`. InputError unless it is positive and finite."""
        return _share(self.peak, threshold)

    def inactive_by_scale(self, threshold: float = INACTIVE_SCALE) -> float:
        """The share of all filters whose abs(gamma) is below `threshold`. InputError as above."""
        return _share(self.gamma, threshold)

    def layers_by_activation(self, threshold: float = INACTIVE_ACTIVATION) -> tuple[float, ...]:
        """`inactive_by_activation` of each layer by itself."""
        return tuple(_share((peak,), threshold) for peak in self.peak)

    def layers_by_scale(self, threshold: float = INACTIVE_SCALE) -> tuple[float, ...]:
        """`inactive_by_scale` of each layer by itself."""
        return tuple(_share((gamma,), threshold) for gamma in self.gamma)

    def sweep(self, thresholds: Iterable[float]) -> list[Shares]:
        """Both measures, over all filters, at each of the thresholds. InputError as above."""
        return [Shares(t, self.inactive_by_activation(t), self.inactive_by_scale(t)) for t in thresholds]


def measure(net: Chain, images: Tensor, batch: int = 1024) -> Activity:
    """The activity of every filter over `images` (N, C, H, W), normalized, in evaluation mode.

    Takes one pass of `batch` images at a time, on the network's device and in its precision, and holds N x filters
    numbers besides. The network comes back in the mode it was in.
    Raises InputError for images that do not fit the network and for a network that has diverged.
    """
    parts = batches(net, images, batch)
    _check_finite(net)
    state = net.state_dict()
    highest = [
        torch.empty(len(images), filters, dtype=net.head.weight.dtype, device=net.head.weight.device)
        for filters in net.config.channels
    ]
    done = 0
    with evaluation(net):
        for part in parts:
            x = part
            # Only the end of the pass knows a filter's peak, so each image's largest activation is kept until then.
            for block, rows in zip(net.blocks, highest, strict=True):
                x = block(x)
                # ReLU left nothing negative, so the largest absolute activation is the largest one.
                rows[done : done + len(x)] = x.amax(dim=(2, 3))
            done += len(x)

    peaks, selectivities = [], []
    for layer, rows in enumerate(highest):
        peak = rows.amax(dim=0)
        if not peak.isfinite().all():
            raise InputError(f"activations of layer {layer} are not finite: the network diverged, or the images did")
        selective = (rows / peak < SELECTIVE_BELOW).double().mean(dim=0)
        peaks.append(peak.double().cpu())
        selectivities.append(torch.where(peak > 0, selective, 1.0).cpu())
    layers = range(len(highest))
    return Activity(
        peak=tuple(peaks),
        # Copies, since the network trains on.
        gamma=tuple(state[f"blocks.{i}.norm.weight"].to("cpu", torch.float64, copy=True) for i in layers),
        beta=tuple(state[f"blocks.{i}.norm.bias"].to("cpu", torch.float64, copy=True) for i in layers),
        selectivity=tuple(selectivities),
    )


@contextmanager
def evaluation(net: Chain) -> Iterator[None]:
    """Within it the network is in evaluation mode and no gradient is kept; each module's own mode comes back after."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def batches(net: Chain, images: Tensor, size: int = 1024) -> Iterator[Tensor]:
    """`images` (N, C, H, W) in slices of `size`, moved to the network's device and precision.

    Raises InputError for a size below 1, for no images, and for images that are not floating point numbers of the
    network's channels.
    """
    if size < 1:
        raise InputError(f"batch {size}: a positive whole number is accepted")
    if images.ndim != 4 or images.shape[1] != net.config.in_channels or images.numel() == 0:
        raise InputError(f"images of shape {tuple(images.shape)}: (N, {net.config.in_channels}, H, W) is accepted")
    if not images.is_floating_point():
        raise InputError(f"images of type {images.dtype}: normalized floating point images are accepted")
    return (images[i : i + size].to(net.head.weight) for i in range(0, len(images), size))


def _check_finite(net: Chain) -> None:
    # ReLU hides what went wrong: a running mean of infinity looks like a filter that is merely dead.
    for name, tensor in net.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(f"{name} is not finite: the network diverged")


def _share(values: tuple[Tensor, ...], threshold: float) -> float:
    if not 0 < threshold < inf:
        raise InputError(f"threshold {threshold}: a positive finite number is accepted")
    every = torch.cat(values)
    return int((every.abs() < threshold).sum()) / len(every)
