"""Certifying changes nothing of the user's, whatever a network writes, holds, keeps or is wrapped in."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel

from fullscale.prune import certify


class Writing(nn.Module):
    """Leaves traces wherever a forward can: in its input, a list, an attribute, a buffer, the random numbers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.seen = how, []  # type: ignore[var-annotated]
        self.calls = 0
        self.register_buffer("count", torch.zeros(()))
        self.conv = nn.Conv2d(3, 4, 3)
        self.rectify = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "input":
            x = x.sub_(0.5).div_(2.0)
        elif self.how == "rectified input":
            x = self.rectify(x)
        elif self.how == "list":
            self.seen.append(float(x.mean()))
            x = x + len(self.seen)
        elif self.how == "attribute":
            self.calls += 1
            x = x * self.calls
        elif self.how == "buffer":
            self.count += 1
            x = x * self.count
        else:
            x = x + torch.randn_like(x)
        result: Tensor = self.conv(x)
        return result


@pytest.mark.parametrize("how", ["input", "rectified input", "list", "attribute", "buffer", "random"])
def test_a_network_equals_its_own_copy_and_nothing_is_changed(how: str) -> None:
    torch.manual_seed(0)
    net, images = Writing(how).train(), torch.randn(70, 3, 8, 8)
    before, state, random = images.clone(), copy.deepcopy(net.state_dict()), torch.get_rng_state()
    certificate = certify(net, copy.deepcopy(net), images, random_images=70, timed=(2,))
    assert certificate.largest == 0
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert (net.seen, net.calls, net.training, net.rectify.training) == ([], 0, True, True)


class Holding(nn.Module):
    """Tensors that are neither parameters nor buffers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.mean = how, torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
        self.means = [self.mean, {"deep": 2 * self.mean}]
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "attribute":
            x = x - self.mean
        elif self.how == "list":
            x = x - self.means[0] / self.means[1]["deep"]  # type: ignore[index]
        else:
            x = x - torch.linspace(0, 1, 3).view(1, 3, 1, 1)
        result: Tensor = self.conv(x)
        return result


@pytest.mark.parametrize("how", ["attribute", "list", "made"])
def test_tensors_elsewhere_are_no_hindrance(how: str) -> None:
    net = Holding(how)
    certificate = certify(net, copy.deepcopy(net), torch.randn(4, 3, 8, 8))
    assert certificate.largest == 0
    assert certificate.multiply_adds_before == 4 * 27 * 36
    assert certificate.rounding > 0


@pytest.mark.parametrize(
    "wrap", [lambda net: torch.compile(net, backend="eager"), nn.DataParallel, lambda net: AveragedModel(net).eval()]
)
def test_wrappers_are_unwrapped(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net, images = Writing("input"), torch.randn(4, 3, 8, 8)
    plain = certify(net, net, images)
    assert certify(wrap(net), net, images) == certify(net, wrap(net), images) == plain


class Keeping(nn.Conv2d):
    """Keeps what it computed, with its gradient."""

    def forward(self, x: Tensor) -> Tensor:
        self.last: Any = super().forward(x)
        return self.last  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "how", [lambda m: prune.l1_unstructured(m, "weight", amount=0.5), weight_norm, spectral_norm, lambda _: None]
)
def test_straight_after_a_training_pass(how: Callable[[nn.Module], Any]) -> None:
    images = torch.randn(4, 3, 12, 12)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Keeping(8, 4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older weight_norm is meant
        how(net[2])
    net(images).sum().backward()
    held = net[2].last
    certificate = certify(net, net, images)
    assert certificate.largest == 0 < certificate.rounding
    assert net[2].last is held
    assert held.requires_grad
