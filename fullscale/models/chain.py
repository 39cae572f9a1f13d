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
from fullscale.spec import check_width

WIDTHS = (64, 128, 128, 256, 256, 512, 512)
STRIDES = (1, 2, 1, 2, 1, 2, 1)


@dataclass(frozen=True)
class NetConfig:
    """All that is needed to rebuild a network around its weights.

    channels: filters of each convolution before any was removed; strides: of each convolution (same length);
    in_channels: of the images; classes: number of outputs.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    in_channels: int
    classes: int

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.strides) or not self.channels:
            raise InputError(
                f"{len(self.channels)} channel counts and {len(self.strides)} strides: one of each a layer is needed"
            )
        for value in (*self.channels, *self.strides, self.in_channels, self.classes):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{value!r} in a network's configuration: positive whole numbers are accepted")

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
