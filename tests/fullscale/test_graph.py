"""A traced network: its BatchNorms, the activations behind them, and what cannot be traced."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynamics.errors import InputError
from fullscale.graph import FUNCTIONS, MODULES, trace, units


class With(nn.Module):
    """A convolution, a BatchNorm and what comes behind."""

    def __init__(self, after: object) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return applied(self.after, self.norm(self.conv(x)))


def applied(after: Any, x: Tensor) -> Tensor:
    result: Tensor = getattr(x, after)() if isinstance(after, str) else after(x)
    return result


def name_of(after: object) -> str:
    """The same in every process, unlike what shows an address."""
    return after if isinstance(after, str) else getattr(after, "__name__", type(after).__name__)


# An activation's own arguments are kept.
GENTLE = partial(F.leaky_relu, negative_slope=0.5)


@pytest.mark.parametrize("after", [*FUNCTIONS, *(kind() for kind in MODULES), GENTLE], ids=name_of)
def test_activations_are_found_and_leave_their_input_alone(after: object) -> None:
    [unit] = units(trace(With(after)))
    x = torch.randn(3, 2, 2, 2)
    before, plain = x.clone(), x.clone()
    assert torch.equal(unit.function(x), applied(after, plain))
    assert torch.equal(x, before)
    # Rectified: exact zeros for every input low enough, and not for all.
    low, high = unit.function(torch.full((1,), -50.0)), unit.function(torch.full((1,), 50.0))
    zeros = unit.function(torch.linspace(-5, -1, 9))
    assert unit.rectified == (low.item() == 0 and high.item() > 1 and not zeros.any())


@pytest.mark.parametrize(
    ("after", "activation"),
    [
        (lambda x: torch.relu(x) + x, "identity"),  # read by more than one
        (lambda x: x + 1, "identity"),
        (nn.MaxPool2d(2), "identity"),
        (nn.Sequential(nn.Identity(), nn.Dropout2d(), nn.ReLU()), "relu"),  # seen through what changes nothing
        (GENTLE, "leaky_relu"),
    ],
)
def test_a_batchnorm_that_something_else_reads_is_an_identity_unit(after: object, activation: str) -> None:
    [unit] = units(trace(With(after)))
    assert (unit.activation, unit.rectified) == (activation, activation == "relu")
    assert (unit.node == "norm") == (activation == "identity")


def test_batchnorm_with_an_activation_inside() -> None:
    class NormAct(nn.BatchNorm2d):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            assert x.sum() < 1e30  # control flow that a tracer could not follow
            result: Tensor = self.act(super().forward(x))
            return result

    [unit] = units(trace(nn.Sequential(nn.Conv2d(1, 2, 3), NormAct(2), nn.Conv2d(2, 2, 3))))
    assert (unit.norm, unit.activation, unit.rectified) == ("1", "relu", True)


def test_tracing_leaves_the_network_alone() -> None:
    net = With(torch.relu).train()
    net.conv.eval()
    net.norm.register_forward_hook(lambda *_: 1 / 0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    trace(net, torch.randn(2, 1, 5, 5))
    assert (net.training, net.norm.training, net.conv.training) == (True, True, False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


NORM = nn.BatchNorm2d(2)


@pytest.mark.parametrize(
    ("net", "example", "reason"),
    [
        (With(lambda x: x if x.sum() > 0 else -x), None, "With cannot be traced by torch.fx"),
        (With(torch.relu), torch.randn(2, 3, 5, 5), "images of shape \\(2, 3, 5, 5\\) do not fit"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), None, "no BatchNorm with a scale"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), NORM, nn.Conv2d(2, 2, 3), NORM), None, "'1' is used more than once"),
    ],
)
def test_what_cannot_be_followed_is_refused(net: nn.Module, example: Tensor | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        units(trace(net, example))
    assert "\n" not in str(caught.value)
