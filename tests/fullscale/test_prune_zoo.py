"""Every network of the zoo computes the same without its dead units, and as many go as ever went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import NETWORKS
from zoo.entry import Network, another, bits, call, difference, leaves, planted, same

from fullscale.prune import remove_dead

# Of the units that can go at most, those that do.
FLOORS: dict[str, int] = {name: entry.ceiling for name, entry in NETWORKS.items()}


@pytest.mark.grid(40)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_smaller_network_computes_the_same(name: str) -> None:
    entry = NETWORKS[name]
    net, example = planted(entry), entry.example()
    before = bits(net)
    smaller, _ = remove_dead(net, example=example)
    assert same(before, bits(net))
    for given in (example, another(example, 1), another(example, 2)):
        assert difference(net, smaller, given) <= 1e-12
    assert entry.removed(net, smaller) >= FLOORS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_said_of_the_entry_is_so(name: str) -> None:
    entry = NETWORKS[name]
    net, example = planted(entry), entry.example()
    assert 0 <= FLOORS[name] <= entry.ceiling <= sum(map(len, entry.planted.values()))
    assert same(bits(net), bits(planted(entry)))
    net.train()
    assert all(output.isfinite().all() for output in leaves(call(net, example)))
    net = planted(entry)
    constants = _watched(net, entry)
    with torch.no_grad():
        outputs = [list(leaves(call(net, given))) for given in (example, another(example, 1))]
        # Nothing is alive by name alone: what is put out follows the input.
        assert all(float((one - other).abs().max()) > 1e-6 for one, other in zip(*outputs, strict=True))
    assert constants() == entry.planted


def _watched(net: nn.Module, entry: Network) -> Callable[[], dict[str, tuple[int, ...]]]:
    """A function that says which of the planted units put out one number at every place, for all inputs since, at each call
    of their layer: those that had a single value in all."""
    seen: dict[str, list[Tensor]] = {name: [] for name in entry.planted}

    def hook(name: str, last: bool) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(_: nn.Module, __: Any, output: Tensor) -> None:
            seen[name].append(output.movedim(-1 if last else 1, 0).flatten(1).clone())

        return keep

    for name in entry.planted:
        # A matrix on its own is followed by the network's activation.
        module = net.act if isinstance(getattr(net, name, None), nn.Parameter) else net.get_submodule(name)
        module.register_forward_hook(hook(name, isinstance(module, nn.Linear | nn.ReLU)))

    def found() -> dict[str, tuple[int, ...]]:
        together = {name: torch.cat(calls, 1) for name, calls in seen.items()}
        flat = {name: values.amax(1) == values.amin(1) for name, values in together.items()}
        return {name: tuple(unit for unit in units if flat[name][unit]) for name, units in entry.planted.items()}

    return found
