"""The weights of one layer's filters: those that make them, and those that read them and nothing else.

The walk of `fullscale.prune.walk` says which channels belong together; here the graph is followed from the layer itself up
to the first layers with weights behind it. What is summed on the way with what other layers put out has no weights of its
own there, and is refused, as is all that the walk does not understand.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from dynamics.errors import InputError
from fullscale.graph import Graph, Unit
from fullscale.graph.units import BATCH_NORMS, LAYERS, OTHER_NORMS
from fullscale.prune.channels import KEEP, Channels, Reader
from fullscale.prune.moves import splits

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Reach:
    """The weights of some filters of one layer.

    layer: makes them, with the filters along dimension `axis` of its weights; norm: the BatchNorm behind it, if there is one;
    outgoing: each parameter that reads them, and which of its entries do, True or False in its shape.
    """

    layer: _ConvNd | nn.Linear
    axis: int
    norm: _BatchNorm | None
    outgoing: tuple[tuple[Tensor, Tensor], ...]


def reach(
    graph: Graph, net: nn.Module, found: Channels, unit: Unit, channels: Sequence[int], stays: Collection[str] = ()
) -> Reach:
    """The weights of some filters of a unit.

    Args:
        graph: of the network in evaluation mode.
        net: the network.
        found: what `walk` made of both.
        unit: one of the graph's.
        channels: which of its filters.
        stays: names of nodes that something reads outside the graph.

    Raises:
        InputError: where the filters have no weights of their own, saying why.
    """
    if unit.weight is None:
        raise _no(unit, "the layer that makes it cannot be told, or makes others, too")
    name, _, last = unit.weight.rpartition(".")
    layer, norm = net.get_submodule(name), net.get_submodule(unit.norm.partition("#")[0])
    if not isinstance(layer, _ConvNd | nn.Linear) or last != "weight" or layer._parameters.get(last) is None:
        raise _no(unit, f"{unit.weight} is not the weight of a convolution or linear layer of torch's")
    if not isinstance(norm, _BatchNorm) if unit.batch else norm is not layer:
        raise _no(unit, f"a norm that is no BatchNorm of torch's ({unit.norm}) is behind the layer")
    if graph.index[unit.node].target is aten.mul.Tensor:
        raise _no(unit, "a second layer multiplies it")
    readers = {reader.node: reader for reader in found.readers}
    starts = [node for node in graph.nodes if _weight(found, node) == unit.weight]
    axes = {readers[start].order[0] if start in readers else 0 for start in starts}
    if len(starts) != found.uses[unit.weight] or len(axes) > 1:
        raise _no(unit, f"{unit.weight} is used elsewhere, too")
    own, _ = found.flows[starts[0]].along(LAYERS[starts[0].target][1])
    inside = np.isin(np.arange(len(own)), channels)
    roots = np.unique(found.roots(own[inside]))
    if KEEP in roots or np.isin(found.roots(own[~inside]), roots).any():
        raise _no(unit, "its channels cannot be told apart behind it")
    outgoing = []
    consumers = _consumers(graph, found, unit, starts, roots, stays)
    for weight in dict.fromkeys(_weight(found, node) for node in consumers):
        same = [node for node in consumers if _weight(found, node) == weight]
        if weight is None or found.uses[weight] != len(same):
            raise _no(unit, f"what reads it ({weight or same[0].name}) is computed from others or used elsewhere, too")
        parameter = net.get_parameter(weight)
        entries = torch.zeros(parameter.shape, dtype=torch.bool)
        for node in same:
            _mark(entries, found, weight, readers.get(node), roots)
        outgoing.append((parameter, entries.to(parameter.device)))
    return Reach(layer, axes.pop(), norm if isinstance(norm, _BatchNorm) else None, tuple(outgoing))


def _no(unit: Unit, why: str) -> InputError:
    return InputError(f"filters of {unit.norm} have no weights of their own: {why}; name other layers' filters alone")


def _weight(found: Channels, node: fx.Node) -> str | None:
    """The name of the parameter that a layer's node multiplies with, as it stands or with its dimensions in another order."""
    where = LAYERS.get(node.target)
    held: Any = None if where is None else found.flows.get(node.args[where[0]])  # type: ignore[arg-type]
    return held.parameter if held is not None and held.dims else None


def _consumers(
    graph: Graph, found: Channels, unit: Unit, starts: Sequence[fx.Node], roots: Any, stays: Collection[str]
) -> list[fx.Node]:
    """The nodes of the first layers behind the starting ones, which read the filters of these roots."""
    reached, consumers = dict.fromkeys(starts), []
    for node in graph.nodes:
        if not any(source in reached for source in node.all_input_nodes):
            continue
        if node.op == "output":
            raise _no(unit, "the network puts them out")
        if node.target in LAYERS:
            if node.args[LAYERS[node.target][0]] in reached:
                raise _no(unit, f"they are multiplied with others ({node.name})")
            consumers.append(node)
            continue
        if node.target in OTHER_NORMS or (node.target in BATCH_NORMS and not (unit.batch and node.args[0] in starts)):
            raise _no(unit, f"a norm reads them ({node.name})")
        if splits(node):
            reached[node] = None
            continue
        if not isinstance(node.meta.get("val"), Tensor | tuple | list):  # a size
            continue
        others = [found.flows[x] for x in node.all_input_nodes if x not in reached and x.op != "placeholder"]
        # A product with 0 is 0, whatever the other factor is.
        if node.target is not aten.mul.Tensor and any(np.isin(found.roots(x.atoms), roots).any() for x in others):
            raise _no(unit, f"they are joined with those of other layers, in a residual sum say ({node.name})")
        if not np.isin(found.roots(found.flows[node].atoms), roots).any():
            if not any(
                np.isin(found.roots(found.flows[x].atoms), roots).any()
                for x in node.all_input_nodes
                if x in found.flows
            ):
                continue  # a part that holds others
            raise _no(unit, f"they are not followed through {node.name}")
        reached[node] = None
    if lost := [node.name for node in reached if node.name in stays]:
        raise _no(unit, f"something reads them in training alone ({lost[0]})")
    if not consumers:
        raise _no(unit, "no layer reads them")
    return consumers


def _mark(entries: Tensor, found: Channels, weight: str, reader: Reader | None, roots: Any) -> None:
    """Mark those entries of a parameter that multiply the filters of these roots."""
    if reader is None:  # one filter or several a channel
        entries[np.isin(found.roots(found.axes[weight, 0]), roots)] = True
        return
    inputs = np.flatnonzero(np.isin(found.roots(reader.reads), roots))
    if reader.groups == 1:
        entries.movedim(reader.order[1], 0)[inputs] = True
        return
    rows, columns = len(reader.gives) // reader.groups, len(reader.reads) // reader.groups
    for i in inputs:
        entries[i // columns * rows : (i // columns + 1) * rows, i % columns] = True
