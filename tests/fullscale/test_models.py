"""The networks are the published ones, at any width."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.errors import InputError
from fullscale.cost import multiply_adds, parameters
from fullscale.graph import trace, units
from fullscale.models import MODELS, Architecture, build

PAIRS = [(model, head) for model in MODELS for head in MODELS[model]]
# torchvision's counts for vgg*_bn and resnet*; Liu et al. 2017 for VGG-19 (20.04 million); the rest follow from the papers'
# tables, the 1x1 shortcuts of CIFAR's ResNets included. Multiply-adds as the papers count them, convolutions and linear layers
# alone: He et al. give 1.8e9 and 3.8e9 (with the stride of bottlenecks at the first convolution; 4.09e9 where it is at the second).
PUBLISHED = {
    ("vgg11", "imagenet"): (132_868_840, None),
    ("vgg16", "imagenet"): (138_365_992, 15.47e9),
    ("vgg19", "imagenet"): (143_678_248, None),
    ("resnet18", "imagenet"): (11_689_512, 1.814e9),
    ("resnet50", "imagenet"): (25_557_032, 4.089e9),
    ("vgg19", "cifar"): (20_040_522, None),
    ("resnet20", "cifar"): (272_474, None),
    ("resnet56", "cifar"): (855_770, None),
}
BATCHNORMS = {
    "basicnet": 7, "vgg11": 8, "vgg16": 13, "vgg19": 16, "resnet20": 21, "resnet56": 57, "resnet18": 20, "resnet50": 53,
}  # fmt: skip
# Some of torchvision's names.
NAMES = {
    "basicnet": set(),
    "vgg": {"features.0.weight", "features.1.running_mean"},
    "resnet": {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.1.weight", "fc.bias"},
}


@pytest.mark.parametrize(("model", "head"), list(PUBLISHED))
def test_costs_are_those_published(model: str, head: Any) -> None:
    with torch.device("meta"):  # without memory for the weights
        net = build(Architecture(model, 1, 3, 1000 if head == "imagenet" else 10, head))
    count, operations = PUBLISHED[model, head]
    assert parameters(net) == count
    if operations:
        assert multiply_adds(net, torch.empty(1, 3, 224, 224, device="meta")) == pytest.approx(operations, rel=2e-3)


@pytest.mark.parametrize(("model", "head"), PAIRS)
@settings(max_examples=6, deadline=None)
@given(size=st.integers(6, 70), width=st.sampled_from([1 / 64, 1 / 16]), channels=st.integers(1, 3))
def test_images_of_any_size_give_logits(model: str, head: Any, size: int, width: float, channels: int) -> None:
    net = build(Architecture(model, width, channels, 3, head)).eval()
    with torch.no_grad():
        assert net(torch.randn(2, channels, size, size)).shape == (2, 3)


@pytest.mark.grid(5)
@pytest.mark.parametrize(("model", "head"), PAIRS)
def test_every_batchnorm_is_a_unit_and_names_are_torchvisions(model: str, head: Any) -> None:
    net = build(Architecture(model, 1 / 64, head=head))
    found = [unit for unit in units(trace(net, torch.zeros(1, 3, 32, 32))) if unit.batch]
    assert len(found) == BATCHNORMS[model]
    # In a residual network the last BatchNorm of each way goes into a sum.
    assert all(unit.rectified for unit in found) == (not model.startswith("resnet"))
    assert NAMES[model.rstrip("0123456789")] <= net.state_dict().keys()


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
