"""What a network costs, counted by hooks and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fullscale.cost import multiply_adds, parameters
from fullscale.models import Chain, NetConfig

sizes = st.integers(1, 17)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=4), st.integers(1, 5), sizes, sizes
)
def test_costs_are_what_the_network_does(layers: list[tuple[int, int]], classes: int, height: int, width: int) -> None:
    net = Chain(NetConfig(*zip(*layers, strict=True), 3, classes)).eval()
    counted: list[int] = []
    for m in net.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            m.register_forward_hook(lambda m, _, out: counted.append(out[0].numel() * m.weight[0].numel()))
    images = torch.zeros(3, 3, height, width)
    net(images)
    expected = sum(counted)
    assert multiply_adds(net, images) == multiply_adds(net, images.to("meta")) == expected
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert parameters(net) == sum(x.numel() for name, x in net.state_dict().items() if not name.endswith(statistics))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, ids: torch.Tensor, *, shift: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(nn.functional.one_hot(ids, 8) + shift)
        return result


@pytest.mark.parametrize(
    ("net", "example", "count"),
    [
        (nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Flatten(), nn.Linear(6, 4)), torch.zeros(1, 6, 3, 3), 54 + 24),
        # Each pixel that is read goes into every output of the kernel.
        (
            nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(6, 4, 1)
            ),
            torch.zeros(2, 3, 12, 12),
            50_400,
        ),
        (nn.ConvTranspose1d(4, 6, 3, groups=2), torch.zeros(2, 4, 10), 10 * 6 * 2 * 3),
        (nn.ConvTranspose3d(2, 3, 2, 2), torch.zeros(2, 2, 3, 3, 3), 27 * 2 * 3 * 8),
        (nn.Conv1d(3, 4, 3, padding=1), torch.zeros(2, 3, 9), 9 * 4 * 9),
        (nn.Linear(3, 4), torch.zeros(2, 7, 3), 7 * 12),
        (nn.DataParallel(nn.Linear(3, 4)), torch.zeros(2, 3), 12),
        (nn.LSTM(4, 6, batch_first=True), torch.zeros(2, 5, 4), 5 * (4 * 24 + 6 * 24)),
        (nn.ReLU(), torch.zeros(2, 5), 0),
        # Three products into heads and one out of them, two of the MLP, and each position with each other, twice.
        (
            Attention(),
            {"ids": torch.zeros(2, 5, dtype=torch.long), "shift": torch.zeros(2, 5, 8)},
            5 * 8 * 8 * 4 + 2 * 5 * 8 * 16 + 2 * 5 * 5 * 8,
        ),
    ],
)
def test_every_product_is_counted(net: nn.Module, example: Any, count: int) -> None:
    assert multiply_adds(net, example) == count
    assert multiply_adds(net.double().eval(), example) == count
