"""The graph of a network: its units, the activations behind them, that nothing of the network's is touched, and what is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynamics.errors import InputError
from fullscale.graph import taken, trace, units
from fullscale.graph.activations import ACTIVATIONS
from fullscale.graph.trace import call

X = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))


class With(nn.Module):
    """A convolution, a BatchNorm and what comes behind."""

    def __init__(self, after: object, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2) if norm is None else norm
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
# By functions, methods and modules, in place and not; a rectifier has many names.
ACTIVATED: dict[str, list[Any]] = {
    "relu": [
        torch.relu, F.relu, "relu", "relu_", nn.ReLU(), nn.ReLU(inplace=True), lambda x: x.clamp(min=0),
        lambda x: F.threshold(x, 0, 0), lambda x: torch.maximum(x, torch.zeros_like(x)), lambda x: torch.max(x.new_zeros(()), x),
        lambda x: torch.where(x > 0, x, torch.zeros_like(x)), lambda x: torch.where(x < 0, 0.0, x), lambda x: x * (x >= 0),
        lambda x: torch.maximum(x, torch.tensor(0.0)), lambda x: F.relu(x) * (x > 0).float(),
    ],
    "relu6": [F.relu6, nn.ReLU6(), lambda x: F.hardtanh(x, 0, 6)],
    "leaky_relu": [GENTLE, nn.LeakyReLU(0.2, inplace=True)],
    "elu": [nn.ELU(0.5)], "selu": [F.selu], "celu": [nn.CELU(2.0)], "gelu": [F.gelu, nn.GELU("tanh")],
    "silu": [F.silu, nn.SiLU(inplace=True)], "mish": [nn.Mish()], "softplus": [nn.Softplus(2)],
    "hardswish": [F.hardswish], "hardtanh": [nn.Hardtanh()], "hardsigmoid": [F.hardsigmoid],
    "tanh": ["tanh", nn.Tanh()], "sigmoid": [torch.sigmoid, nn.Sigmoid()],
}  # fmt: skip


def test_every_activation_is_tried() -> None:
    assert set(ACTIVATED) == set(ACTIVATIONS.values())


@pytest.mark.parametrize(
    ("name", "after"), [(name, after) for name, every in ACTIVATED.items() for after in every], ids=name_of
)
def test_activations_are_found_and_leave_their_input_alone(name: str, after: object) -> None:
    [unit] = units(trace(With(after), X))
    assert unit.activation == name
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
    ],
)
def test_a_batchnorm_that_something_else_reads_is_an_identity_unit(after: object, activation: str) -> None:
    [unit] = units(trace(With(after), X))
    assert (unit.norm, unit.activation, unit.rectified) == ("norm", activation, activation == "relu")


class NormAct(nn.BatchNorm2d):
    """An activation inside of the BatchNorm."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(super().forward(x))


class Gated(nn.Module):
    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gate, self.up, self.down, self.act = nn.Linear(5, 7), nn.Linear(5, 7), nn.Linear(7, 5), act

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(self.act(self.gate(x)) * self.up(x))
        return result


class Fused(nn.Module):
    """Gate and layer in one matrix."""

    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.both, self.down, self.gate = nn.Linear(5, 14), nn.Linear(7, 5), gate

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(self.gate(self.both(x)))
        return result


class Jumping(nn.Module):
    """What is above a bound that is computed from a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.bound = nn.Linear(5, 7), nn.Linear(7, 5), nn.Parameter(torch.zeros(7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        result: Tensor = self.down(F.relu(x) * (x > self.bound.exp()).to(x.dtype))
        return result


class Summed(nn.Module):
    """A product with a matrix by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, 7))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.einsum("nclf,fk->nclk", x, self.weight))


def test_it_is_said_what_an_activation_is_behind() -> None:
    with pytest.raises(
        InputError, match=r"behind a convolution or linear layer \(here: relu of einsum; sigmoid and tanh"
    ):
        units(trace(Summed(), X))


