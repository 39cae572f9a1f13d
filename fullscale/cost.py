"""What a network costs: its parameters, and its multiply-adds for one image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fullscale.graph import evaluation, shell


def parameters(net: nn.Module) -> int:
    """The number of trained numbers in a network; BatchNorm's running statistics are not among them."""
    return sum(parameter.numel() for parameter in net.parameters())


def multiply_adds(net: nn.Module, images: Tensor) -> int:
    """Multiply-adds of the convolutions and linear layers for one image of the shape of `images` (N, C, H, W).

    BatchNorm, activations and pooling are not counted. Products with the zeros of the padding are, as is usual.
    """
    total = 0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        # Each output is a sum over the inputs that one filter reads.
        weight: Tensor = module.weight  # type: ignore[assignment]
        total += output.numel() * (weight.numel() // len(weight))

    bare = shell(net)
    for module in bare.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            module.register_forward_hook(count)
    first = next(net.parameters(), images)
    with evaluation(bare):
        bare(torch.empty(1, *images.shape[1:], device="meta", dtype=first.dtype))
    return total
