"""Channels that are lined up, taken apart, shuffled and gone through one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .chains import Mean, block
from .entry import Network, images


def headed(*body: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(*body, Mean(), nn.Linear(channels, 5))


class Dense(nn.Module):
    """DenseNet's layers: norm, 1x1, norm, 3x3, lined up behind all that came before."""

    def __init__(self, growth: int = 4, layers: int = 3) -> None:
        super().__init__()
        counts = [8 + i * growth for i in range(layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(count) for count in counts)
        self.narrow = nn.ModuleList(block(count, 8, 1) for count in counts)
        self.convs = nn.ModuleList(nn.Conv2d(8, growth, 3, padding=1, bias=False) for _ in counts)
        self.last = nn.BatchNorm2d(8 + layers * growth)

    def forward(self, x: Tensor) -> Tensor:
        for norm, narrow, conv in zip(self.norms, self.narrow, self.convs, strict=True):
            x = torch.cat([x, conv(narrow(F.relu(norm(x))))], 1)
        return F.relu(self.last(x))


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = block(8, 4, 1), nn.Sequential(block(8, 6, 1), block(6, 6))
        self.five, self.pool = nn.Sequential(block(8, 4, 1), block(4, 4, 5)), block(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.one(x), self.three(x), self.five(x), pooled], dim=1)


class Apart(nn.Module):
    """The channels taken apart in some way; each part has a convolution of its own."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.stem, self.one, self.two = block(3, 16), block(8, 8), block(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        match self.how:
            case "chunk":
                one, two = x.chunk(2, dim=1)
            case "split":
                one, two = torch.split(x, [8, 8], dim=1)
            case "slice":
                half = x.shape[1] // 2
                one, two = x[:, :half], x[:, half:]
            case _:
                one, two = x.narrow(1, 0, 8), x.narrow(1, 8, 8)
        return torch.cat((self.one(one), self.two(two)), 1)


class Shuffle(nn.Module):
    """ShuffleNet's unit: half of the channels pass, half go through convolutions, then both are dealt like cards."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = block(4, 4, 1), block(4, 4, 1)
        self.deep = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        passed, half = x.chunk(2, dim=1)
        x = torch.cat((passed, self.wide(self.deep(self.narrow(half)))), dim=1)
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class Ghost(nn.Module):
    """Half of the channels are cheap copies of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.primary, self.cheap = block(8, 6, 1), block(6, 6, groups=6)

    def forward(self, x: Tensor) -> Tensor:
        one = self.primary(x)
        return torch.cat([one, self.cheap(one)], dim=1)


class Excited(nn.Module):
    """MobileNet's and EfficientNet's block: wider, depthwise, gated by its own mean, narrow again, added."""

    def __init__(self, act: type[nn.Module] = nn.ReLU, excited: bool = True) -> None:
        super().__init__()
        self.wide, self.deep = block(8, 16, 1, act), block(16, 16, act=act, groups=16)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 6, 1), nn.ReLU(), nn.Conv2d(6, 16, 1), nn.Sigmoid()
        ) if excited else None  # fmt: skip
        self.narrow = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.deep(self.wide(x))
        if self.squeeze is not None:
            y = y * self.squeeze(y)
        result: Tensor = x + self.narrow(y)
        return result


class Maxout(nn.Module):
    """The largest of two neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (x.shape[1] // 2, 2)).amax(2)


class Beside(nn.Module):
    """Channels of nothing but zeros, or ones, beside those that are there."""

    def __init__(self, fill: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fill = fill

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.fill(x)), 1)


def separable() -> nn.Module:
    return headed(
        block(3, 8), block(8, 8, groups=8), block(8, 12, 1), block(12, 12, groups=12), block(12, 10, 1), channels=10
    )


def mobile(act: type[nn.Module] = nn.ReLU, excited: bool = True) -> nn.Module:
    return headed(block(3, 8, act=act), Excited(act, excited), Excited(act, excited), channels=8)


