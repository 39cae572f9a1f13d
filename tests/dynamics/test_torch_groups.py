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


class LlamaRMSNorm(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))


class Vectors(nn.Module):
    """A module with these vectors, or tensors of these shapes, and nothing else."""

    def __init__(self, **shapes: int | tuple[int, ...]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.ones(shape)))


def named(name: str, base: type[nn.Module] = Vectors, *sizes: int, **shapes: Any) -> nn.Module:
    """A module of a class of that name."""
    return type(name, (base,), {})(*sizes, **shapes)


class Below(Vectors):
    """A module with vectors of its own above a layer."""

    def __init__(self, **shapes: Any) -> None:
        super().__init__(**shapes)
        self.to_gamma = nn.Linear(4, 4)


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ParameterList([torch.ones(4)])
        self.biases = nn.ParameterDict({"up": torch.ones(4)})


# As model libraries have them: what is decayed with norms=False and biases=False.
KINDS: dict[str, tuple[nn.Module, set[str]]] = {
    "LlamaRMSNorm": (LlamaRMSNorm(4), set()),
    "derived from a norm": (named("Zeroed", LlamaRMSNorm, 4), set()),
    "LayerNorm2d": (named("Channelwise", nn.LayerNorm, 4), set()),
    "T5LayerNorm": (named("T5LayerNorm", weight=4), set()),
    "scale of one number": (named("ScaleNorm", g=1), set()),
    "x-transformers": (named("RMSNorm", g=4), set()),
    "Flax's names": (named("BatchNormalization", scale=4, offset=4), set()),
    "in an image": (named("ImageLayerNorm", gamma=(3, 5, 5), beta=(3, 5, 5)), set()),
    "by channel": (named("GlobalResponseNorm", gamma=(1, 1, 1, 4), beta=(1, 1, 1, 4)), set()),
    "short": (named("FrozenBN", weight=4, bias=4), set()),
    "by shape": (named("GRN", weight=4, bias=4), set()),
    "gamma and beta": (named("DynamicTanh", alpha=1, gamma=4, beta=4), set()),
    "by attribute": (nn.ModuleDict({"norm1": named("Affine", alpha=4, beta=4)}), set()),
    "by short attribute": (nn.ModuleDict({"ln_1": named("Affine", alpha=4, beta=4)}), set()),
    "with modules below": (named("AdaNorm", Below, gamma=4), {"to_gamma.weight"}),
    "by its own name": (named("FusedLinear", layer_norm_weight=4, weight=(4, 4), bias=4), {"weight"}),
    "in a list": (Listed(), set()),
    "parametrized": (
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
        {f"parametrizations.weight.original{k}" for k in (0, 1)},
    ),
    # What sounds like one or has the shape, and is none.
    "normal": (named("LogNormal", loc=4, log_scale=4), {"loc", "log_scale"}),
    "LayerScale": (named("LayerScale", gamma=4), {"gamma"}),
    "NormedLinear": (named("NormedLinear", weight=(4, 4)), {"weight"}),
    "NormLinear": (named("NormLinear", weight=(4, 4), bias=4), {"weight"}),
    "LinearNorm": (named("LinearNorm", weight=(4, 4)), {"weight"}),
    "WeightNorm": (named("WeightNorm", weight=(4, 4)), {"weight"}),
    "NormFree": (named("NormFreeBlock", Below, gain=1), {"gain", "to_gamma.weight"}),
    "torch's own": (
        nn.ModuleDict({"norm": nn.Linear(4, 1, bias=False), "norm2": nn.PReLU()}),
        {"norm.weight", "norm2.weight"},
    ),
    "tokens": (named("ViT", cls_token=(1, 1, 4), pos_embed=(1, 9, 4)), {"cls_token", "pos_embed"}),
    "regression": (named("Regression", weight=4, bias=1), {"weight"}),
    "table of biases": (named("Attention", relative_position_bias_table=(9, 2), qkv=(4, 4)), {"qkv"}),
}


@pytest.mark.parametrize("case", KINDS)
def test_norms_of_any_library_are_known_by_class_name_and_shape(case: str) -> None:
    module, expected = KINDS[case]
    for net, path in ((module, ""), (nn.Sequential(nn.Linear(4, 4), module), "1.")):
        groups = parameter_groups(net, 0.1, norms=False, biases=False)
        assert {name for name in decayed(net, groups) if name.startswith(path)} - {"0.weight"} == {
            path + name for name in expected
        }
        # Values say nothing.
        for p in net.parameters():
            nn.init.normal_(p.data)
        assert decayed(net, parameter_groups(net, 0.1, norms=False, biases=False)) == decayed(net, groups)
        assert len(parameter_groups(net, 0.1, norms=True, biases=True)) == 1


def test_it_says_what_goes_where_and_why() -> None:
    net = nn.Sequential(nn.Linear(3, 3), LlamaRMSNorm(3), named("LayerScale", gamma=3), nn.Linear(3, 3))
    net[3].weight = net[0].weight
    groups = parameter_groups(net, 0.1, norms=False, biases=True, skip=["3.weight"])
    assert str(groups).splitlines() == [
        "0.weight  none   as 3.weight: skipped; weight of Linear",
        "0.bias    decay  bias of Linear",
        "1.weight  none   normalization, LlamaRMSNorm says so",
        "2.gamma   decay  vector of LayerScale, which no name or class calls a normalization",
        "3.bias    decay  bias of Linear",
    ]
    assert {d.name for d in groups.decided if d.decays} == decayed(net, groups)
    assert [d.shape for d in groups.decided] == [(3, 3), (3,), (3,), (3,), (3,)]


def test_groups_serve_two_optimizers_and_one_that_joins() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    groups = parameter_groups(net, 0.1, norms=False, biases=False)
    first, second = (Optimizer(groups, "adam", "l2", lr=lr) for lr in (0.1, 0.5))
    assert [g["lr"] for o in (first, second) for g in o.param_groups] == [0.1, 0.1, 0.5, 0.5]
    assert [set(g) for g in groups] == [{"params", "weight_decay"}] * 2
    torch.optim.SGD(groups, lr=0.1).add_param_group({"params": [nn.Parameter(torch.ones(1))]})


PLAIN = {"norms": False, "biases": False}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "negative": ({"weight_decay": -1}, "weight_decay -1: a finite number from 0"),
    "None": ({"weight_decay": None}, "weight_decay None"),
    "NaN": ({"weight_decay": float("nan")}, "weight_decay nan"),
    "text": ({"weight_decay": "0.1"}, "weight_decay '0.1'"),
    "norms": ({"norms": 1.5}, "norms 1.5: True or False"),
    "biases": ({"biases": None}, "biases None: True or False"),
    "one text": ({"skip": "0.weight"}, "skip '0.weight': a collection of names"),
    "skip None": ({"skip": None}, "skip None: a collection of names"),
    "skip of numbers": ({"skip": [1]}, "skip 1: no parameter has that name"),
    "skip of lists": ({"skip": [[]]}, r"skip \[\]: no parameter has that name"),
    "a class": ({"module": nn.Linear}, "a torch.nn.Module is accepted"),
    "parameters": ({"module": [torch.ones(2)]}, "a torch.nn.Module is accepted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_network_strength_or_flag_is_refused(case: str) -> None:
    given, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as caught:
        parameter_groups(**{"module": Net(), "weight_decay": 0.1, **PLAIN, **given})
    assert "\n" not in str(caught.value)
