"""Layers one after another: with BatchNorm, without, with other norms, activations and borders."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Network, images, noise


def block(
    inputs: int, filters: int, kernel: int = 3, act: Callable[[], nn.Module] = nn.ReLU, **options: object
) -> nn.Sequential:
    """Convolution that keeps the size, BatchNorm, activation."""
    conv = nn.Conv2d(inputs, filters, kernel, padding=kernel // 2, bias=False, **options)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.BatchNorm2d(filters), act())


class Mean(nn.Module):
    """The mean of each channel, (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def plain(act: Callable[[], nn.Module] = nn.ReLU, **options: object) -> nn.Module:
    return nn.Sequential(
        block(3, 8, act=act, **options), block(8, 8, act=act, **options), nn.MaxPool2d(2),
        block(8, 10, act=act, **options), Mean(), nn.Linear(10, 5),
    )  # fmt: skip


def vgg() -> nn.Module:
    body = [block(3, 8), block(8, 8), nn.MaxPool2d(2), block(8, 12), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(12 * 9, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5)]
    return nn.Sequential(*body, *head)


class BareVGG(nn.Module):
    """VGG without norms, flattened by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(12 * 9, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.one(x)), 2)
        x = F.max_pool2d(F.relu(self.two(x)), 2)
        x = F.dropout(F.relu(self.fc1(x.view(x.size(0), -1))), training=self.training)
        result: Tensor = self.fc2(x)
        return result


def bare() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Conv2d(8, 12, 3, stride=2), nn.ReLU(inplace=True),
        nn.Conv2d(12, 8, 1), nn.ReLU(inplace=True), Mean(), nn.Linear(8, 5),
    )  # fmt: skip


class Grouped(nn.Module):
    """GroupNorm, and between two of them a pair of convolutions without a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.wide, self.back = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 3, padding=1)
        self.last, self.head = nn.GroupNorm(4, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.last(self.back(torch.relu(self.wide(x)))))
        result: Tensor = self.head(x.mean((2, 3)))
        return result


class Next(nn.Module):
    """ConvNeXt's block with ReLU: depthwise, LayerNorm over channels at the end, two linear layers, a scale, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 2, 2)
        self.deep, self.norm = nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.LayerNorm(8)
        self.wide, self.back = nn.Linear(8, 24), nn.Linear(24, 8)
        self.scale = nn.Parameter(torch.ones(8))
        self.last, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.scale * self.back(F.relu(self.wide(y)))
        x = x + y.permute(0, 3, 1, 2)
        result: Tensor = self.head(self.last(x.mean((2, 3))))
        return result


class Root(nn.Module):
    """RMSNorm in front of two linear layers, twice, with sums."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.RMSNorm(8), nn.RMSNorm(8)])
        self.ups, self.downs = (nn.ModuleList([nn.Linear(*s), nn.Linear(*s)]) for s in ((8, 16), (16, 8)))

    def forward(self, x: Tensor) -> Tensor:
        for norm, up, down in zip(self.norms, self.ups, self.downs, strict=True):
            x = x + down(torch.relu(up(norm(x))))
        return x


class Squared(nn.Module):
    """Other functions of one element: the absolute value, a square behind a ReLU, the larger of two layers (maxout)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = block(3, 8, act=nn.Identity), block(8, 8), block(8, 8, act=nn.Identity)
        self.other = block(8, 8, act=nn.Identity)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(x).abs()).square()
        x = torch.maximum(self.three(x), self.other(x))
        result: Tensor = self.head(x.mean((2, 3)))
        return result


NETWORKS = (
    # Of the constants one stays behind zero padding, to carry the other.
    Network("plain", plain, images(), 5, dead={"0.1": (0, 3), "1.1": (5,)}, constant={"0.1": (1, 2), "3.1": (9,)}),
    Network(
        "vgg",
        vgg,
        images(),
        8,
        dead={"0.1": (1,), "1.1": (2, 3), "3.1": (4,), "6": (0, 7)},
        constant={"3.1": (5,), "6": (3,)},
    ),
    Network(
        "vgg without norms",
        BareVGG,
        images(),
        6,
        dead={"one": (0, 2), "two": (3,), "fc1": (1, 2)},
        constant={"fc1": (9,)},
    ),
    Network("bare", bare, images(), 6, dead={"0": (0, 2), "2": (3, 4)}, constant={"0": (5,), "4": (7,)}),
    # With these a unit of scale 0 and another shift is a constant; one of those before padding stays and carries the rest.
    Network(
        "leaky",
        lambda: plain(lambda: nn.LeakyReLU(0.1)),
        images(),
        4,
        zero={"0.1": (0, 3)},
        dead={"0.1": (1, 2), "1.1": (4,), "3.1": (4,)},
    ),
    Network(
        "prelu", lambda: plain(lambda: nn.PReLU(1)), images(), 4, zero={"0.1": (0,), "1.1": (4, 5)}, dead={"3.1": (4,)}
    ),
    Network(
        "prelu by channel",
        lambda: nn.Sequential(block(3, 8, act=lambda: nn.PReLU(8)), nn.Conv2d(8, 4, 3)),
        images(),
        3,
        zero={"0.1": (0,)},
        dead={"0.1": (4, 5)},
    ),
    Network("silu", lambda: plain(nn.SiLU), images(), 4, zero={"0.1": (0,), "1.1": (4, 5)}, dead={"3.1": (4,)}),
    # No zeros at the border: every constant goes.
    Network(
        "reflected",
        lambda: plain(padding_mode="reflect"),
        images(),
        5,
        dead={"0.1": (0, 3)},
        constant={"0.1": (1, 2), "1.1": (7,)},
    ),
    Network(
        "circular",
        lambda: plain(padding_mode="circular"),
        images(),
        5,
        dead={"0.1": (0, 3)},
        constant={"0.1": (1, 2), "1.1": (7,)},
    ),
    # GroupNorm's numbers are of all channels of a group: what is dead behind it is still read by it. A constant
    # alone before padding stays.
    Network(
        "group norm", Grouped, images(), 3, dead={"wide": (0, 1, 5), "norm": (0, 1, 2, 3)}, constant={"wide": (9,)}
    ),
    Network("next", Next, images(), 4, dead={"wide": (0, 11, 5)}, constant={"wide": (9,)}),
    Network(
        "rms norm", Root, lambda: noise(7, 3, 4, 8), 4, dead={"ups.0": (0, 5), "ups.1": (2,)}, constant={"ups.1": (9,)}
    ),
    # A maximum's channel goes where both of its members are constant.
    Network(
        "absolute", Squared, images(), 5, zero={"one.1": (0,)}, dead={"two.1": (1, 2), "three.1": (3,), "other.1": (3,)}
    ),
)
