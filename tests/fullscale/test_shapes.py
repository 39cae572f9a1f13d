"""Modules fitted to weights of other channel counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dynamics.errors import InputError
from fullscale.shapes import count_channels, take_state


@pytest.mark.parametrize(
    ("module", "narrow", "expected"),
    [
        (nn.Conv2d(6, 8, 3), (4, 5, 3, 3), {"in_channels": 5, "out_channels": 4, "groups": 1}),
        (nn.Conv1d(6, 8, 3), (4, 5, 3), {"in_channels": 5, "out_channels": 4, "groups": 1}),
        (nn.Conv2d(6, 6, 3, groups=6), (4, 1, 3, 3), {"in_channels": 4, "out_channels": 4, "groups": 4}),
        (nn.Conv2d(6, 12, 3, groups=6), (8, 1, 3, 3), {"in_channels": 4, "out_channels": 8, "groups": 4}),
        (nn.Conv2d(6, 8, 3, groups=2), (8, 3, 3, 3), {"in_channels": 6, "out_channels": 8, "groups": 2}),
        (nn.Linear(6, 8), (4, 5), {"in_features": 5, "out_features": 4}),
        (nn.BatchNorm2d(6), (4,), {"num_features": 4}),
        (nn.PReLU(6), (4,), {"num_parameters": 4}),
    ],
)
def test_counts_are_those_of_the_weights(module: nn.Module, narrow: tuple[int, ...], expected: dict[str, int]) -> None:
    module.weight = nn.Parameter(torch.zeros(narrow))
    count_channels(module)
    assert {name: getattr(module, name) for name in expected} == expected


def test_norms_without_a_scale_count_by_their_statistics() -> None:
    norm = nn.BatchNorm2d(6, affine=False)
    norm.running_mean = torch.zeros(4)
    count_channels(norm)
    assert norm.num_features == 4
    bare = nn.BatchNorm2d(6, affine=False, track_running_stats=False)
    count_channels(bare)
    assert bare.num_features == 6


NARROW = {"0.weight": (5, 3, 3, 3), "0.bias": (5,), "2.weight": (2, 5, 1, 1), "2.bias": (2,)}


def narrowed(**change: tuple[int, ...]) -> tuple[nn.Sequential, dict[str, torch.Tensor]]:
    """A network, and weights for fewer filters and with a bias more."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 2, 1))
    return net, {name: torch.randn(shape) for name, shape in (NARROW | change).items()}


def test_a_bias_that_a_removal_added_is_taken() -> None:
    net, state = narrowed()
    net[0].weight.requires_grad_(False)
    take_state(net, state)
    assert net[0].bias is not None
    assert not net[0].bias.requires_grad
    assert net[2].bias.requires_grad
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert net(torch.randn(1, 3, 4, 4)).shape == (1, 2, 2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": (9,)}, "0.bias is torch.float32 \\(9,\\)"),
        ({"0.bias": (5, 1)}, "0.bias is"),
        ({"1.bias": (5,)}, "1.bias is in the weights, but not in the network"),
        ({"0.scale": (5,)}, "0.scale is in the weights"),
        ({"0.weight": (9, 3, 3, 3)}, "0.weight is"),
    ],
)
def test_other_weights_are_refused_and_leave_the_network_alone(
    change: dict[str, tuple[int, ...]], message: str
) -> None:
    net, state = narrowed(**change)
    before = net.state_dict()
    with pytest.raises(InputError, match=message):
        take_state(net, state)
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