@pytest.mark.parametrize(
    ("net", "found"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), NormAct(2), nn.Conv2d(2, 2, 3)), [("1", "relu", 2, "1.weight", "0.weight")]),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()), [("0", "relu", 3, None, "0.weight")]),
        (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.GELU()), [("1", "gelu", 4, "1.weight", "0.weight")]),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()), [("1", "relu", 4, "1.weight", "0.weight")]),
        (Gated(F.silu), [("gate", "silu", 7, None, "gate.weight")]),
        (Gated(torch.sigmoid), None),
        (With(F.relu, nn.BatchNorm2d(2, affine=False)), [("norm", "relu", 2, None, "conv.weight")]),
        (Fused(lambda x: F.gelu(x.chunk(2, -1)[1]) * x.chunk(2, -1)[0]), [("both", "gelu", 7, None, None)]),
        (Fused(lambda x: F.silu(x[..., :7]) * x[..., 7:]), [("both", "silu", 7, None, None)]),
        (Fused(lambda x: F.relu(x.split(7, -1)[1])), [("both", "relu", 7, None, None)]),
        (Fused(F.glu), [("both", "glu", 7, None, None)]),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.PReLU(4)), [("0", "prelu", 4, None, "0.weight")]),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.RReLU()), [("0", "rrelu", 4, None, "0.weight")]),
        (With(nn.PReLU()), [("norm", "prelu", 2, "norm.weight", "conv.weight")]),
        (Jumping(), [("up", "jumprelu", 7, None, "up.weight")]),
        # Places are taken apart, not channels.
        (Fused(lambda x: F.relu(x[:, :, :2])[..., :7]), None),
        (Summed(), None),
    ],
    ids=[
        "inside",
        "bare",
        "layer norm",
        "group norm",
        "gated",
        "a gate alone",
        "no scale",
        "fused",
        "slices",
        "split",
        "glu",
        "prelu",
        "rrelu",
        "prelu behind a norm",
        "jumprelu",
        "places",
        "einsum",
    ],
)
def test_units_of_networks_of_every_kind(net: nn.Module, found: list[Any] | None) -> None:
    if found is None:
        with pytest.raises(InputError, match="neither a BatchNorm nor an activation"):
            units(trace(net, X))
        return
    assert [(u.norm, u.activation, u.filters, u.scale, u.weight) for u in units(trace(net, X))] == found


def test_a_norm_used_twice_is_two_units() -> None:
    found = units(trace(With(lambda x: x, nn.BatchNorm2d(2)).apply(_twice), X))
    assert [unit.norm for unit in found] == ["norm", "norm#2"]


def _twice(module: nn.Module) -> None:
    if isinstance(module, With):
        module.after = lambda x: module.norm(x + 1)


SEEN: list[Tensor] = []


class Meddling(nn.Module):
    """Leaves things wherever forward can leave them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.losses, self.state = nn.Conv2d(1, 2, 3), [], {"calls": 0, "deep": [[]]}
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("table", torch.tensor([torch.nan, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x.mul_(2)))
        self.losses.append(y.mean())
        self.state["calls"] += 1
        self.state["deep"][0].append(y)
        self.last = y
        self.seen += 1
        self.table[1] += 1
        SEEN.append(y)
        return y + torch.rand(1)


def test_tracing_leaves_everything_alone() -> None:
    net, x, kept = Meddling().train(), X.clone(), []
    net.conv.eval().weight.requires_grad_(False)
    hook = net.conv.register_forward_hook(lambda module, given, result: kept.append(result))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    random = torch.get_rng_state()
    graph = trace(net, x)
    assert (net.training, net.conv.training, net.conv.weight.requires_grad) == (True, False, False)
    assert all(torch.equal(tensor.nan_to_num(), before[name].nan_to_num()) for name, tensor in net.state_dict().items())
    assert (net.losses, net.state, SEEN, kept) == ([], {"calls": 0, "deep": [[]]}, [], [])
    assert not hasattr(net, "last")
    assert torch.equal(x, X)
    assert torch.equal(torch.get_rng_state(), random)
    hook.remove()
    # The graph does what Python does, writing into a copy.
    torch.manual_seed(3)
    expected = net.eval()(x.clone())
    torch.manual_seed(3)
    assert torch.equal(graph.run(net, taken(X.clone()))[0], expected)


def test_a_call_leaves_everything_alone() -> None:
    net, x, seen = Meddling().train(), X.clone(), len(SEEN)
    call(net, taken(x))
    assert (net.losses, net.state, len(SEEN)) == ([], {"calls": 0, "deep": [[]]}, seen)
    assert (net.seen.item(), net.table[1].item()) == (0, 1)
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    ("net", "example", "reason"),
    [
        (With(lambda x: x if x.sum() > 0 else -x), X, "With: torch.export cannot follow"),
        (With(torch.relu), torch.randn(2, 3, 5, 5), r"inputs of shape \(2, 3, 5, 5\) do not fit With"),
        (With(torch.relu), torch.randn(0, 1, 5, 5), "one image or more"),
        (With(torch.relu), "images", "an example of type str"),
        (With(torch.relu), {"y": X}, "do not fit With"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(
    net: nn.Module, example: Any, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        trace(net, example)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == 0
