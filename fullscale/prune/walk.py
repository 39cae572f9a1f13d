"""The walk through a network's graph, once and in order, that finds out about its channels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from torch import fx, nn

from fullscale.graph.trace import Graph, shape
from fullscale.prune.channels import KEEP, Bools, Channels, Flow, flow, kept
from fullscale.prune.layers import through
from fullscale.prune.moves import moved, splits
from fullscale.prune.operations import known, opaque
from fullscale.prune.pointwise import is_pointwise, is_vector

# Other tensors of the network's up to this size are looked into for constants.
LOOKED_INTO = 4096


def walk(
    graph: Graph, net: nn.Module, silent: Mapping[str, tuple[int, Bools]] | None = None, stays: Collection[str] = ()
) -> Channels:
    """Follow the channels through the graph of a network.

    silent: by name of node, its channel dimension and the channels that are taken for 0 there although the weights do not
    say so. stays: names of nodes whose channels must stay.
    """
    found = Channels()
    names = _first_names(net)
    for node in graph.nodes:
        if node.op == "placeholder" and node.name in graph.names:
            found.uses[names[graph.names[node.name]]] += len(node.users)
    for node in graph.nodes:
        if node.op == "placeholder":
            found.flows[node] = _given(found, graph, net, names, node)
        elif node.op == "output":
            for source in node.all_input_nodes:
                if source in found.flows:
                    found.lock(found.flows[source].atoms)
        elif not splits(node):
            own = through(found, node, net)
            if own is None:
                own = moved(found, node) or known(found, node) or opaque(found, node)
                _note_whole(found, node, own)
            if silent and node.name in silent:
                dim, channels = silent[node.name]
                mask = channels.reshape([-1 if d == dim else 1 for d in range(len(own.shape))])
                own = flow(own.shape, own.atoms, np.where(mask, 0.0, own.value))
            if node.name in stays:
                found.lock(own.atoms)
            found.flows[node] = own
    _note_pieces(found)
    for (name, _), atoms in found.axes.items():
        if name in found.whole:
            found.lock(atoms)
    return found


def _note_pieces(found: Channels) -> None:
    """Code that halves a tensor asks for halves of equal size; else it counts channels from the first, or from the last."""
    for (source, dim), points in found.cuts.items():
        atoms, _ = found.flows[source].along(dim)
        pieces = np.split(atoms, sorted({point % len(atoms) for point in points} - {0}))
        if len({len(piece) for piece in pieces}) == 1:
            found.pieces.append(pieces)
        else:
            found.lock(atoms[: max(0, *points)])
            found.lock(atoms[len(atoms) + min(0, *points) :])


def _note_whole(found: Channels, node: fx.Node, own: Flow) -> None:
    """A matrix of weights that is more than turned about could not be cut: it is no longer known which part is whose."""
    if own.parameter is not None or is_pointwise(node):
        return
    read = [source for near in node.all_input_nodes for source in (near.all_input_nodes if splits(near) else [near])]
    for source in read:
        held = found.flows.get(source)
        if held is not None and held.parameter is not None and not is_vector(held):
            found.whole.add(held.parameter)


def _first_names(net: nn.Module) -> dict[str, str]:
    """Of each name of a parameter or buffer, the first name that its tensor has."""
    first: dict[int, str] = {}
    every = (*net.named_parameters(remove_duplicate=False), *net.named_buffers(remove_duplicate=False))
    return {name: first.setdefault(id(tensor), name) for name, tensor in every}


def _given(found: Channels, graph: Graph, net: nn.Module, names: Mapping[str, str], node: fx.Node) -> Flow:
    """What a network is given or has: an input stays; each entry of a vector of parameters is an atom of its own."""
    sizes = shape(node)
    if node.name not in graph.names:
        constant = graph.constants.get(node.name)
        if constant is None or constant.numel() > LOOKED_INTO or not hasattr(constant, "double"):
            return kept(sizes)
        return flow(sizes, np.full((1,) * len(sizes), KEEP, dtype=np.int64), constant.detach().double().cpu().numpy())
    name = names[graph.names[node.name]]
    if graph.names[node.name] in graph.written:
        found.whole.add(name)
        return kept(sizes)
    module, _, own = name.rpartition(".")
    tensor = getattr(net.get_submodule(module), own).detach()
    dims = tuple(range(len(sizes)))
    long = [d for d in dims if sizes[d] > 1]
    if len(long) > 1:
        bare = kept(sizes)
        return Flow(sizes, bare.atoms, bare.value, name, dims)
    value = tensor.double().cpu().numpy().reshape(sizes)
    if not long:
        return Flow(sizes, np.full((1,) * len(sizes), KEEP, dtype=np.int64), value, name, dims)
    atoms = found.axis(name, long[0], sizes[long[0]])
    return Flow(sizes, atoms.reshape(value.shape), value, name, dims)
