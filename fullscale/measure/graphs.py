"""The graphs of a network by the shapes of its inputs, each traced once, and its images found in each layer's output."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from dynamics.errors import InputError
from fullscale.graph import Graph, Inputs, Unit, trace, units
from fullscale.graph.trace import shape
from fullscale.measure.places import FOLLOWING, Place, candidates, extremes, follows

# Sees what a unit puts out before anything reads it; gives it back, or something else in its stead.
LookAtUnit = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Traced:
    """A graph and its units."""

    graph: Graph
    units: tuple[Unit, ...]

    def run(self, net: nn.Module, inputs: Inputs, look: LookAtUnit) -> list[Tensor]:
        """The network's outputs; `look` is shown each unit by its number. InputError where the network fails."""
        at: dict[str, list[int]] = {}
        for i, unit in enumerate(self.units):
            at.setdefault(unit.node, []).append(i)

        def seen(node: str, out: Tensor) -> Tensor:
            for i in at[node]:
                out = look(i, out)
            return out

        devices = {tensor.device.index or 0 for tensor in inputs.tensors() if tensor.is_cuda}
        try:
            with torch.random.fork_rng(devices):  # of a network that draws noise in evaluation mode, too
                return self.graph.run(net, inputs, seen, frozenset(at))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever an operation raises for numbers that it does not take
            words = " ".join(str(error).split())
            raise InputError(
                f"{type(net).__name__} fails on inputs of shape {inputs.shapes()} ({words[:300]})"
            ) from error


class Graphs:
    """The graphs of one network, or of several of one structure, by the shapes of their inputs; each is traced once."""

    def __init__(self) -> None:
        self._traced: dict[Hashable, Traced] = {}
        self._places: dict[Hashable, tuple[Place | None, ...]] = {}

    def of(self, net: nn.Module, inputs: Inputs) -> Traced:
        """For inputs on the network's device and in its precision. Raises InputError as `trace` and `units` do."""
        key = _key(net, inputs)
        if key not in self._traced:
            graph = trace(net, inputs)
            self._traced[key] = Traced(graph, units(graph))
        return self._traced[key]

    def places(self, net: nn.Module, inputs: Inputs) -> tuple[Place | None, ...]:
        """Where the output of each unit has the images; None where it knows none.

        By the sizes; where these leave a choice, by what moves along when the images are moved on by one.
        """
        key = _key(net, inputs)
        if key not in self._places:
            self._places[key] = _found(self.of(net, inputs), net, inputs)
        return self._places[key]


def _key(net: nn.Module, inputs: Inputs) -> Hashable:
    """All that a graph depends on, of networks of one structure."""
    leaves, structure = tree_flatten((inputs.args, inputs.named))
    layout = tuple((p.shape, p.stride()) for p in net.parameters())
    return str(structure), tuple(_leaf(leaf) for leaf in leaves), layout


def _leaf(value: Any) -> Hashable:
    return (value.shape, value.stride(), value.dtype, value.device) if isinstance(value, Tensor) else repr(value)


def _found(traced: Traced, net: nn.Module, inputs: Inputs) -> tuple[Place | None, ...]:
    images = len(inputs)
    shapes = [shape(traced.graph.index[unit.node]) for unit in traced.units]
    could = [candidates(sizes, unit.dim, images) for sizes, unit in zip(shapes, traced.units, strict=True)]
    open_ones = [i for i, places in enumerate(could) if images > 1 and places != [Place(0)] and places]
    if open_ones:
        moved = inputs.map(lambda t: t.roll(1, 0) if t.ndim and len(t) == images else t)
        before, after = (_largest(traced, net, x, {i: could[i] for i in open_ones}) for x in (inputs, moved))
        for i in open_ones:
            shares = [follows(*pair) for pair in zip(before[i], after[i], strict=True)]
            best = max(shares)
            could[i] = [could[i][shares.index(best)]] if best >= FOLLOWING else []
    return tuple(places[0] if places else None for places in could)


def _largest(traced: Traced, net: nn.Module, inputs: Inputs, could: dict[int, list[Place]]) -> dict[int, list[Tensor]]:
    """Of each of these units, for each place, the largest activation of each filter on each image."""
    found: dict[int, list[Tensor]] = {}

    def look(i: int, out: Tensor) -> Tensor:
        if i in could:
            found[i] = [extremes(out, traced.units[i].dim, len(inputs), place)[1] for place in could[i]]
        return out

    traced.run(net, inputs, look)
    return found