NETWORKS = (
    Network(
        # Channel 1 of the stem is read by no one, 10 of what is lined up neither.
        "densenet",
        lambda: headed(block(3, 8), Dense(), channels=20),
        images(),
        11,
        dead={
            "1.norms.0": (1,),
            "1.norms.1": (1, 10),
            "1.norms.2": (1, 10),
            "1.last": (1, 10),
            "1.narrow.0.1": (0, 1),
            "1.narrow.1.1": (2,),
            "1.narrow.2.1": (7,),
        },
    ),
    Network(
        "inception",
        lambda: headed(block(3, 8), Inception(), block(18, 8), channels=8),
        images(),
        9,
        dead={
            "0.1": (5,),
            "1.one.1": (0,),
            "1.three.0.1": (1, 2),
            "1.three.1.1": (5,),
            "1.five.1.1": (3,),
            "1.pool.1": (2,),
        },
        constant={"2.1": (6, 7)},
    ),
    Network(
        "chunk",
        lambda: headed(Apart("chunk"), channels=16),
        images(),
        7,
        dead={"0.stem.1": (0, 1, 9, 12), "0.one.1": (3,), "0.two.1": (4, 5)},
    ),
    # The sizes are numbers in forward: what they count stays.
    Network(
        "split",
        lambda: headed(Apart("split"), channels=16),
        images(),
        3,
        dead={"0.stem.1": (0, 1, 9, 12), "0.one.1": (3,), "0.two.1": (4, 5)},
    ),
    Network(
        "slice",
        lambda: headed(Apart("slice"), channels=16),
        images(),
        7,
        dead={"0.stem.1": (0, 1, 9, 12), "0.one.1": (3,), "0.two.1": (4, 5)},
    ),
    Network(
        "narrow",
        lambda: headed(Apart("narrow"), channels=16),
        images(),
        3,
        dead={"0.stem.1": (0, 1, 9, 12), "0.one.1": (3,), "0.two.1": (4, 5)},
    ),
    Network(
        # As many of each half go in; what passes and what does not lose as many, and are dealt evenly to the next.
        "shufflenet",
        lambda: headed(block(3, 8), Shuffle(), Shuffle(), channels=8),
        images(),
        11,
        dead={
            "0.1": (0, 2, 5, 7),
            "1.wide.1": (0, 2),
            "1.narrow.1": (2,),
            "2.wide.1": (0, 1),
            "2.narrow.1": (1,),
        },
        zero={"2.deep.1": (2,)},
    ),
    Network(
        "separable", separable, images(), 7, dead={"0.1": (0, 1), "1.1": (5,), "2.1": (3,), "3.1": (4, 6), "4.1": (9,)}
    ),
    Network(
        "mobilenet",
        lambda: mobile(excited=False),
        images(),
        7,
        dead={"1.wide.1": (0, 15), "1.deep.1": (3, 4), "2.wide.1": (1,), "2.deep.1": (2,)},
        constant={"2.deep.1": (8,)},
    ),
    Network(
        "mobilenet, excited",
        mobile,
        images(),
        8,
        dead={"1.wide.1": (0, 15), "1.deep.1": (3, 4), "1.squeeze.1": (1, 2), "2.squeeze.1": (5,)},
        constant={"2.squeeze.1": (0,)},
    ),
    # Channel 3 of the sum is 0 in all that is added.
    Network(
        "efficientnet",
        lambda: mobile(nn.SiLU),
        images(),
        9,
        zero={"0.1": (3,), "1.narrow.1": (3,), "2.narrow.1": (3,), "1.deep.1": (3, 4), "1.wide.1": (8,)},
        dead={"1.squeeze.1": (1, 2), "2.squeeze.1": (5,)},
    ),
    Network(
        "hardswish",
        lambda: mobile(nn.Hardswish),
        images(),
        5,
        zero={"1.deep.1": (3, 4), "2.deep.1": (8,)},
        dead={"1.squeeze.1": (1, 2)},
    ),
    Network(
        "ghostnet",
        lambda: headed(block(3, 8), Ghost(), block(12, 8), channels=8),
        images(),
        4,  # the third primary channel lives, and its copy with it
        dead={"0.1": (2,), "1.primary.1": (0,), "1.cheap.1": (0, 3), "2.1": (7,)},
    ),
    # Channels 2 and 3 are one pair, 6 and 7 another; of 0 and 5 the neighbour lives.
    Network(
        "maxout",
        lambda: headed(block(3, 8), Maxout(), block(4, 8), channels=8),
        images(),
        4,
        dead={"0.1": (0, 2, 3, 5, 6, 7)},
    ),
    # Behind zero padding a constant stays, unless there is another to carry it.
    *(
        Network(
            name,
            lambda fill=fill: headed(block(3, 8), Beside(fill), block(16, 8), channels=8),  # type: ignore[misc]
            images(),
            ceiling,
            dead={"0.1": (0, 5), "2.1": (3,)},
            constant={"0.1": (2,)},
        )
        for name, fill, ceiling in (("beside zeros", torch.zeros_like, 3), ("beside ones", torch.ones_like, 4))
    ),
)
