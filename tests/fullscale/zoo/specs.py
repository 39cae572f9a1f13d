"""The blocks of random networks: each spec makes a module for the channels and the size that it meets, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .tables import ACTIVATIONS, APART, ELEMENTS, JOINS, NORMS, POOLS

# Number of channels, and height or width, whichever is less.
Place = tuple[int, int]


class Do(nn.Module):
    """A function of a tensor and of some modules."""

    def __init__(self, apply: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.parts, self.apply_ = nn.ModuleList(parts), apply

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_(x, *self.parts)


@dataclass(frozen=True)
class Conv:
    """filters 0: as many as come in."""

    filters: int = 6
    kernel: int = 3
    stride: int = 1
    padding: int | str = 1
    mode: str = "zeros"
    groups: int = 1
    dilation: int = 1
    bias: bool = True
    norm: str = "batch"
    act: str = "relu"

    def build(self, at: Place, keep: bool = False) -> nn.Module:
        """keep: the size and, with filters 0, the number of channels."""
        inputs, size = at
        filters = self.filters or inputs
        kernel = self.kernel if size > 5 else 1
        padding: int | str = self.padding if kernel > 1 else 0
        if keep and kernel > 1:
            padding = self.dilation * (kernel // 2)
        stride = 1 if keep or padding == "same" or size < 8 else self.stride
        conv = nn.Conv2d(
            inputs, filters, kernel, stride, padding, self.dilation if size > 8 or keep else 1,
            gcd(self.groups, inputs, filters), self.bias, self.mode if padding else "zeros",
        )  # fmt: skip
        return nn.Sequential(conv, NORMS[self.norm](filters), ACTIVATIONS[self.act](filters))


@dataclass(frozen=True)
class Depthwise:
    multiplier: int = 1
    padding: int = 1
    norm: str = "batch"
    act: str = "relu"

    def build(self, at: Place) -> nn.Module:
        inputs, size = at
        filters = inputs * (self.multiplier if inputs <= 8 else 1)
        conv = nn.Conv2d(inputs, filters, 3, padding=self.padding if size > 5 else 1, groups=inputs)
        return nn.Sequential(conv, NORMS[self.norm](filters), ACTIVATIONS[self.act](filters))


@dataclass(frozen=True)
class Transposed:
    filters: int = 6
    kernel: int = 2
    groups: int = 1
    norm: str = "batch"
    act: str = "relu"

    def build(self, at: Place) -> nn.Module:
        stride = 2 if at[1] < 8 else 1
        conv = nn.ConvTranspose2d(
            at[0], self.filters, self.kernel, stride, groups=gcd(self.groups, at[0], self.filters)
        )
        return nn.Sequential(conv, NORMS[self.norm](self.filters), ACTIVATIONS[self.act](self.filters))


@dataclass(frozen=True)
class Pool:
    kind: str = "max"

    def build(self, at: Place) -> nn.Module:
        larger = self.kind in ("nearest", "bilinear")
        return nn.Identity() if (at[1] > 8 if larger else at[1] < 4) else POOLS[self.kind]()


@dataclass(frozen=True)
class Residual:
    """A sum with what went in; before: norm and ReLU stand in front."""

    body: tuple[Conv, ...]
    before: bool = False
    after: str = "relu"

    def build(self, at: Place) -> nn.Module:
        ways = [*self.body[:-1], Conv(0, 3, norm="none" if self.before else self.body[-1].norm, act="none")]
        body = chain(ways, at, nn.BatchNorm2d(at[0]), nn.ReLU()) if self.before else chain(ways, at)
        return Do(lambda x, body, after: after(body(x) + x), body, ACTIVATIONS[self.after](at[0]))


@dataclass(frozen=True)
class Dense:
    growth: int = 3
    layers: int = 2

    def build(self, at: Place) -> nn.Module:
        parts: list[nn.Module] = []
        for i in range(self.layers):
            c = at[0] + i * self.growth
            parts.append(nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, self.growth, 3, padding=1)))

        def lined_up(x: Tensor, *layers: nn.Module) -> Tensor:
            for layer in layers:
                x = torch.cat((x, layer(x)), 1)
            return x

        return Do(lined_up, *parts)


@dataclass(frozen=True)
class Branches:
    """Two ways that keep the size, joined in some way; the first may be the tensor itself."""

    one: tuple[Conv, ...]
    other: tuple[Conv, ...]
    join: str = "lined up"

    def build(self, at: Place) -> nn.Module:
        last = [] if self.join == "lined up" else [Conv(0, 1, padding=0, act="relu")]
        one, other = (chain([*way, *last] if way else [], at) for way in (self.one, self.other or (Conv(),)))
        return Do(lambda x, one, other: JOINS[self.join]([one(x), other(x)]), one, other)


@dataclass(frozen=True)
class Apart:
    """The channels in two halves, which are joined again when one of them went through a convolution."""

    how: str = "chunk"
    join: str = "lined up"

    def build(self, at: Place) -> nn.Module:
        half = at[0] // 2
        if at[0] % 2:
            return nn.Identity()
        way = Conv(half, 3).build((half, at[1]), keep=True)

        def through(x: Tensor, way: nn.Module) -> Tensor:
            one, other = APART[self.how](x, half)
            return JOINS[self.join]([one, way(other)])

        return Do(through, way)


@dataclass(frozen=True)
class Squeeze:
    units: int = 4
    linear: bool = False
    gate: str = "sigmoid"

    def build(self, at: Place) -> nn.Module:
        layers = (nn.Linear(at[0], self.units), nn.Linear(self.units, at[0]))
        if not self.linear:
            layers = (nn.Conv2d(at[0], self.units, 1), nn.Conv2d(self.units, at[0], 1))  # type: ignore[assignment]
        gate = torch.sigmoid if self.gate == "sigmoid" else F.hardsigmoid

        def gated(x: Tensor, one: nn.Module, two: nn.Module) -> Tensor:
            if self.linear:
                return x * gate(two(F.relu(one(x.mean((2, 3))))))[:, :, None, None]
            return x * gate(two(F.relu(one(F.adaptive_avg_pool2d(x, 1)))))

        return Do(gated, *layers)


@dataclass(frozen=True)
class Shuffle:
    groups: int = 2

    def build(self, at: Place) -> nn.Module:
        groups = gcd(self.groups, at[0])

        def dealt(x: Tensor) -> Tensor:
            n, c, h, w = x.shape
            return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)

        return Do(dealt)


@dataclass(frozen=True)
class Pixels:
    """Four channels to one of twice the size, behind a convolution without a norm."""

    filters: int = 4

    def build(self, at: Place) -> nn.Module:
        if at[1] > 8:
            return nn.Sequential(nn.PixelUnshuffle(2)) if at[0] <= 4 and at[1] % 2 == 0 else nn.Identity()
        return nn.Sequential(nn.Conv2d(at[0], 4 * self.filters, 1), nn.ReLU(), nn.PixelShuffle(2))


@dataclass(frozen=True)
class Element:
    """An operation without weights."""

    kind: str = "numbers"

    def build(self, at: Place) -> nn.Module:
        return Do(ELEMENTS[self.kind])


@dataclass(frozen=True)
class Spatial:
    """A gate that all channels share."""

    kernel: int = 1

    def build(self, at: Place) -> nn.Module:
        gate = nn.Conv2d(at[0], 1, self.kernel, padding=self.kernel // 2)
        return Do(lambda x, gate: x * torch.sigmoid(gate(x)), gate)


Block = (
    Conv
    | Depthwise
    | Transposed
    | Pool
    | Residual
    | Dense
    | Branches
    | Apart
    | Squeeze
    | Shuffle
    | Pixels
    | Element
    | Spatial
)


def chain(convs: list[Conv], at: Place, *first: nn.Module) -> nn.Module:
    """Convolutions that keep the size, one after another."""
    layers = list(first)
    channels = at[0]
    for i, conv in enumerate(convs):
        own = replace(conv, filters=at[0]) if conv.filters == 0 and i == len(convs) - 1 else conv
        layers.append(own.build((channels, at[1]), keep=True))
        channels = own.filters or channels
    return nn.Sequential(*layers)
