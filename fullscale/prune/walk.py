"""The walk through a network's graph, once and in order, that finds out about its channels."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import fx, nn

from fullscale.graph import FUNCTIONS, PASSING
from fullscale.prune.channels import Bools, Channels, Flow, shape
from fullscale.prune.operations import known

# Operations whose result may share memory with their first argument.
_VIEWS = {
    operator.getitem, torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.transpose, torch.permute,
    torch.chunk, torch.split, "chunk", "split", "flatten", "view", "reshape", "squeeze", "unsqueeze", "transpose",
    "permute", "contiguous", "detach", "expand", "narrow", "t", "view_as", "unbind", "movedim", "swapaxes",
}  # fmt: skip


def walk(graph: fx.GraphModule, silent: Mapping[str, Bools] | None = None) -> Channels:
    """Follow the channels through a graph with shapes (`fullscale.graph.trace` with an example).

    silent: by name of node, channels that are taken for 0 there although the weights do not say so.
    """
    modules = dict(graph.named_modules())
    found = Channels()
    shared, (overwriting, overwritten) = _shared(graph, modules), _overwritten(graph, modules)
    for node in graph.graph.nodes:
        flow = None
        if node.op == "placeholder":
            flow = _opaque(found, node)
        elif node.op == "output":
            for source in node.all_input_nodes:
                if source in found.flows:
                    found.lock(found.flows[source].atoms)
        elif node.op in ("call_module", "call_function", "call_method"):
            apart = node in overwriting or (node.op == "call_module" and str(node.target) in shared)
            flow = None if apart else known(found, node, modules)
            if flow is None or shape(node)[1:2] != flow.atoms.shape:
                flow = _opaque(found, node)
        if flow is None:
            continue
        if node in overwritten:
            found.lock(flow.atoms)
            flow = Flow(flow.atoms, np.full_like(flow.value, np.nan))
        if silent and node.name in silent:
            flow = Flow(flow.atoms, np.where(silent[node.name], 0.0, flow.value))
        found.flows[node] = flow
    return found


def _shared(graph: fx.GraphModule, modules: dict[str, nn.Module]) -> set[str]:
    """Modules used more than once, or whose tensors something else uses too, if they have tensors that could be cut."""
    uses = Counter(str(node.target) for node in graph.graph.nodes if node.op == "call_module")
    held = {
        name: [id(t) for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
        for name, module in modules.items()
    }
    holders = Counter(tensor for tensors in held.values() for tensor in tensors)
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            path, _, own = str(node.target).rpartition(".")
            holders[id(getattr(modules[path], own))] += 1
    return {
        name
        for name, tensors in held.items()
        if tensors
        and not (isinstance(modules[name], nn.PReLU) and modules[name].num_parameters == 1)
        and (uses[name] > 1 or any(holders[tensor] > 1 for tensor in tensors))
    }


def _overwritten(graph: fx.GraphModule, modules: dict[str, nn.Module]) -> tuple[set[fx.Node], set[fx.Node]]:
    """Operations that write into a tensor which is read again under its old name, and the nodes that are these names."""
    order = {node: i for i, node in enumerate(graph.graph.nodes)}
    base: dict[fx.Node, fx.Node] = {}
    names: dict[fx.Node, list[fx.Node]] = {}
    writers, old = set(), set()
    for node in graph.graph.nodes:
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        writes = first is not None and _writes(node, modules)
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        alias = writes or isinstance(module, (*PASSING, nn.Flatten)) or (module is None and node.target in _VIEWS)
        base[node] = base[first] if alias and first is not None else node
        before = names.setdefault(base[node], [])
        if writes and any(order[user] > order[node] for name in before for user in name.users):
            writers.add(node)
            old.update(before)
        before.append(node)
    return writers, old


def _writes(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether an operation may write into its first argument."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.target in FUNCTIONS and any(argument is True for argument in node.args[1:]):
        return True
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place = {"iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "setitem"}
    return bool(node.kwargs.get("inplace")) or name in in_place or (name.endswith("_") and not name.endswith("__"))


def _opaque(found: Channels, node: fx.Node) -> Flow | None:
    """An operation that is not understood: what it reads and what it gives must stay."""
    if _reads_shape(found, node):
        found.shapes.add(node)
        return None
    found.opaque.add(node)
    for source in node.all_input_nodes:
        if source in found.flows:
            found.lock(found.flows[source].atoms)
    sizes = shape(node)
    if len(sizes) < 2:
        return None
    atoms = found.fresh(sizes[1])
    found.lock(atoms)
    return Flow(atoms, np.full(sizes[1], np.nan))


def _reads_shape(found: Channels, node: fx.Node) -> bool:
    """Whether a node asks for sizes other than the number of channels, which is harmless."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    ndim = len(shape(node.args[0]))
    if node.op == "call_method" and node.target == "size" and len(node.args) > 1:
        return isinstance(node.args[1], int) and node.args[1] % ndim != 1
    asks = (node.op == "call_method" and node.target == "size") or (node.target is getattr and node.args[1] == "shape")
    if not asks:
        # An entry of what is no tensor: looked at where it was asked for.
        return node.target is operator.getitem and node.args[0] not in found.flows and not shape(node)
    return all(user.target is operator.getitem and _not_channels(user.args[1], ndim) for user in node.users)


def _not_channels(index: object, ndim: int) -> bool:
    if isinstance(index, slice):
        try:
            return 1 not in range(ndim)[index]
        except TypeError:  # the slice's ends are computed by the network
            return False
    return isinstance(index, int) and index % ndim != 1
