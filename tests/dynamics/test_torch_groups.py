"""parameter_groups: what the decay takes is what was said, for every kind of layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer, parameter_groups


class Net(nn.Module):
    """Every kind of parameter that has a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.batch = nn.BatchNorm2d(4)
        self.group = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.layer = nn.LayerNorm(4)
        self.rms = nn.RMSNorm(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.memory = nn.LSTM(4, 4)
        self.head = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(4))


NORMS = {f"{n}.{k}" for n in ("batch", "group", "instance", "layer") for k in ("weight", "bias")} | {"rms.weight"}
BIASES = {"conv.bias", "head.bias", "attention.in_proj_bias", "attention.out_proj.bias"}
BIASES |= {"memory.bias_ih_l0", "memory.bias_hh_l0"}


def decayed(net: nn.Module, groups: list[dict[str, Any]]) -> set[str]:
    """The names of the parameters in groups whose weight_decay is not 0."""
    names = {p: name for name, p in net.named_parameters()}
    return {names[p] for group in groups for p in group["params"] if group["weight_decay"]}


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("biases", [False, True])
def test_norms_and_biases_are_in_or_out_as_said(norms: bool, biases: bool) -> None:
    net = Net()
    groups = parameter_groups(net, 0.1, norms=norms, biases=biases)
    everything = {name for name, _ in net.named_parameters()}
    left = (set() if norms else NORMS) | (set() if biases else BIASES)
    assert decayed(net, groups) == everything - left
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(map(id, net.parameters()))
    assert [g["weight_decay"] for g in groups] == ([0.1] if norms and biases else [0.1, 0.0])


def test_skip_leaves_out_by_name() -> None:
    net = Net()
    skipped = decayed(net, parameter_groups(net, 0.1, norms=True, biases=True, skip=["scale", "conv.weight"]))
    assert {name for name, _ in net.named_parameters()} - skipped == {"scale", "conv.weight"}


def test_an_unknown_name_to_skip_is_refused() -> None:
    with pytest.raises(InputError, match=r"skip 'conv\.wieght': no parameter has that name"):
        parameter_groups(Net(), 0.1, norms=True, biases=True, skip=["conv.wieght"])


def test_a_shared_parameter_comes_once_and_frozen_ones_not_at_all() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    net[2].weight.requires_grad_(False)
    groups = parameter_groups(net, 0.1, norms=True, biases=False)
    assert [len(g["params"]) for g in groups] == [1, 3]
    # Under either of its names it can be left out.
    for name in ("0.weight", "1.weight"):
        assert decayed(net, parameter_groups(net, 0.1, norms=True, biases=True, skip=[name])) == {
            "0.bias",
            "1.bias",
            "2.bias",
        }


def test_all_groups_are_there_without_a_strength() -> None:
    net = nn.Linear(3, 3)
    groups = parameter_groups(net, 0.0, norms=False, biases=False)
    assert [len(g["params"]) for g in groups] == [1, 1]


def test_what_is_left_out_keeps_its_weight() -> None:
    # Gradients of zero: the decay alone moves. gamma and beta of BatchNorm stay, the convolution shrinks.
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    nn.init.constant_(net[1].bias, 0.5)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = Optimizer(parameter_groups(net, 0.1, norms=False, biases=False), "adam", "decoupled_lr", lr=0.5)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in net.named_parameters():
        factor = 0.95 if name == "0.weight" else 1.0
        torch.testing.assert_close(p.detach(), before[name] * factor, rtol=1e-6, atol=0)
