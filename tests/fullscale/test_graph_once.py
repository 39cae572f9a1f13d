"""A graph that is recorded once says what the second recording would say in other words."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn
from zoo import NETWORKS
from zoo.entry import planted

from fullscale.graph import taken, trace, units
from fullscale.prune.removal import removed

# Views and composites of every kind, statistics of the batch, padding.
ONCE = (
    "vit, torch's attention",
    "res2net",
    "narrow",
    "sparse, tied",
    "norm of the batch",
    "generator",
    "norm without scale",
)
# Writes in place, and a view by another name.
TWICE = ("resnet, sums kept", "writes into a crop", "masked weights")


def recordings(name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many it takes to trace a network."""
    module: Any = sys.modules["fullscale.graph.trace"]
    own, said = module._plainly, []
    monkeypatch.setattr(module, "_plainly", lambda graph: said.append(own(graph)) or said[-1])
    trace(planted(NETWORKS[name]), NETWORKS[name].example())
    return 1 if said == [True] else 2


@pytest.mark.parametrize("name", ONCE)
def test_both_find_the_same_units_and_the_same_to_remove(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, given = planted(NETWORKS[name]), taken(NETWORKS[name].example())
    assert recordings(name, monkeypatch) == 1
    found = []
    for once in (True, False):
        monkeypatch.setattr(sys.modules["fullscale.graph.trace"], "_plainly", lambda _, once=once: once)
        graph = trace(net, given)
        said = [(u.norm, u.activation, u.dim, u.filters, u.scale, u.shift, u.weight, u.batch) for u in units(graph)]
        found.append((said, removed(net, graph, given)[1].layers))
    assert found[0] == found[1]


def test_what_a_hook_computes_aside_is_no_part_of_it() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    net[0].register_forward_hook(lambda _, __, out: print(torch.relu(out.detach()).shape))
    assert [unit.norm for unit in units(trace(net, torch.ones(2, 3)))] == ["0"]


@pytest.mark.parametrize("name", TWICE)
def test_what_writes_in_place_is_recorded_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recordings(name, monkeypatch) == 2
