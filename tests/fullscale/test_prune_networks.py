"""Removal leaves what any network computes as it was, for every input, whatever was dead in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import pytest
import torch
from planting import Branches, Dense, Inverted, Plain, difference, noise, plant, randomize
from torch import nn

from dynamics.errors import InputError
from fullscale.cost import parameters
from fullscale.graph import Graph, taken, trace, units
from fullscale.measure import Graphs, measure, measured
from fullscale.models import MODELS, Architecture, build
from fullscale.prune import certify, remove_dead
from fullscale.prune.removal import removed

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
# Small, but every layer has several filters.
WIDTHS = {"basicnet": 1 / 16, "vgg11": 1 / 16, "vgg16": 1 / 16, "vgg19": 1 / 16, "resnet20": 1 / 2}
# VGG-11 and VGG-19 are VGG-16 with other plans, ResNet-56 is a longer ResNet-20, ResNet-50 is ResNet-18 of other blocks.
FAMILIES = [
    (model, head)
    for model in MODELS
    for head in MODELS[model]
    if model not in ("vgg11", "vgg19", "resnet56") and (model, head) != ("resnet50", "cifar")
]
# Rounding depends on operations, which these two share with all others: one without and one with sums.
IN_BOTH = [("basicnet", "cifar"), ("resnet20", "cifar")]
FOREIGN: dict[str, Callable[[], nn.Module]] = {
    "dense": Dense,
    "inverted": Inverted,
    "branches": Branches,
    "gelu": lambda: Plain(nn.GELU()),
    "prelu": lambda: Plain(nn.PReLU(), "same", "reflect"),
}
IMAGES = noise(1, 5, 3, 12, 12)


def family(model: str, head: Literal["cifar", "imagenet"]) -> nn.Module:
    return build(Architecture(model, WIDTHS.get(model, 1 / 16), 3, 5, head))


@pytest.mark.grid(4)
@pytest.mark.parametrize(("model", "head"), FAMILIES)
def test_every_family_computes_the_same(model: str, head: Literal["cifar", "imagenet"]) -> None:
    net = randomize(family(model, head), 1)
    plant(net, 2)
    images = noise(3, 2, 3, 16, 16)
    dtypes = [torch.float64, torch.float32] if (model, head) in IN_BOTH else [torch.float64]
    for dtype in dtypes:
        smaller, removal = remove_dead(net.to(dtype), example=images)
        assert removal.share > 0.1
        assert parameters(smaller) < 0.9 * parameters(net)
        assert difference(net, smaller, images) <= TOLERANCE[dtype]
    certificate = certify(net, smaller, images, random_images=2)
    assert certificate.passes(TOLERANCE[dtypes[-1]])
    assert certificate.resized is not None


@cache
def traced(name: str) -> Graph:
    return trace(FOREIGN[name]().double(), IMAGES)


@cache
def followed(name: str) -> Graphs:
    return Graphs()


@pytest.mark.grid(5)
@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("name", list(FOREIGN))
def test_what_is_left_is_left_again_and_silent_filters_go(name: str, share: float) -> None:
    net = randomize(FOREIGN[name](), 5)
    plant(net, 6, share)
    images = noise(7, *IMAGES.shape)
    smaller, removal = removed(net, traced(name), taken(images))
    assert difference(net, smaller, images) <= 1e-12
    assert removal.share > 0.03
    again, nothing = remove_dead(smaller, example=images)
    assert nothing.share == 0
    assert parameters(again) == parameters(smaller)
    # Silent filters go without a change on the measured images.
    for unit in units(traced(name)):
        norm = net.get_submodule(unit.norm)
        norm.bias.data[torch.rand(len(norm.bias), generator=torch.Generator().manual_seed(5)) < share / 2] = -40
    smaller, _ = removed(net, traced(name), taken(images), measured(net, images, followed(name)))
    assert difference(net, smaller, images) <= 1e-12


@pytest.mark.parametrize("activation", [nn.GELU(), nn.Sigmoid(), nn.Identity()], ids=str)
def test_what_was_0_on_the_measured_images_goes_but_where_an_activation_only_fades(activation: nn.Module) -> None:
    net = randomize(Plain(activation), 1)
    norm = net.body[4]
    norm.weight.data[:3], norm.bias.data[:3] = 1e-11, 0 if isinstance(activation, nn.Identity) else -1e3
    norm.weight.data[2] = 1  # may be seen to vary
    norm.weight.data[:2] *= 1e-3 if isinstance(activation, nn.Identity) else 1
    images = noise(3, 4, 3, 12, 12)
    smaller, removal = remove_dead(net, measure(net, images), example=images)
    [layer] = [layer for layer in removal.layers if layer.name == "body.4"]
    assert layer.empirically_dead + layer.provably_dead == {nn.Identity: 2, nn.Sigmoid: 3, nn.GELU: 0}[type(activation)]
    assert len(layer.kept) == 8 - layer.empirically_dead - layer.provably_dead
    assert difference(net, smaller, images) <= 1e-12


def test_a_sum_loses_only_channels_that_are_dead_in_all_members() -> None:
    net, images = randomize(family("resnet20", "cifar"), 1), noise(1, 3, 3, 16, 16)
    graph, inputs = trace(net, images), taken(images)
    stage = [net.bn1, *(block.bn2 for block in net.layer1)]
    for norm in stage:
        norm.weight.data[:3] = 0
    stage[1].weight.data[3] = stage[2].weight.data[4] = 0
    smaller, _ = removed(net, graph, inputs)
    # Three are constant in every member; of these one stays to carry the others behind zero padding.
    assert smaller.bn1.num_features == net.bn1.num_features - 2
    for norm in stage:
        norm.bias.data[:3] = -0.5
    smaller, _ = removed(net, graph, inputs)
    assert smaller.bn1.num_features == net.bn1.num_features - 3
    # A way that ends dead is not computed.
    net.layer1[1].bn2.weight.data.zero_()
    smaller, removal = removed(net, graph, inputs)
    [layer] = [layer for layer in removal.layers if layer.name == "layer1.1.bn1"]
    assert (smaller.layer1[1].conv1.out_channels, layer.unread) == (1, net.layer1[1].conv1.out_channels)
    assert difference(net, smaller, images) <= 1e-12


def test_counts_are_multiples_on_request() -> None:
    net = randomize(build(Architecture("vgg11", 1 / 4, 3, 5)), 1)
    plant(net, 2, 0.5)
    images = noise(3, 3, 3, 32, 32)
    graph, inputs = trace(net, images), taken(images)
    exact, _ = removed(net, graph, inputs)
    rounded, _ = removed(net, graph, inputs, multiple=8)
    counts = [[m.out_channels for m in n.modules() if isinstance(m, nn.Conv2d)] for n in (net, exact, rounded)]
    assert any(count % 8 for count in counts[1])
    for whole, least, count in zip(*counts, strict=True):
        assert count == min(whole, -(-least // 8) * 8)
    assert difference(net, rounded, images) <= 1e-12


def test_network_that_does_not_say_what_it_takes_needs_an_example() -> None:
    with pytest.raises(InputError, match="Dense does not say what images it takes: give an example"):
        remove_dead(Dense())
