"""The networks are the published ones, at any width."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.errors import InputError
from fullscale.cost import multiply_adds, parameters
from fullscale.graph import trace, units
from fullscale.models import MODELS, Architecture, build

PAIRS = [(model, head) for model in MODELS for head in MODELS[model]]
Head = Literal["cifar", "imagenet"]

# torchvision's counts for vgg*_bn and resnet*; Liu et al. 2017 for VGG-19 (20.04 million); the rest follow from the papers'
# tables, the 1x1 shortcuts of CIFAR's ResNets included.
PARAMETERS = {
    ("vgg11", "imagenet"): 132_868_840,
    ("vgg16", "imagenet"): 138_365_992,
    ("vgg19", "imagenet"): 143_678_248,
    ("resnet18", "imagenet"): 11_689_512,
    ("resnet50", "imagenet"): 25_557_032,
    ("vgg19", "cifar"): 20_040_522,
    ("resnet20", "cifar"): 272_474,
    ("resnet56", "cifar"): 855_770,
}
# Counted as the papers do, convolutions and linear layers alone: He et al. give 1.8e9 and 3.8e9 (with the stride of
# bottlenecks at the first convolution; 4.09e9 where it is at the second).
MULTIPLY_ADDS = {("resnet18", "imagenet"): 1.814e9, ("resnet50", "imagenet"): 4.089e9, ("vgg16", "imagenet"): 15.47e9}
BATCHNORMS = {
    "basicnet": 7,
    "vgg11": 8,
    "vgg16": 13,
    "vgg19": 16,
    "resnet20": 21,
    "resnet56": 57,
    "resnet18": 20,
    "resnet50": 53,
}


def shell(model: str, head: Head) -> torch.nn.Module:
    """The full network without memory for its weights."""
    with torch.device("meta"):
        return build(Architecture(model, 1, 3, 1000 if head == "imagenet" else 10, head))


@pytest.mark.parametrize(("model", "head"), list(PARAMETERS))
def test_parameters_are_those_published(model: str, head: Head) -> None:
    assert parameters(shell(model, head)) == PARAMETERS[model, head]


@pytest.mark.parametrize(("model", "head"), list(MULTIPLY_ADDS))
def test_multiply_adds_are_those_published(model: str, head: Head) -> None:
    counted = multiply_adds(shell(model, head), torch.empty(1, 3, 224, 224, device="meta"))
    assert counted == pytest.approx(MULTIPLY_ADDS[model, head], rel=2e-3)


@pytest.mark.parametrize(("model", "head"), PAIRS)
def test_names_are_torchvisions(model: str, head: Head) -> None:
    names = set(build(Architecture(model, 1 / 64, 3, 10, head)).state_dict())
    if model.startswith("vgg"):
        assert {"features.0.weight", "features.1.running_mean"} <= names
    if model.startswith("resnet"):
        assert {
            "conv1.weight",
            "bn1.weight",
            "layer1.0.conv1.weight",
            "layer2.0.downsample.1.weight",
            "fc.bias",
        } <= names


@pytest.mark.parametrize(("model", "head"), PAIRS)
@settings(max_examples=6, deadline=None)
@given(size=st.integers(6, 70), width=st.sampled_from([1 / 64, 1 / 16]), channels=st.integers(1, 3))
def test_images_of_any_size_give_logits(model: str, head: Head, size: int, width: float, channels: int) -> None:
    net = build(Architecture(model, width, channels, 3, head)).eval()
    with torch.no_grad():
        assert net(torch.randn(2, channels, size, size)).shape == (2, 3)


@pytest.mark.parametrize("model", list(MODELS))
def test_every_batchnorm_is_a_unit(model: str) -> None:
    net = build(Architecture(model, 1 / 16))
    found = units(trace(net, torch.randn(1, 3, 32, 32)))
    assert len(found) == BATCHNORMS[model]
    # In a residual network the last BatchNorm of each way goes into a sum.
    rectified = [unit.rectified for unit in found]
    assert all(rectified) == (not model.startswith("resnet"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "vgg13"}, "model 'vgg13' is unknown: accepted are basicnet, vgg11"),
        ({"model": "resnet20", "head": "imagenet"}, "head 'imagenet' of resnet20: cifar is accepted"),
        ({"head": "mnist"}, "head 'mnist' is unknown"),
        ({"width": 0.0}, "width 0.0"),
        ({"classes": 0}, "classes 0"),
        ({"in_channels": 1.5}, "in_channels 1.5"),
    ],
)
def test_unknown_networks_are_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Architecture(**({"model": "vgg11"} | change))  # type: ignore[arg-type]
