"""Networks trained side by side against the same networks trained alone."""

from __future__ import annotations

import math

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


def optimizer_of(net: torch.nn.Module, rule: str, coupling: str) -> Optimizer:
    return Optimizer(net.parameters(), rule, coupling, lr=0.02, weight_decay=0.0 if coupling == "none" else 0.03)


def trained_alone(net: Chain, x: Tensor, y: Tensor, rule: str, coupling: str) -> Chain:
    optimizer = optimizer_of(net, rule, coupling)
    for images, labels in zip(x, y, strict=True):
        optimizer.zero_grad()
        cross_entropy(net(images), labels).backward()
        optimizer.step()
    return net


def trained_together(nets: list[Chain], x: Tensor, y: Tensor, rule: str, coupling: str) -> Replicas:
    joined = Replicas(nets)
    optimizer = optimizer_of(joined, rule, coupling)
    for images, labels in zip(x, y, strict=True):
        optimizer.zero_grad()
        outputs = joined(torch.cat(list(images), dim=1))
        sum(cross_entropy(outputs[r], labels[r]) for r in range(R)).backward()
        optimizer.step()
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
    joined = trained_together(networks(), x, y, rule, coupling)
    for r, net in enumerate(networks()):
        first = net.blocks[0].conv.weight.detach().clone()
        alone = trained_alone(net, x[:, r], y[:, r], rule, coupling)
        assert not torch.allclose(alone.blocks[0].conv.weight, first, rtol=1e-4)
        assert_close(alone, joined.take(r))


def test_before_any_step_each_replica_puts_out_what_its_network_does() -> None:
    nets = networks()
    x = batches()[0][0]
    for mode in (True, False):
        joined = Replicas(nets).train(mode)
        outputs = joined(torch.cat(list(x), dim=1))
        assert outputs.shape == (R, N, CLASSES)
        for r, net in enumerate(networks()):
            torch.testing.assert_close(outputs[r], net.train(mode)(x[r]), rtol=1e-12, atol=1e-12)


def test_taking_a_replica_gives_the_network_back_as_a_copy() -> None:
    x, y = batches()
    nets = [trained_alone(net, x[:, r], y[:, r], "sgd", "none") for r, net in enumerate(networks())]
    joined = Replicas(nets)
    for r, net in enumerate(nets):
        taken = joined.take(r)
        assert taken.config == net.config
        for name, tensor in net.state_dict().items():
            assert torch.equal(taken.state_dict()[name], tensor), name
        with torch.no_grad():
            for parameter in taken.parameters():
                parameter.fill_(9.0)
        assert not (joined.weight == 9).any()
        assert not any((conv.weight == 9).any() for conv in joined.convs)


def test_a_taken_network_is_in_the_mode_of_the_whole() -> None:
    joined = Replicas(networks())
    assert joined.train().take(0).training
    assert not joined.eval().take(0).training


@pytest.mark.parametrize("rule", SOME)
def test_a_replica_that_is_not_finite_leaves_the_others_alone(rule: str) -> None:
    x, y = batches()
    clean = trained_together(networks(), x, y, rule, "l2")
    spoiled = x.clone()
    spoiled[:, 1] = math.nan
    joined = trained_together(networks(), spoiled, y, rule, "l2")
    assert joined.take(1).head.weight.isnan().all()
    for r in (0, 2):
        assert_close(clean.take(r), joined.take(r))
