"""What people write and no textbook has: several inputs, layers used twice, computed weights, writes in place, norms in part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from .chains import Mean, block
from .entry import Example, Network, images, noise


class Masked(nn.Module):
    """An image and where to look, (N, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = block(3, 8), block(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.body(self.stem(x) * mask)
        result: Tensor = self.head((x * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1))
        return result


class Named(nn.Module):
    """Called by names, as transformers' networks are; what is not given has its default."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(block(3, 8), block(8, 8)), nn.Linear(8, 5)

    def forward(self, pixel_values: Tensor | None = None, labels: Tensor | None = None) -> dict[str, Tensor]:
        assert pixel_values is not None
        logits = self.head(self.body(pixel_values).mean((2, 3)))
        return {"logits": logits} if labels is None else {"logits": logits, "loss": F.cross_entropy(logits, labels)}


class Siamese(nn.Module):
    """One body looks at two images."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        stem = block(3, 8) if norm else nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.body = nn.Sequential(stem, nn.Conv2d(8, 12, 3), nn.ReLU(), Mean(), nn.Linear(12, 6))
        self.head = nn.Linear(12, 2)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        result: Tensor = self.head(torch.cat((self.body(one), self.body(other)), 1))
        return result


class Twice(nn.Module):
    """One BatchNorm behind two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = block(3, 8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.last, self.head = nn.BatchNorm2d(8), block(16, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat((F.relu(self.norm(self.one(x))), F.relu(self.norm(self.two(x)))), 1)
        result: Tensor = self.head(self.last(x).mean((2, 3)))
        return result


class Between(nn.Module):
    """A layer between two blocks, or something done there."""

    def __init__(self, way: nn.Module | None = None, apply: Callable[[Between, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.stem, self.way, self.last, self.head = block(3, 8), way, block(8, 8), nn.Linear(8, 5)
        self.apply_ = apply

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.way is not None:
            x = self.way(x)
        if self.apply_ is not None:
            x = self.apply_(self, x)
        result: Tensor = self.head(self.last(x).mean((2, 3)))
        return result


def counted(net: Between, x: Tensor) -> Tensor:
    return x / net.stem[0].out_channels ** 0.5


def cropped(_: Between, x: Tensor) -> Tensor:
    crop = x[:, :, 2:6]
    crop *= 5.0
    return x


def halved(_: Between, x: Tensor) -> Tensor:
    x[:, : x.shape[1] // 2].mul_(0.5)
    return x


def moved(_: Between, x: Tensor) -> Tensor:
    y = x + 0.25
    y[:, :, ::2] -= 0.5
    return F.relu_(y)


def masked() -> nn.Module:
    net = Between(nn.Conv2d(8, 8, 3))
    assert net.way is not None
    weight = net.way.weight
    prune.custom_from_mask(net.way, "weight", torch.arange(weight.numel()).view_as(weight) % 3 > 0)
    return net


class Spatial(nn.Module):
    """A gate for each place, made of the channels' mean and largest, as CBAM has it."""

    def __init__(self, by: str) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 if by == "statistics" else 8, 1, 3, padding=1)
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        if self.by == "statistics":
            return x * torch.sigmoid(self.gate(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))
        return x * torch.sigmoid(self.gate(x))


class Frozen(nn.Module):
    """BatchNorm of buffers, written by hand, as detection networks have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, mean, var = (
            getattr(self, n).reshape(1, -1, 1, 1) for n in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight * (var + 1e-5).rsqrt()
        result: Tensor = x * scale + (bias - mean * scale)
        return result


def normed(norm: nn.Module) -> nn.Module:
    body = nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), *body, Mean(), nn.Linear(8, 5))


def without(name: str) -> nn.Module:
    norm = nn.BatchNorm2d(8)
    setattr(norm, name, None)
    return normed(norm)


class Own(nn.Conv2d):
    """A convolution by another name, with the same forward."""


class Standard(nn.Conv2d):
    """A convolution whose weights are standardized in forward: of each filter, over its inputs."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / (weight.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt(), self.bias)


def pair() -> Example:
    return noise(7, 3, 3, 12, 12), (noise(8, 3, 1, 12, 12) > 0).double()


def both() -> Example:
    return noise(7, 3, 3, 12, 12), noise(8, 3, 3, 12, 12)


ENDS = {"stem.1": (0, 1), "last.1": (3, 4)}

NETWORKS = (
    Network("image and mask", Masked, pair, 3, dead={"stem.1": (0, 1), "body.1": (2,)}, constant={"body.1": (3,)}),
    Network(
        "by name",
        Named,
        lambda: {"pixel_values": noise(7, 3, 3, 12, 12)},
        3,
        dead={"body.0.1": (0, 1), "body.1.1": (2,)},
    ),
    Network(
        "by name, two",
        Named,
        lambda: {"pixel_values": noise(7, 3, 3, 12, 12), "labels": torch.tensor([0, 4, 2])},
        3,
        dead={"body.0.1": (0, 1), "body.1.1": (2,)},
    ),
    # All of its layers are used twice, on the same channels each time.
    Network("siamese", lambda: Siamese(norm=False), both, 4, dead={"body.0.0": (0, 1), "body.1": (2, 5)}),
    Network("siamese, norms", lambda: Siamese(norm=True), both, 4, dead={"body.0.1": (0, 1), "body.1": (2, 5)}),
    # The norm that is used twice stays whole.
    Network("norm used twice", Twice, images(), 4, dead={"stem.1": (0, 1), "last.1": (3, 4), "norm": (5,)}),
    # Its scale is by the norm of each filter's weights, which those of a dead input belong to: the inputs stay.
    Network(
        "weight norm",
        lambda: Between(parametrizations.weight_norm(nn.Conv2d(8, 8, 3))),
        images(),
        2,
        dead=ENDS,
        zero={"way": (6,)},
    ),
    Network("masked weights", masked, images(), 2, dead=ENDS, zero={"way": (6,)}),
    # Fewer filters would be another divisor.
    Network("counts its filters", lambda: Between(apply=counted), images(), 2, dead=ENDS),
    # The constant is five times as large in the crop: it stays.
    Network("writes into a crop", lambda: Between(apply=cropped), images(), 4, dead=ENDS, constant={"stem.1": (4,)}),
    # One channel of each half.
    Network(
        "writes into half of the channels",
        lambda: Between(apply=halved),
        images(),
        4,
        dead={"stem.1": (0, 5), "last.1": (3, 4)},
    ),
    Network("writes and goes on", lambda: Between(apply=moved), images(), 2, dead=ENDS),
    # The channels' mean and largest are over all of them: none goes.
    Network("gated by place, statistics", lambda: Between(Spatial("statistics")), images(), 2, dead=ENDS),
    Network("gated by place", lambda: Between(Spatial("convolution")), images(), 4, dead=ENDS),
    Network("norm without scale", lambda: without("weight"), images(), 3, zero={"0": (0,)}, dead={"4": (3, 4)}),
    Network("norm without shift", lambda: without("bias"), images(), 5, zero={"1": (0, 1, 7)}, dead={"4": (3, 4)}),
    Network(
        "norm of the batch",
        lambda: normed(nn.BatchNorm2d(8, track_running_stats=False)),
        images(),
        4,
        dead={"1": (0, 1), "4": (3, 4)},
    ),
    Network("frozen norm", lambda: normed(Frozen(8)), images(), 4, dead={"1": (0, 1), "4": (3, 4)}),
    Network("convolution by another name", lambda: Between(Own(8, 8, 3)), images(), 5, dead=ENDS, zero={"way": (6,)}),
    # The mean over the inputs is of all of them: those stay.
    Network("standardized weights", lambda: Between(Standard(8, 8, 3)), images(), 2, dead=ENDS),
)
