"""What a network costs, counted by hooks and by hand."""

from __future__ import annotations

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
    assert multiply_adds(net, images) == sum(counted)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert parameters(net) == sum(x.numel() for name, x in net.state_dict().items() if not name.endswith(statistics))


def test_grouped_convolutions_are_counted_by_group() -> None:
    net = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Flatten(), nn.Linear(6, 4))
    assert multiply_adds(net, torch.zeros(1, 6, 3, 3)) == 6 * 9 + 24
