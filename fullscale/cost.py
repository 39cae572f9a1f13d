"""What a network costs: its parameters, and its multiply-adds for one image."""

from __future__ import annotations

from fullscale.models import Chain, NetConfig


def parameters(net: Chain) -> int:
    """The number of trained numbers in a network; BatchNorm's running statistics are not among them."""
    return sum(parameter.numel() for parameter in net.parameters())


def multiply_adds(config: NetConfig, height: int, width: int) -> int:
    """Multiply-adds of the convolutions and the head for one image of `height` x `width` pixels.

    BatchNorm, ReLU and pooling are not counted. Products with the zeros of the padding are, as is usual.
    """
    total = 0
    inputs = config.in_channels
    for filters, stride in zip(config.channels, config.strides, strict=True):
        # A 3x3 window under padding 1 fits as often as the stride does, the last time perhaps cut short.
        height, width = -(-height // stride), -(-width // stride)
        total += 9 * inputs * filters * height * width
        inputs = filters
    return total + inputs * config.classes
