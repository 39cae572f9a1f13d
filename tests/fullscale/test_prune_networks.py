"""Removal leaves what any network computes as it was, for every input, whatever was dead in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import Branches, Dense, Inverted, Plain, difference, noise, outputs, plant, randomize
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.checkpoint import load_into
from fullscale.cost import parameters
from fullscale.graph import trace, units
from fullscale.measure import measure
from fullscale.models import MODELS, Architecture, build
from fullscale.prune import certify, remove_dead

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
# Small, but every layer has several filters.
WIDTHS = {"basicnet": 1 / 16, "vgg11": 1 / 16, "vgg16": 1 / 16, "vgg19": 1 / 16, "resnet20": 1 / 2, "resnet56": 1 / 4}
# VGG-11 and VGG-19 are VGG-16 with other plans, and ResNet-50 differs from ResNet-18 in its blocks alone.
FAMILIES = [
    (model, head)
    for model in MODELS
    for head in MODELS[model]
    if model not in ("vgg11", "vgg19") and (model, head) != ("resnet50", "cifar")
]
FOREIGN: dict[str, Callable[[], nn.Module]] = {
    "dense": Dense,
    "inverted": Inverted,
    "inverted, hardswish": lambda: Inverted(nn.Hardswish),
    "branches": Branches,
    "leaky": lambda: Plain(nn.LeakyReLU(0.1)),
    "gelu": lambda: Plain(nn.GELU()),
    "prelu": lambda: Plain(nn.PReLU()),
    "unpadded": lambda: Plain(nn.ReLU(), 0),
    "same": lambda: Plain(nn.ReLU(), "same"),
    "valid": lambda: Plain(nn.ReLU(), "valid"),
    "pointwise": lambda: Plain(nn.ReLU(), 0, kernel=1),
    "wide": lambda: Plain(nn.ReLU(), 2, kernel=5),
    **{mode: (lambda mode=mode: Plain(nn.ReLU(), 1, mode)) for mode in ("replicate", "reflect", "circular")},
}


def family(model: str, head: Literal["cifar", "imagenet"]) -> nn.Module:
    return build(Architecture(model, WIDTHS.get(model, 1 / 16), 3, 5, head))


@pytest.mark.parametrize(("model", "head"), FAMILIES)
def test_every_family_computes_the_same(model: str, head: Literal["cifar", "imagenet"]) -> None:
    net = randomize(family(model, head), 1)
    plant(net, 2)
    images = noise(3, 2, 3, 16, 16)
    for dtype, tolerance in TOLERANCE.items():
        smaller, removal = remove_dead(net.to(dtype))
        assert removal.share > 0.1
        assert parameters(smaller) < 0.9 * parameters(net)
        assert difference(net, smaller, images) <= tolerance
    certificate = certify(net, smaller, images, random_images=2)
    assert certificate.passes(TOLERANCE[torch.float32])
    assert certificate.resized is not None


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 1), name=st.sampled_from(list(FOREIGN)))
def test_networks_from_elsewhere_compute_the_same(seed: int, share: float, name: str) -> None:
    _compute_the_same(name, seed, share)


@pytest.mark.parametrize("name", list(FOREIGN))
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_each_kind_of_network_computes_the_same(name: str, share: float) -> None:
    assert _compute_the_same(name, 5, share) > (0.03 if share < 1 else 0.1)


def _compute_the_same(name: str, seed: int, share: float) -> float:
    """The share of the filters that was removed."""
    net = randomize(FOREIGN[name](), seed)
    plant(net, seed + 1, share)
    images = noise(seed + 2, 5, 3, 12, 12)
    smaller, removal = remove_dead(net, example=images)
    assert difference(net, smaller, images) <= 1e-12
    again, nothing = remove_dead(smaller, example=images)
    assert nothing.share == 0
    assert parameters(again) == parameters(smaller)
    return removal.share


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    share=st.floats(0, 1),
    name=st.sampled_from(["basicnet", "resnet20", "dense", "inverted"]),
)
def test_silent_filters_go_without_a_change_on_the_measured_images(seed: int, share: float, name: str) -> None:
    net = randomize(FOREIGN[name]() if name in FOREIGN else family(name, "cifar"), seed)
    plant(net, seed + 1, share / 2)
    for unit in units(trace(net)):
        norm = net.get_submodule(unit.norm)
        norm.bias.data[torch.rand(len(norm.bias), generator=torch.Generator().manual_seed(seed)) < share / 2] = -40
    images = noise(seed + 2, 5, 3, 16, 16)
    smaller, _ = remove_dead(net, measure(net, images), example=images)
    assert difference(net, smaller, images) <= 1e-12


@pytest.mark.parametrize("activation", [nn.GELU(), nn.Sigmoid(), nn.Identity()], ids=str)
def test_what_was_0_on_the_measured_images_goes_behind_any_activation(activation: nn.Module) -> None:
    net = randomize(Plain(activation), 1)
    norm = net.body[4]
    norm.weight.data[:3], norm.bias.data[:3] = 1e-11, 0 if isinstance(activation, nn.Identity) else -1e3
    norm.weight.data[2] = 1  # may be seen to vary
    norm.weight.data[:2] *= 1e-3 if isinstance(activation, nn.Identity) else 1
    images = noise(3, 4, 3, 12, 12)
    smaller, removal = remove_dead(net, measure(net, images), example=images)
    [layer] = [layer for layer in removal.layers if layer.name == "body.4"]
    assert layer.empirically_dead + layer.provably_dead == (2 if isinstance(activation, nn.Identity) else 3)
    assert len(layer.kept) == 8 - layer.empirically_dead - layer.provably_dead
    assert difference(net, smaller, images) <= 1e-12


def test_planted_filters_of_a_chain_are_gone() -> None:
    net = randomize(family("vgg16", "cifar"), 1)
    planted = plant(net, 2, 0.3)
    _, removal = remove_dead(net)
    found = sum(layer.provably_dead + layer.constant for layer in removal.layers)
    assert found == sum(planted.values())
    assert min(planted.values()) > 5
    # All but one carrier for each of the twelve padded readers.
    gone = sum(layer.filters - len(layer.kept) for layer in removal.layers)
    assert found - 12 <= gone <= found


def test_a_sum_loses_only_channels_that_are_dead_in_all_members() -> None:
    net = randomize(family("resnet20", "cifar"), 1)
    stage = [net.bn1, *(block.bn2 for block in net.layer1)]
    for norm in stage:
        norm.weight.data[:3] = 0
    stage[1].weight.data[3] = stage[2].weight.data[4] = 0
    smaller, _ = remove_dead(net)
    # Three are constant in every member; of these one stays to carry the others behind zero padding.
    assert smaller.bn1.num_features == net.bn1.num_features - 2
    for norm in stage:
        norm.bias.data[:3] = -0.5
    smaller, _ = remove_dead(net)
    assert smaller.bn1.num_features == net.bn1.num_features - 3
    assert difference(net, smaller, noise(1, 3, 3, 16, 16)) <= 1e-12


def test_a_residual_way_that_ends_dead_is_not_computed() -> None:
    net = randomize(family("resnet20", "cifar"), 1)
    net.layer1[1].bn2.weight.data.zero_()
    smaller, removal = remove_dead(net)
    assert smaller.layer1[1].conv1.out_channels == 1
    [layer] = [layer for layer in removal.layers if layer.name == "layer1.1.bn1"]
    assert layer.unread == net.layer1[1].conv1.out_channels
    assert difference(net, smaller, noise(1, 3, 3, 16, 16)) <= 1e-12


def test_counts_are_multiples_on_request() -> None:
    net = randomize(build(Architecture("vgg11", 1 / 4, 3, 5)), 1)
    plant(net, 2, 0.5)
    images = noise(3, 3, 3, 32, 32)
    exact, _ = remove_dead(net)
    rounded, _ = remove_dead(net, multiple=8)
    counts = [[m.out_channels for m in n.modules() if isinstance(m, nn.Conv2d)] for n in (net, exact, rounded)]
    assert any(count % 8 for count in counts[1])
    for whole, least, count in zip(*counts, strict=True):
        assert count == min(whole, -(-least // 8) * 8)
    assert difference(net, rounded, images) <= 1e-12
    with pytest.raises(InputError, match="multiple 0"):
        remove_dead(net, multiple=0)


def test_what_is_not_understood_stays_whole() -> None:
    class Odd(nn.Module):
        """Channels are shuffled, one layer is used twice, and a parameter stands on its own."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            self.two = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            self.twice = nn.Conv2d(8, 8, 1)
            self.three = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
            self.scale = nn.Parameter(torch.rand(1, 8, 1, 1))
            self.four = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.head = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.one(x)
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
            x = self.three(self.twice(self.twice(self.two(x)))) * self.scale
            x = self.four(torch.softmax(x, dim=1)).mean((2, 3))
            result: Tensor = self.head(x)
            return result

    net = randomize(Odd(), 1)
    plant(net, 2, 0.6)
    images = noise(3, 4, 3, 6, 6)
    smaller, removal = remove_dead(net, example=images)
    assert difference(net, smaller, images) <= 1e-12
    whole = {layer.name: len(layer.kept) for layer in removal.layers}
    assert (whole["one.1"], whole["two.1"], whole["three.1"]) == (8, 8, 8)
    assert whole["four.1"] < 8


