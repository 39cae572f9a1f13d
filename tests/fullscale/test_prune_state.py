"""After a removal training goes on as if nothing had been removed: the optimizer's state is cut as the network was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
import torch
from planting import Branches, Plain, noise, plant, randomize
from torch import Tensor, nn
from zoo import NETWORKS
from zoo.entry import call, leaves, planted

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.graph import Graph, taken, trace
from fullscale.models import Architecture, Chain, NetConfig, build
from fullscale.prune import narrow_extra, prune_optimizer, remove_dead
from fullscale.prune.removal import removed

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5),
    "adam + l2": lambda p: Optimizer(p, "adam", "l2", lr=1e-2, weight_decay=1e-3),
    "adan": lambda p: Optimizer(p, "adan", "decoupled_schedule", lr=1e-2, weight_decay=1e-3),
    "capturable": lambda p: Optimizer(p, "nadam", lr=1e-2, capturable=True),
}
IMAGES, LABELS = noise(1, 12, 3, 8, 8), torch.arange(12) % 5


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(net.train()(IMAGES), LABELS).backward()
    optimizer.step()


def dying(net: nn.Module) -> nn.Module:
    """The network with filters that are dead and get no gradient, in every layer."""
    randomize(net, 1)
    plant(net, 2, 0.4, kinds=("dead",))
    return net


@cache
def traced(net: nn.Module) -> Graph:
    return trace(net, IMAGES)


@pytest.mark.parametrize(
    "net", [Chain(NetConfig((5, 6, 4), (1, 2, 1), 3, 5)), build(Architecture("resnet20", 1 / 4, 3, 5))]
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_nothing_had_been_removed(name: str, net: nn.Module) -> None:
    graph = traced(net)
    net = dying(copy.deepcopy(net))

    def made(net: nn.Module) -> torch.optim.Optimizer:
        first = list(net.parameters())
        return OPTIMIZERS[name]([{"params": first[:4]}, {"params": first[4:], "lr": 3e-3}])  # type: ignore[list-item]

    optimizer = made(net)
    for _ in range(3):
        step(net, optimizer)
    smaller, removal = removed(net, graph, taken(IMAGES))
    assert removal.share > 0.1
    twin = copy.deepcopy(net)
    other = made(twin)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=1.0)
    prune_optimizer(optimizer, net, smaller, removal)
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in smaller.parameters()}
    for _ in range(2):
        step(twin, other)
        step(smaller, optimizer)
        scheduler.step()
    for key, tensor in twin.state_dict().items():
        assert torch.allclose(removal.narrow(key, tensor), smaller.state_dict()[key], rtol=1e-7, atol=1e-9), key


def test_added_bias_joins_the_group_of_its_layer() -> None:
    conv = nn.Conv2d(6, 4, 3, bias=False)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    )  # fmt: skip
    dying(net)
    net[1].weight.data[0], net[1].bias.data[0] = 0, 0.7
    optimizer = torch.optim.Adam([{"params": [conv.weight], "lr": 0.1}, {"params": [net[0].weight, net[7].bias]}])
    step(net, optimizer)
    smaller, removal = remove_dead(net, example=IMAGES)
    assert smaller[3].bias is not None
    prune_optimizer(optimizer, net, smaller, removal)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(smaller[3].weight), id(smaller[3].bias)]


@pytest.mark.parametrize("prefix", ["", "model."])
def test_names_go_with_parameters_and_an_added_bias_is_called_as_its_weights(prefix: str) -> None:
    def block() -> list[nn.Module]:
        return [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3, bias=False), nn.ReLU()]

    net = nn.Sequential(*block(), *block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    randomize(net, 1)
    named = [(prefix + name, p) for name, p in net.named_parameters()]
    optimizer = Optimizer([{"params": named[:4]}, {"params": named[4:9], "lr": 0.01}], "adam", lr=0.1)
    optimizer.add_param_group({"params": [("mine", named[9][1]), *named[10:]]})
    assert (named[4][0], named[9][0]) == (f"{prefix}3.weight", f"{prefix}8.weight")
    step(net, optimizer)
    for norm in (net[1], net[6]):
        norm.weight.data[0], norm.bias.data[0] = 0, 0.7
    smaller, removal = remove_dead(net, example=IMAGES)
    prune_optimizer(optimizer, net, smaller, removal)
    called = {prefix + name: p for name, p in smaller.named_parameters()}
    called["mine"] = called.pop(f"{prefix}8.weight")
    # A name that is not the network's says nothing of the bias beside it: that has the network's.
    called["8.bias"] = called.pop(f"{prefix}8.bias")
    names = [g["param_names"] for g in optimizer.state_dict()["param_groups"]]
    assert names[1][-1] == f"{prefix}3.bias"
    assert names[2][-1] == "8.bias"
    for group in optimizer.param_groups:
        assert [id(p) for p in group["params"]] == [id(called[name]) for name in group["param_names"]]
    assert sorted(called) == sorted(name for group in names for name in group)


def test_an_optimizer_that_holds_its_list_of_parameters_elsewhere_goes_on() -> None:
    net = dying(Branches())
    optimizer = torch.optim.LBFGS(net.parameters(), lr=1e-3, max_iter=1)
    smaller, removal = remove_dead(net, example=IMAGES)
    prune_optimizer(optimizer, net, smaller, removal)
    before = [p.detach().clone() for p in smaller.parameters()]

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(smaller.train()(IMAGES), LABELS)
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert not all(torch.equal(p, b) for p, b in zip(smaller.parameters(), before, strict=True))


def test_state_that_does_not_follow_the_parameter_is_refused_and_nothing_changes() -> None:
    net = dying(Plain(nn.ReLU()))
    images = noise(1, 12, 3, 12, 12)
    for make, words in (
        (torch.optim.Adafactor, "row_var of body.0.weight is of shape"),
        (lambda p: torch.optim.LBFGS(p, max_iter=2), "(old_dirs|d) of body.0.weight is"),
    ):
        optimizer: Any = make(net.parameters())  # type: ignore[no-untyped-call]

        def closure(optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net.train()(images), LABELS)
            loss.backward()
            return loss

        optimizer.step(closure)
        smaller, removal = remove_dead(net, example=images)
        groups, state = [list(g["params"]) for g in optimizer.param_groups], dict(optimizer.state)
        with pytest.raises(InputError, match=words):
            prune_optimizer(optimizer, net, smaller, removal)
        assert all(a is b for a, b in zip(groups[0], optimizer.param_groups[0]["params"], strict=True))
        assert optimizer.state == state


def test_tensors_that_go_with_parameters_are_cut_alike() -> None:
    net = dying(Branches())
    smaller, removal = remove_dead(net, example=IMAGES)
    averages = {name: torch.randn_like(tensor.double()) for name, tensor in net.state_dict().items()}
    for name, tensor in smaller.state_dict().items():
        assert removal.narrow(name, averages[name]).shape == tensor.shape
    extra = {f"optimizer/{name}/m": tensor for name, tensor in averages.items()}
    extra |= {"optimizer/stem.0.weight/step": torch.tensor(3.0), "order": torch.arange(7)}
    cut = narrow_extra(extra, removal)
    assert cut.keys() == extra.keys()
    assert torch.equal(cut["optimizer/one.0.weight/m"], removal.narrow("one.0.weight", averages["one.0.weight"]))
    assert cut["order"] is extra["order"]
    assert cut["optimizer/stem.0.weight/step"] == 3
    with pytest.raises(InputError, match="that is not the network's"):
        prune_optimizer(torch.optim.SGD(Branches().parameters()), net, smaller, removal)
    with pytest.raises(InputError, match=r"row of stem\.0\.weight is of shape \(8,\)"):
        narrow_extra({"optimizer/stem.0.weight/row": torch.zeros(8)}, removal)
    with pytest.raises(InputError, match=r"'stem\.9\.weight' is no tensor of the network"):
        removal.narrow("stem.9.weight", torch.zeros(8))
    with pytest.raises(InputError, match=r"stem\.0\.weight: a tensor of shape \(8,\)"):
        removal.narrow("stem.0.weight", torch.zeros(8))


@pytest.mark.parametrize("name", ["regnet", "generator", "sparse, tied", "gated", "siamese"])
def test_networks_of_every_kind_train_on(name: str) -> None:
    entry = NETWORKS[name]
    net, example = planted(entry), entry.example()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-9)

    def descend(net: nn.Module) -> None:
        optimizer.zero_grad()
        torch.stack([output.square().mean() for output in leaves(call(net, example))]).sum().backward()
        optimizer.step()

    descend(net)
    # Nothing of a step so small is left in what is dead.
    entry.plant(net, torch.Generator().manual_seed(1))
    smaller, removal = remove_dead(net, example=example)
    assert entry.removed(net, smaller) >= entry.ceiling
    before = {key: optimizer.state[tensor]["exp_avg"].clone() for key, tensor in net.named_parameters()}
    prune_optimizer(optimizer, net, smaller, removal)
    for key, tensor in smaller.named_parameters():
        if key in before:
            assert torch.equal(optimizer.state[tensor]["exp_avg"], removal.narrow(key, before[key]))
            assert tensor.shape == optimizer.state[tensor]["exp_avg"].shape
    descend(smaller)
