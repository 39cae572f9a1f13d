"""A network that is measured is left as it was, and one that has diverged or does not fit its images is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from planting import noise, randomize
from torch import nn

from dynamics.errors import InputError
from fullscale.measure import measure
from fullscale.models import Chain, NetConfig


def chain() -> Any:
    return randomize(Chain(NetConfig((3, 4), (1, 1), in_channels=2, classes=3)), 0)


IMAGES = noise(1, 4, 2, 3, 3)


def refused(words: str, net: nn.Module, images: Any, batch: int = 1024) -> None:
    with pytest.raises(InputError, match=words) as caught:
        measure(net, images, batch)
    assert "\n" not in str(caught.value)


def test_threshold_without_meaning_is_refused() -> None:
    activity = measure(chain(), IMAGES)
    for threshold in (0, -1e-3, math.inf, math.nan):
        for ask in (activity.constant, lambda t: activity.sweep([t]), lambda t: activity.below("scale", t)):
            with pytest.raises(InputError, match="threshold"):
                ask(threshold)


@pytest.mark.parametrize("training", [True, False])
def test_network_is_left_as_it_was(training: bool) -> None:
    net = chain().train(training)
    net.blocks[1].eval()
    modes = [module.training for module in net.modules()]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    measure(net, IMAGES)
    # Also when it fails on the way.
    net.blocks[1].norm.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(InputError, match=r"Chain \(division by zero\)$"):
        measure(net, IMAGES)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    "name", ["blocks.0.conv.weight", "blocks.1.norm.running_mean", "blocks.1.norm.bias", "head.weight"]
)
def test_diverged_network_is_named_as_such(name: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        net = chain()
        net.state_dict()[name].view(-1)[0] = value
        refused(f"^{name} is not finite: the network diverged$", net, IMAGES)
    net = chain().float()
    net.blocks[0].norm.weight.data.fill_(1e38)
    refused(r"activations behind blocks\.0\.norm are not finite: the network diverged", net, IMAGES)


DEEP = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 5), nn.BatchNorm2d(2))


@pytest.mark.parametrize(
    ("words", "net", "images", "batch"),
    [
        (r"\(2, 3, 5, 5\) do not fit Chain .*to have 2 channels, but got 3", chain(), torch.zeros(4, 3, 5, 5), 2),
        ("accepted", chain(), torch.zeros(0, 2, 5, 5), 2),
        ("accepted", chain(), torch.tensor(0.0), 2),
        ("int.*accepted", chain(), 3, 2),
        ("uint8.*accepted", chain(), torch.zeros(4, 2, 5, 5, dtype=torch.uint8), 2),
        ("batch 0.*accepted", chain(), torch.zeros(4, 2, 5, 5), 0),
        ("no batches", chain(), [], 2),
        (r"\(2, 3, 3, 3\) do not fit Chain", chain(), [noise(0, 2, 2, 3, 3), noise(0, 2, 3, 3, 3)], 2),
        ("positional argument", chain(), (IMAGES, IMAGES), 2),
        ("unexpected keyword argument 'pixels'", chain(), {"pixels": IMAGES}, 2),
        ("behind blocks.0.norm.*or the images did", chain(), IMAGES * math.inf, 2),
        # A plane smaller than a kernel within.
        (r"\(1, 2, 4, 4\) do not fit Sequential .*Kernel size", DEEP, torch.zeros(1, 2, 4, 4), 2),
        ("index out of range", nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2), nn.ReLU()), torch.tensor([[3]]), 2),
        ("0.weight has no shape yet", nn.Sequential(nn.LazyLinear(2), nn.ReLU()), IMAGES, 2),
        ("neither a BatchNorm nor an activation", nn.Conv2d(2, 2, 1), IMAGES, 2),
    ],
)
def test_what_does_not_fit_is_refused(words: str, net: nn.Module, images: Any, batch: int, capfd: Any) -> None:
    refused(words, net, images, batch)
    assert capfd.readouterr() == ("", "")


class ByNumbers(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.relu() if x.sum() > 0 else x


def test_what_the_graph_cannot_do_is_not_blamed_on_the_images(capfd: pytest.CaptureFixture[str]) -> None:
    refused("^Sequential: torch.export cannot follow", nn.Sequential(nn.Linear(2, 2), ByNumbers()), torch.ones(2, 2))
    assert capfd.readouterr() == ("", "")