def test_weights_of_networks_from_elsewhere_are_read_back(tmp_path: object) -> None:
    import safetensors.torch

    net = randomize(Inverted(), 1)
    plant(net, 2)
    images = noise(3, 4, 3, 8, 8)
    smaller, _ = remove_dead(net, example=images)
    safetensors.torch.save_file(smaller.state_dict(), f"{tmp_path}/net")
    back = Inverted().double()
    load_into(back, f"{tmp_path}/net")
    assert torch.equal(outputs(back, images), outputs(smaller, images))


def test_network_that_does_not_say_what_it_takes_needs_an_example() -> None:
    with pytest.raises(InputError, match="Dense does not say what images it takes: give an example"):
        remove_dead(Dense())


def test_training_mode_and_gradients_stay() -> None:
    net = randomize(family("resnet18", "cifar"), 1)
    plant(net, 2)
    net.train()
    before = copy.deepcopy(net.state_dict())
    net(noise(1, 4, 3, 8, 8)).sum().backward()
    net.load_state_dict(before)
    smaller, _ = remove_dead(net)
    assert smaller.training
    assert all(p.grad is not None for p in net.parameters())
    assert all(p.grad is None and p.is_leaf for p in smaller.parameters())
    smaller(noise(1, 4, 3, 8, 8)).sum().backward()
