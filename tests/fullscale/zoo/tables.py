"""What the blocks of random networks choose from: activations, norms, pools, joins, ways to take apart and to change a tensor."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda _: nn.ReLU(), "none": lambda _: nn.Identity(), "relu in place": lambda _: nn.ReLU(inplace=True),
    "relu6": lambda _: nn.ReLU6(), "leaky": lambda _: nn.LeakyReLU(0.2), "prelu": nn.PReLU,
    "silu": lambda _: nn.SiLU(), "gelu": lambda _: nn.GELU(), "tanh": lambda _: nn.Tanh(),
    "hardswish": lambda _: nn.Hardswish(), "elu": lambda _: nn.ELU(),
}  # fmt: skip
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d, "none": lambda _: nn.Identity(), "plain": lambda c: nn.BatchNorm2d(c, affine=False),
    "group": lambda c: nn.GroupNorm(gcd(2, c), c),
    "of the batch": lambda c: nn.BatchNorm2d(c, track_running_stats=False),
}  # fmt: skip
POOLS: dict[str, Callable[[], nn.Module]] = {
    "max": lambda: nn.MaxPool2d(2), "average": lambda: nn.AvgPool2d(2), "max, same size": lambda: nn.MaxPool2d(3, 1, 1),
    "average, padded": lambda: nn.AvgPool2d(3, 1, 1), "cut off": lambda: nn.AvgPool2d(3, 2, ceil_mode=True),
    "padding not counted": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "adaptive": lambda: nn.AdaptiveAvgPool2d(3), "adaptive max": lambda: nn.AdaptiveMaxPool2d((2, 4)),
    "nearest": lambda: nn.Upsample(scale_factor=2), "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "zeros": lambda: nn.ZeroPad2d((1, 0, 0, 1)), "reflection": lambda: nn.ReflectionPad2d(1),
    "replication": lambda: nn.ReplicationPad2d((0, 1, 1, 0)), "dropout": lambda: nn.Dropout2d(0.2),
}  # fmt: skip


def _weighed(x: Tensor) -> Tensor:
    return (x * x.mean((3, 4), keepdim=True).softmax(1)).sum(1)


JOINS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "lined up": lambda xs: torch.cat(xs, 1), "sum": lambda xs: xs[0] + xs[1], "product": lambda xs: xs[0] * xs[1],
    "difference": lambda xs: xs[0] - xs[1], "maximum": lambda xs: torch.maximum(*xs),
    "gate": lambda xs: xs[0] * torch.sigmoid(xs[1]), "mean of both": lambda xs: torch.stack(xs).mean(0),
    "largest of both": lambda xs: torch.stack(xs, 2).amax(2), "sum of both": lambda xs: torch.stack(xs, 1).sum(1),
    "weighed": lambda xs: _weighed(torch.stack(xs, 1)), "beside zeros": lambda xs: torch.cat((*xs, torch.zeros_like(xs[0])), 1),
}  # fmt: skip
APART: dict[str, Callable[[Tensor, int], tuple[Tensor, ...]]] = {
    "chunk": lambda x, _: x.chunk(2, 1), "split": lambda x, half: torch.split(x, [half, x.shape[1] - half], 1),
    "split, numbers": lambda x, half: torch.split(x, half, 1),
    "narrow": lambda x, half: (x.narrow(1, 0, half), x.narrow(1, half, half)),
    "slice": lambda x, _: (x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]),
    "every other": lambda x, _: (x[:, ::2], x[:, 1::2]),
}  # fmt: skip


def _rows(x: Tensor) -> Tensor:
    y = x * 1.0
    y[:, :, 1:3] *= 3.0
    return y


def _half(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, : x.shape[1] // 2].add_(0.5)
    return y


def _view(x: Tensor) -> Tensor:
    y = x - 0.2
    view = y.flatten(2)
    view += 0.3
    return y


def _old(x: Tensor) -> Tensor:
    y = x + 0.1
    z = F.relu(y, inplace=True)
    return y + z


def _one_apart(x: Tensor) -> Tensor:
    y = x * 1.0
    y[:, :1] += 0.5
    y[:, -2:] *= 2.0
    return y


ELEMENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": _rows, "half of the channels": _half, "through a view": _view, "old name": _old,
    "numbers": lambda x: (1 - x) * 0.5 + 2 * x / 3, "square": lambda x: x.square(), "absolute": lambda x: x.abs(),
    "clamp": lambda x: x.clamp(-1, 1), "power": lambda x: torch.exp(-x.abs()), "softmax": lambda x: x.softmax(1),
    "by their number": lambda x: x / x.shape[1], "by the mean of all": lambda x: x - x.mean(1, keepdim=True),
    "turned": lambda x: x.transpose(2, 3), "flipped channels": lambda x: x.flip(1), "rolled": lambda x: x.roll(1, 1),
    "pad channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)), "pad by one": lambda x: F.pad(x, (1, 0, 0, 1), value=1.0),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x), "first row": lambda x: x + x[:, :, :1],
    "norm": lambda x: F.normalize(x, dim=1), "one apart": _one_apart, "but the first": lambda x: x[:, 1:],
    "zeros beside": lambda x: torch.cat((x, torch.zeros_like(x)), 1), "and ones": lambda x: x + torch.ones_like(x),
    "largest of it and zeros": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "where, zeros": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "largest of two": lambda x: x if x.shape[1] % 2 else x.unflatten(1, (x.shape[1] // 2, 2)).amax(2),
    "mean of halves": lambda x: x if x.shape[1] % 2 else x.unflatten(1, (2, x.shape[1] // 2)).mean(1),
}  # fmt: skip
