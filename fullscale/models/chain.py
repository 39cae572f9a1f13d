"""Networks as chains of convolution, BatchNorm and ReLU, rebuilt from a short configuration.

Source: BasicNet of Mehta, Kim, Theobalt, "Implicit Filter Sparsification in Convolutional Neural Networks"
(arXiv 1905.04967): seven 3x3 convolutions, each with BatchNorm and ReLU, then a small fully connected head.
The paper does not say where the network strides nor what its head is. Chosen here: stride 2 at the second, fourth
and sixth convolution, zero padding 1, global average pooling, one linear layer. The convolutions carry no bias, since
BatchNorm would subtract it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from dynamics.errors import InputError
from dynamics.given import shown, whole
from fullscale.spec import check_width

WIDTHS = (64, 128, 128, 256, 256, 512, 512)
STRIDES = (1, 2, 1, 2, 1, 2, 1)
# Four times the layers of the deepest known network: a chain without shortcuts learns nothing long before, and a file is
# to be read within about a second, in which each layer's shapes are run through.
DEEPEST = 256
# Of channels, classes and strides: beyond it a number is a slip of the hand, and products of three still fit 64 bits.
LARGEST = 2**20


@dataclass(frozen=True)
class NetConfig:
    """All that is needed to rebuild a network around its weights.

    channels: filters of each convolution before any was removed; strides: of each convolution (same length);
    in_channels: of the images; classes: number of outputs. Raises InputError for more than 256 layers, and for what is no
    whole number from 1 to 2^20.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    in_channels: int
    classes: int

    def __post_init__(self) -> None:
        for name in ("channels", "strides"):
            given = getattr(self, name)
            if not isinstance(given, tuple | list) or not 0 < len(given) <= DEEPEST:
                raise InputError(f"{name} {shown(given)}: one number a layer, of up to {DEEPEST:,} layers, is accepted")
            numbers = tuple(whole(name, value, 1, LARGEST) for value in given)
            object.__setattr__(self, name, numbers)
        if len(self.channels) != len(self.strides):
            raise InputError(
                f"{len(self.channels)} channel counts and {len(self.strides)} strides: one of each a layer is needed"
            )
        for name in ("in_channels", "classes"):
            whole(name, getattr(self, name), 1, LARGEST)

    def as_dict(self) -> dict[str, Any]:
        """The configuration as plain data, ready for JSON."""
        return asdict(self)


class Block(nn.Module):
    """One convolution with its BatchNorm and ReLU: (N, C, H, W) -> (N, filters, H', W')."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, filters, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, filters, H', W'), never negative."""
        return torch.relu(self.norm(self.conv(x)))


class Chain(nn.Module):
    """Blocks one after the other, global average pooling, a linear head.

    forward: images (N, C, H, W) -> logits (N, classes).
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        inputs = (config.in_channels, *config.channels[:-1])
        self.blocks = nn.ModuleList(
            Block(i, o, s) for i, o, s in zip(inputs, config.channels, config.strides, strict=True)
        )
        self.head = nn.Linear(config.channels[-1], config.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def basicnet(width: float = 1.0, in_channels: int = 3, classes: int = 10) -> Chain:
    """BasicNet with every convolution's filters multiplied by `width` (rounded, at least one).

    Raises InputError for a width outside (0, 16].
    """
    check_width(width)
    channels = tuple(max(1, round(width * filters)) for filters in WIDTHS)
    return Chain(NetConfig(channels, STRIDES, in_channels, classes))
