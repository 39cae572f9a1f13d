"""What a network does in training mode alone, such as an auxiliary head: it is no part of the graph, but must still fit."""

from __future__ import annotations

from torch import fx, nn

from dynamics.errors import InputError
from fullscale.graph import Graph, Inputs, outputs, trace, untouched
from fullscale.graph.trace import path, quiet


def fails(net: nn.Module, inputs: Inputs) -> str | None:
    """What a pass in training mode raises, in words; None if nothing. Nothing of the network's is changed."""
    return _passed(net, inputs)[1]


def read_in_training(net: nn.Module, graph: Graph, inputs: Inputs) -> set[str]:
    """The names of the nodes of a network's graph that something reads which is done in training mode alone.

    Looked for only where training gives other outputs than evaluation: in the graph of the network as it trains. Where
    torch.export cannot follow that, every node.
    """
    count, failure = _passed(net, inputs)
    if failure is not None or count == len(graph.results):
        return set()
    try:
        with untouched(net, training=True):
            _train(net)
            training = trace(net, inputs, training=True)
    except InputError:
        return {node.name for node in graph.nodes}
    own: dict[object, set[str]] = {}
    for node in graph.nodes:
        own.setdefault(_place(node), set()).add(node.name)
    alone = {node for node in training.nodes if node.op == "call_function" and _place(node) not in own}
    return {name for node in alone for read in node.all_input_nodes if read not in alone for name in own[_place(read)]}


def _passed(net: nn.Module, inputs: Inputs) -> tuple[int, str | None]:
    """How many tensors a pass in training mode gives, and what it raises, in words."""
    copies = inputs.map(lambda tensor: tensor.detach().clone())
    try:
        with untouched(net, training=True), quiet():
            _train(net)
            return len(outputs(net(*copies.args, **copies.named))), None
    except Exception as error:  # whatever the network's own code raises
        return 0, " ".join(str(error).split())[:120] or type(error).__name__


def _train(net: nn.Module) -> None:
    for module in net.modules():
        module.training = True


def _place(node: fx.Node) -> object:
    """What a node has in common with the same operation in the other mode, where it may be another one."""
    return (node.name,) if node.op != "call_function" else (path(node), node.meta.get("stack_trace"))
