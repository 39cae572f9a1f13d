"""Networks trained side by side against the same networks trained alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dynamics.couplings import COUPLINGS
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES
from fullscale.models import Chain, NetConfig
from fullscale.replicas import Replicas

R, N, STEPS, CLASSES = 3, 6, 4, 3
CONFIG = NetConfig(channels=(3, 4, 2), strides=(1, 2, 1), in_channels=2, classes=CLASSES)


def networks() -> list[Chain]:
    torch.manual_seed(7)
    return [Chain(CONFIG).double() for _ in range(R)]


def batches() -> tuple[Tensor, Tensor]:
    """Other images and labels for each step and replica: (STEPS, R, N, C, H, W) and (STEPS, R, N)."""
    torch.manual_seed(8)
    return torch.randn(STEPS, R, N, 2, 5, 5, dtype=torch.float64), torch.randint(CLASSES, (STEPS, R, N))


def descend(net: torch.nn.Module, rule: str, coupling: str, losses: Iterable[Callable[[], Tensor]]) -> None:
    optimizer = Optimizer(net.parameters(), rule, coupling, lr=0.02, weight_decay=0.0 if coupling == "none" else 0.03)
    for loss in losses:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def trained_alone(net: Chain, x: Tensor, y: Tensor, rule: str, coupling: str) -> Chain:
    descend(net, rule, coupling, (lambda k=k: cross_entropy(net(x[k]), y[k]) for k in range(STEPS)))
    return net


def trained_together(x: Tensor, y: Tensor, rule: str, coupling: str) -> Replicas:
    joined = Replicas(networks())

    def loss(k: int) -> Tensor:
        outputs = joined(torch.cat(list(x[k]), dim=1))
        return torch.stack([cross_entropy(outputs[r], y[k, r]) for r in range(R)]).sum()

    descend(joined, rule, coupling, (partial(loss, k) for k in range(STEPS)))
    return joined


def assert_close(one: Chain, other: Chain) -> None:
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-9, atol=1e-9, msg=name)


# What looks at a whole tensor would see all replicas in it: a run of such a rule has one seed.
ALONE = [name for name, rule in RULES.items() if rule.unit == "weight"]
SOME = ("sgd", "adam", "schedule_free")


@pytest.mark.parametrize(
    ("rule", "coupling"),
    [*((rule, "l2") for rule in ALONE), *((rule, c) for c in COUPLINGS if c != "l2" for rule in SOME)],
)
def test_side_by_side_is_as_alone(rule: str, coupling: str) -> None:
    x, y = batches()
    joined = trained_together(x, y, rule, coupling)
    for r, net in enumerate(networks()):
        first = net.blocks[0].conv.weight.detach().clone()
        alone = trained_alone(net, x[:, r], y[:, r], rule, coupling)
        assert not torch.allclose(alone.blocks[0].conv.weight, first, rtol=1e-4)
        assert_close(alone, joined.take(r))


@pytest.mark.parametrize("training", [True, False])
def test_a_replica_is_its_network_in_either_mode_and_comes_back_as_a_copy(training: bool) -> None:
    x, y = batches()
    nets = [trained_alone(net, x[:, r], y[:, r], "sgd", "none").train(training) for r, net in enumerate(networks())]
    joined = Replicas(nets).train(training)
    for r, net in enumerate(nets):
        taken = joined.take(r)
        assert (taken.config, taken.training) == (net.config, training)
        assert all(torch.equal(taken.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
        for parameter in taken.parameters():
            parameter.data.fill_(9)
    assert not any((parameter == 9).any() for parameter in joined.parameters())
    outputs = joined(torch.cat(list(x[0]), dim=1))
    torch.testing.assert_close(
        outputs, torch.stack([net(x[0, r]) for r, net in enumerate(nets)]), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("rule", SOME)
def test_a_replica_that_is_not_finite_leaves_the_others_alone(rule: str) -> None:
    x, y = batches()
    clean = trained_together(x, y, rule, "l2")
    spoiled = x.clone()
    spoiled[:, 1] = math.nan
    joined = trained_together(spoiled, y, rule, "l2")
    assert joined.take(1).head.weight.isnan().all()
    for r in (0, 2):
        assert_close(clean.take(r), joined.take(r))
