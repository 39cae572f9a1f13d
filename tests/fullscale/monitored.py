"""Small networks for the monitor's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fullscale.monitor import Monitor


def small() -> nn.Sequential:
    """Two layers of 4 and 5 filters, the same weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True),
            nn.Flatten(), nn.Linear(20, 3),
        )  # fmt: skip


class Untraceable(nn.Module):
    """Its own code asks for a value; a part of it can be traced."""

    def __init__(self, block: bool = True) -> None:
        super().__init__()
        if block:
            self.block = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.block(x))
        return y.relu() if float(x.sum()) > 0 else y


def batch(step: int, n: int = 8) -> tuple[Tensor, Tensor]:
    """Images and labels for `small`, others at every step."""
    generator = torch.Generator().manual_seed(step)
    return torch.randn(n, 2, 6, 6, generator=generator), torch.randint(3, (n,), generator=generator)


def adam(net: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=1e-2)


def train(net: nn.Module, optimizer: Any, steps: range) -> None:
    for step in steps:
        x, y = batch(step)
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()


def seen(steps: int, interval: int, make: Callable[[nn.Module], Any] = adam) -> Monitor:
    """What a monitor sees of so many steps of `small`."""
    net = small()
    optimizer = make(net)
    monitor = Monitor(net, optimizer, interval=interval)
    train(net, optimizer, range(steps))
    monitor.close()
    return monitor
