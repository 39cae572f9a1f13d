"""The size of gradients is that of backward(), and measuring it leaves no trace."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from fullscale.gradient_scale import gradient_scale


def made() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 5)
    )


def pairs(count: int = 3) -> list[Any]:
    draw = torch.Generator().manual_seed(1)
    return [(torch.randn(6, 3, 8, 8, generator=draw), torch.randint(5, (6,), generator=draw)) for _ in range(count)]


def test_it_is_what_backward_gives() -> None:
    net = made().eval()  # without dropout both see the same
    found = gradient_scale(net, cross_entropy, pairs(), batches=2)
    grads: dict[str, list[torch.Tensor]] = {}
    for inputs, labels in pairs()[:2]:
        net.zero_grad()
        cross_entropy(net(inputs), labels).backward()
        for name, p in net.named_parameters():
            assert p.grad is not None
            grads.setdefault(name, []).append(p.grad.double())
    assert list(found) == list(grads)
    for name, parts in grads.items():
        g, scale = torch.stack(parts), found[name]
        assert scale is not None
        assert scale.arrival == pytest.approx(float((g != 0).double().mean()))
        assert scale.rms == pytest.approx(float(g[g != 0].square().mean().sqrt()))


def _drawn() -> Any:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr] # noqa: NPY002


def drawing() -> Iterator[Any]:
    """Batches whose transforms draw from all that there is, as does dropout."""
    for batch in pairs():
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        yield batch


def test_it_leaves_no_trace() -> None:
    net = made().train()
    cross_entropy(net(pairs()[0][0]), pairs()[0][1]).backward()
    before = copy.deepcopy(net.state_dict())
    grads = [(p.grad, p.grad.clone()) for p in net.parameters() if p.grad is not None]
    drawn = _drawn()
    gradient_scale(net, nn.CrossEntropyLoss(), drawing())
    assert _drawn() == drawn
    assert all(torch.equal(before[name], now) for name, now in net.state_dict().items())
    assert net.training
    assert all(
        p.grad is held and torch.equal(held, value) for p, (held, value) in zip(net.parameters(), grads, strict=True)
    )


def test_a_failure_leaves_no_trace_either() -> None:
    net = made().train()
    before, drawn = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    with pytest.raises(InputError, match="is not finite"):
        gradient_scale(net, lambda found, wanted: cross_entropy(found, wanted) * float("inf"), pairs())
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(before[name], now) for name, now in net.state_dict().items())


def test_rare_gradients_and_none_at_all() -> None:
    net = nn.Embedding(10, 2)
    scale = gradient_scale(net, lambda found, _: 3 * found.sum(), [(torch.tensor([k]), 0) for k in (0, 1)])["weight"]
    assert scale is not None
    assert (scale.rms, scale.arrival) == (3.0, 0.1)
    assert gradient_scale(net, lambda found, _: 0 * found.sum(), [(torch.tensor([0]), 0)]) == {"weight": None}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"net": 3}, "net 3: a torch.nn.Module is accepted"),
        ({"net": nn.ReLU()}, "net ReLU has no parameter that is trained"),
        ({"loss": 3}, "loss 3: a function is accepted"),
        ({"loader": 3}, "loader 3: an iterable of batches"),
        ({"loader": []}, "loader has no batch"),
        ({"loader": [3]}, "batch 3: a pair"),
        ({"batches": 0}, "batches 0: a whole number from 1"),
        ({"loss": lambda found, wanted: 3.0}, "loss gave 3.0: a tensor of one number"),
        ({"loss": lambda found, wanted: found}, "a tensor of one number"),
        ({"loss": lambda found, wanted: found.detach().sum()}, "that depends on the network"),
    ],
)
def test_what_cannot_be_measured_is_refused(more: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"net": made(), "loss": cross_entropy, "loader": pairs(1)} | more
    with pytest.raises(InputError, match=message):
        gradient_scale(**given)
