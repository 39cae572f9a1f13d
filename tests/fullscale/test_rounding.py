"""What rounding alone does to a network's outputs, and copies of networks to try it on."""

from __future__ import annotations

import copy
import math
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import noise
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.graph.copied import copied
from fullscale.graph.inputs import Inputs
from fullscale.prune.rounding import _moved, rounding


class Numbers(nn.Module):
    """Gives back its numbers, and what it takes."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(values.clone())
        self.register_buffer("shift", values.clone())
        self.register_buffer("whole", torch.arange(3))

    def forward(self, x: Tensor, ids: Tensor) -> dict[str, Tensor]:
        return {"weight": self.weight + 0, "shift": self.shift + 0, "x": x, "whole": self.whole + ids}


@settings(max_examples=30, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32, allow_subnormal=False),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
def test_every_number_moves_to_its_neighbour(number: float, dtype: torch.dtype) -> None:
    value = torch.full((3,), number, dtype=torch.float64).to(dtype)
    if not value.isfinite().all():
        return
    net = Numbers(value)
    state = copy.deepcopy(net.state_dict())
    found = rounding(net, Inputs((value, torch.arange(3))))
    at = torch.finfo(dtype)
    exponent = math.frexp(abs(float(value[0])))[1] - 1
    last = math.ldexp(at.eps, exponent)
    still = float(value[0]) == 0 or abs(float(value[0])) == at.max
    for place in ("weight", "shift", "x"):
        moved = found[f"['{place}']"]
        # Half as far below a power of two; below the smallest normal number the steps are as long as there.
        assert moved == 0 if still else last / 2 <= moved <= max(last, at.tiny * at.eps)
    assert found["['whole']"] == 0
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_buffers_of_8_bits_move_and_sparse_ones_stay() -> None:
    net = nn.Linear(2, 2)
    net.register_buffer("short", torch.tensor([1.0, -6.0, 0.0, 448.0]).to(torch.float8_e4m3fn))
    net.register_buffer("rows", torch.eye(2).to_sparse())
    moved = [_moved(tensor, torch.Generator().manual_seed(0)) for tensor in (net.short, net.rows)]  # type: ignore[arg-type]
    one, six, zero, most = moved[0].float().tolist()
    assert (abs(one - 1) in (1 / 8, 1 / 16), abs(six + 6), zero, most) == (True, 0.5, 0, 448)
    assert torch.equal(moved[1].to_dense(), torch.eye(2))


def test_it_is_a_seeds_and_masks_stay_masks() -> None:
    lowest = torch.finfo(torch.float32).min
    mask = torch.tensor([[0.0, -torch.inf, lowest]])
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).float()
    x = Inputs((noise(1, 64, 3).float(),))
    assert rounding(net, x, seed=1) == rounding(net, x, seed=1)
    # The largest move is a few last places, so that those of two seeds are often the same; of ten they are not.
    assert len({rounding(net, x, seed=seed)[""] for seed in range(10)}) > 1
    assert 0 < rounding(net, x)[""] < 1e-5

    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            return (x + mask).softmax(-1), x + mask

    found = rounding(Masked(), Inputs((torch.ones(4, 3), mask)))
    assert found["[0]"] == 0
    assert math.isfinite(found["[1]"])


def test_more_layers_round_more() -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(40) for layer in (nn.Linear(30, 30), nn.BatchNorm1d(30))]
    deep, flat = nn.Sequential(*layers).eval(), nn.Sequential(*layers[:2]).eval()
    for net in (deep, flat):
        net.double().requires_grad_(False)
    x = Inputs((noise(2, 32, 30),))
    size = [float(net(x.args[0]).abs().max()) for net in (deep, flat)]
    assert rounding(deep, x)[""] / size[0] > rounding(flat, x)[""] / size[1] > 0


class Recording(nn.Module):
    """Holds results with their gradient in every place that a copy looks into."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.losses, self.held = nn.Linear(2, 2), [], {}  # type: ignore[var-annotated]
        self.tied = self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.layer(x)
        self.losses.append(self.last.sum())
        self.held["again"] = self.last
        return self.last


def test_results_with_a_gradient_are_copied_without_it() -> None:
    net = Recording()
    x = torch.ones(1, 2)
    net(x).sum().backward()
    with pytest.raises(RuntimeError):
        copy.deepcopy(net)
    twin = copied(net)
    assert torch.equal(twin(x), net(x))
    twin = copied(net)
    assert not twin.last.requires_grad
    assert twin.held["again"] is twin.last is not net.last
    assert net.last.requires_grad
    assert torch.equal(twin.losses[0], net.losses[0])
    assert twin.tied is twin.layer.weight is not net.layer.weight
    assert twin.layer.weight.requires_grad
    assert twin.losses is not net.losses


def test_functions_that_a_copy_holds_reach_the_copy() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    old, seen = net[0].forward, []  # type: ignore[var-annotated]

    def inner(x: Tensor, last: nn.Module = net[2]) -> Tensor:
        return old(x) + last.weight.sum()

    net[0].forward = lambda x: inner(x) + 1
    net[1].register_forward_hook(
        lambda module, given, out, *, weight=net[2].weight: seen.append(out) or out * weight[0, 0]
    )  # type: ignore[func-returns-value]
    x = torch.ones(1, 2)
    want = net(x)
    twin = copied(net)
    assert torch.equal(twin(x), want)
    assert len(seen) == 2, "what is no part of the network is shared"
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(twin(x), want)
    assert rounding(twin, Inputs((x,)))[""] > 0


ELSEWHERE = nn.Linear(2, 2)


def test_what_cannot_be_copied_is_said() -> None:
    net = nn.Sequential(nn.Linear(2, 2), ELSEWHERE)
    net[0].register_forward_hook(lambda module, given, out: ELSEWHERE(out))
    with pytest.raises(InputError, match="reaches the network by the global name ELSEWHERE"):
        copied(net)
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].register_forward_hook(lambda module, given, out: ELSEWHERE(out))  # no part of the network
    copied(net)
    net.lock = threading.Lock()
    with pytest.raises(InputError, match=r"Sequential cannot be copied .*lock"):
        rounding(net, Inputs((torch.ones(1, 2),)))
