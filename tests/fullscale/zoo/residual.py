"""Sums: ResNets of all kinds. A channel of a sum goes where all that is added there is constant, or nothing reads it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .chains import Mean, block
from .entry import Network, images


class Basic(nn.Module):
    def __init__(self, inputs: int, filters: int, stride: int = 1, pad: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.pad = pad
        self.downsample: nn.Module | None = None
        if not pad and (stride > 1 or inputs != filters):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:  # the shortcut without weights: channels of zeros on both sides
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        elif self.downsample is not None:
            x = self.downsample(x)
        y += x
        return F.relu(y)


class Bottleneck(nn.Module):
    """1x1, 3x3 (grouped as ResNeXt has it), 1x1; with squeeze-and-excitation on demand, as RegNet has it."""

    def __init__(self, inputs: int, filters: int, groups: int = 1, excited: bool = False) -> None:
        super().__init__()
        self.a, self.b = block(inputs, filters, 1), block(filters, filters, groups=groups)
        self.fc1, self.fc2 = (nn.Conv2d(filters, 4, 1), nn.Conv2d(4, filters, 1)) if excited else (None, None)
        self.c = nn.Sequential(nn.Conv2d(filters, inputs, 1, bias=False), nn.BatchNorm2d(inputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        if self.fc1 is not None and self.fc2 is not None:
            y = y * torch.sigmoid(self.fc2(F.relu(self.fc1(y.mean((2, 3), keepdim=True)))))
        return F.relu(self.c(y) + x)


class Early(nn.Module):
    """Norm and ReLU in front of each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.bn1(x)))
        result: Tensor = x + self.conv2(F.relu(self.bn2(y)))
        return result


class Parts(nn.Module):
    """Res2Net's block: the channels in three chunks, each convolution reading its chunk and what the one before put out."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.two, self.three = block(8, 12, 1), block(4, 4), block(4, 4)
        self.c = nn.Sequential(nn.Conv2d(12, 8, 1, bias=False), nn.BatchNorm2d(8))

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = self.a(x).chunk(3, 1)
        two = self.two(two)
        three = self.three(three + two)
        return F.relu(self.c(torch.cat((one, two, three), 1)) + x)


class Stages(nn.Module):
    """A stem, blocks, the mean, a linear layer; a last norm for blocks that end in a sum."""

    def __init__(self, *blocks: nn.Module, channels: int = 8, early: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False) if early else block(3, 8)
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.BatchNorm2d(channels) if early else None
        self.head = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        if self.last is not None:
            x = F.relu(self.last(x))
        result: Tensor = self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return result


def grouped(groups: int = 3, excited: bool = False) -> Stages:
    return Stages(Bottleneck(8, 12, groups, excited), Bottleneck(8, 12, groups, excited))


class Several(nn.Module):
    """Ways that are stacked and joined; with selective kernels, weighed against each other channel by channel."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.stem, self.one, self.two, self.how = block(3, 8), block(8, 8), block(8, 8, 5), how
        self.squeeze = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
        self.weights = nn.ModuleList(nn.Linear(6, 8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        ways = torch.stack([self.one(x), self.two(x)], dim=1)
        match self.how:
            case "mean":
                return ways.mean(1)
            case "largest":
                return ways.max(dim=1).values
            case _:
                seen = self.squeeze(ways.sum(1).mean((2, 3)))
                weights = torch.softmax(torch.stack([each(seen) for each in self.weights], 1), dim=1)
                return (ways * weights[..., None, None]).sum(1)


NETWORKS = (
    Network(
        "resnet",
        lambda: Stages(Basic(8, 8), Basic(8, 12, 2), channels=12),
        images(),
        12,  # a constant alone before padding stays
        dead={
            "stem.1": (0, 1),
            "blocks.0.bn2": (0, 1),
            "blocks.0.bn1": (2, 3, 6),
            "blocks.1.bn2": (0, 5),
            "blocks.1.downsample.1": (0, 5),
            "blocks.1.bn1": (4,),
        },
        constant={"blocks.1.bn1": (7,)},
    ),
    Network(
        # Stem's 3 and 4 are written by the block, too: only where that is dead as well do they go.
        "resnet, sums kept",
        lambda: Stages(Basic(8, 8), Basic(8, 8)),
        images(),
        2,
        dead={"stem.1": (3, 4), "blocks.0.bn1": (2,), "blocks.1.bn1": (7,)},
    ),
    Network(
        "resnet, padded channels",
        lambda: Stages(Basic(8, 8), Basic(8, 12, 2, pad=2), channels=12),
        images(),
        6,
        # The paddings are numbers in forward: channel 3 goes with 3 + 2 behind them, the padded channel 0 cannot.
        dead={
            "stem.1": (3,),
            "blocks.0.bn2": (3,),
            "blocks.1.bn2": (5, 0),
            "blocks.0.bn1": (1, 2),
            "blocks.1.bn1": (6,),
        },
    ),
    Network(
        "bottleneck",
        lambda: Stages(Bottleneck(8, 10), Bottleneck(8, 10)),
        images(),
        12,
        dead={
            "blocks.0.a.1": (0, 9),
            "blocks.0.b.1": (1, 2),
            "blocks.1.a.1": (4,),
            "blocks.1.b.1": (5,),
            "stem.1": (6, 7),
            "blocks.0.c.1": (6, 7),
            "blocks.1.c.1": (6, 7),
        },
    ),
    Network(
        # Nothing reads channel 2 of the sum: it goes, with the convolutions' filters that write it.
        "preactivation",
        lambda: Stages(Early(), Early(), early=True),
        images(),
        6,  # a constant alone before padding stays
        dead={"blocks.0.bn1": (2,), "blocks.1.bn1": (2,), "last": (2,), "blocks.0.bn2": (0, 1), "blocks.1.bn2": (7,)},
        constant={"blocks.1.bn2": (5,)},
    ),
    Network(
        "resnext, whole groups",
        grouped,
        images(),
        8,
        dead={"blocks.0.a.1": (4, 5, 6, 7), "blocks.0.b.1": (4, 5, 6, 7)},
    ),
    Network(
        "resnext, equal counts",
        grouped,
        images(),
        9,
        dead={"blocks.0.a.1": (0, 5, 11), "blocks.0.b.1": (1, 4, 8), "blocks.1.b.1": (3, 7, 9)},
    ),
    Network(
        # One filter of one group: its group would be smaller than the others.
        "resnext, unequal counts",
        grouped,
        images(),
        0,
        dead={"blocks.0.a.1": (0,), "blocks.0.b.1": (1, 4)},
    ),
    Network(
        "regnet",
        lambda: grouped(2, excited=True),
        images(),
        8,
        dead={"blocks.0.b.1": (0, 6), "blocks.0.fc1": (0, 2), "blocks.1.a.1": (2, 7), "blocks.1.b.1": (2, 7)},
    ),
    Network(
        # One of each chunk, the third of which is a sum with what the second became.
        "res2net",
        lambda: Stages(Parts(), Parts()),
        images(),
        6,
        dead={"blocks.0.a.1": (1, 4, 8), "blocks.0.two.1": (0,), "blocks.1.three.1": (1, 2)},
    ),
    # Channels that are dead in both.
    *(
        Network(
            f"stacked, {how}",
            lambda how=how: nn.Sequential(Several(how), block(8, 8), Mean(), nn.Linear(8, 5)),  # type: ignore[misc]
            images(),
            9,
            dead={"0.stem.1": (0, 1), "0.one.1": (2, 3, 6), "0.two.1": (2, 3, 5), "1.1": (3, 4, 7)},
        )
        for how in ("mean", "largest", "weighed")
    ),
)
