"""From what hooks can see of a network to what is to be watched: the few operations in between, run again.

A hook sees what a module puts out. Where the module is torch's own, the graph tells which node that is. What a unit's
activation takes is often such a node; else it follows from some of them, or from the inputs of the network, by a few
operations of the graph: the product of a gated MLP, a layer whose weights are a bare parameter.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from fullscale.graph import Graph
from fullscale.graph.activations import PASSING
from fullscale.graph.units import LAYERS

# Modules whose forward puts out one tensor, that of the last operation in it.
_STOCK = {f"torch.nn.modules.{name}" for name in ("linear", "conv", "batchnorm", "instancenorm", "normalization")}
_STOCK |= {f"torch.nn.modules.{name}" for name in ("dropout", "activation")}
# The most operations, and the most layers among them, that are run again.
MOST, MOST_LAYERS = 16, 1


def stock(module: nn.Module) -> bool:
    """Whether its forward is one of torch's own layers', norms' or activations', and puts out one tensor."""
    own = "forward" in module.__dict__ or isinstance(module, nn.MultiheadAttention)
    return not own and type(module).forward.__module__ in _STOCK


def visible(graph: Graph, net: nn.Module) -> dict[str, tuple[str, int]]:
    """Nodes that a module puts out: by their name the module's, and its how manyth call it is."""
    calls: dict[tuple[str, int], list[fx.Node]] = {}
    modules = dict(net.named_modules(remove_duplicate=False))
    for node in graph.nodes:
        for key, (path, *_) in (node.meta.get("nn_module_stack") or {}).items():
            name = str(path).removeprefix("net").removeprefix(".")
            if name in modules and stock(modules[name]):
                again = str(key).rpartition("@")[2]
                calls.setdefault((name, int(again) if again.isdigit() and "@" in str(key) else 0), []).append(node)
    found = {}
    for call, nodes in calls.items():
        inside = set(nodes)
        outward = [node for node in nodes if any(_leaves(graph, node, user, inside) for user in node.users)]
        if len(outward) == 1 and isinstance(outward[0].meta.get("val"), Tensor):
            found[outward[0].name] = call
    return found


def _leaves(graph: Graph, node: fx.Node, user: fx.Node, inside: set[fx.Node]) -> bool:
    # What the output holds besides results are the new numbers of buffers.
    return node in graph.results if user.op == "output" else user not in inside


@dataclass(frozen=True, eq=False)
class Slice:
    """The operations between what is seen and some nodes. leaves: the names of what is seen, in order."""

    graph: Graph
    leaves: tuple[str, ...]
    nodes: tuple[fx.Node, ...]

    def run(self, net: nn.Module, seen: dict[str, Tensor]) -> dict[str, Any]:
        """The output of each of its nodes, by name, with the network's numbers as they are now."""
        held: dict[str, Tensor] = {}
        if any(argument.op == "placeholder" for node in self.nodes for argument in node.all_input_nodes):
            held = dict(net.named_parameters(remove_duplicate=False)) | dict(net.named_buffers(remove_duplicate=False))
        values: dict[str, Any] = dict(seen)

        def value(node: fx.Node) -> Any:
            if node.name in values:
                return values[node.name]
            name = self.graph.names.get(node.name)
            return self.graph.constants[node.name] if name is None else held[name]

        for node in self.nodes:
            if node.target in PASSING:
                first = value(node.args[0])  # type: ignore[arg-type]
                values[node.name] = (first, None) if node.target is _DROPOUT else first
                continue
            target: Any = node.target
            args, kwargs = fx.map_arg((node.args, node.kwargs), value)
            values[node.name] = target(*args, **kwargs)
        return values


_DROPOUT = torch.ops.aten.native_dropout.default


def cut(graph: Graph, shown: dict[str, tuple[str, int]], *wanted: str) -> Slice | None:
    """The slice from what is seen to these nodes; None where it would be long, or draw random numbers.

    A dropout in it is left out: what comes before it is watched.
    """
    leaves: dict[fx.Node, None] = {}
    inside: dict[fx.Node, None] = {}
    waiting = [graph.index[name] for name in wanted]
    while waiting:
        node = waiting.pop()
        if node.name in shown or node.name in graph.given:
            leaves[node] = None
        elif node.op != "placeholder" and node not in inside:
            tags = getattr(node.target, "tags", ())
            if node.target not in PASSING and (
                node.op != "call_function" or torch.Tag.nondeterministic_seeded in tags or len(inside) >= MOST
            ):
                return None
            inside[node] = None
            waiting += node.args[:1] if node.target in PASSING else node.all_input_nodes  # type: ignore[arg-type]
    order = {node: i for i, node in enumerate(graph.nodes)}
    nodes = tuple(sorted(inside, key=order.__getitem__))
    if not leaves or sum(node.target in LAYERS for node in nodes) > MOST_LAYERS:
        return None
    return Slice(graph, tuple(node.name for node in sorted(leaves, key=order.__getitem__)), nodes)


def direct(found: Slice) -> bool:
    """Whether nothing is computed between what is seen and what is wanted."""
    return len(found.leaves) == 1 and all(
        node.target in PASSING or node.target is operator.getitem for node in found.nodes
    )
