"""What a network costs, counted by hooks and by hand."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fullscale.cost import multiply_adds, parameters
from fullscale.models import Chain, NetConfig


def multiply_adds_seen(net: Chain, height: int, width: int) -> int:
    """Counted while an image goes through."""
    total = 0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        total += output[0].numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    net.eval()(torch.zeros(1, net.config.in_channels, height, width))
    for hook in hooks:
        hook.remove()
    return total


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 17),
    st.integers(1, 17),
)
def test_costs_are_what_the_network_does(
    layers: list[tuple[int, int]], in_channels: int, classes: int, height: int, width: int
) -> None:
    channels, strides = zip(*layers, strict=True)
    net = Chain(NetConfig(channels, strides, in_channels, classes))
    images = torch.zeros(3, in_channels, height, width)
    assert multiply_adds(net, images) == multiply_adds_seen(net, height, width)
    weights = {name: tensor.numel() for name, tensor in net.state_dict().items()}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert parameters(net) == sum(count for name, count in weights.items() if not name.endswith(statistics))


def test_grouped_convolutions_are_counted_by_group() -> None:
    net = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Flatten(), nn.Linear(6, 4))
    assert multiply_adds(net, torch.zeros(1, 6, 3, 3)) == 6 * 9 + 24
