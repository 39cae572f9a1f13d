"""Activations in a graph: torch's own, and rectifiers that are written out.

Element by element, without weights other than slopes and bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from fullscale.graph.trace import Graph, shape

aten = torch.ops.aten

# Element by element, without weights. Those of one sign or bound: see `activation`.
ACTIVATIONS: dict[Any, str] = {
    aten.relu.default: "relu", aten.relu6.default: "relu6", aten.leaky_relu.default: "leaky_relu",
    aten.elu.default: "elu", aten.selu.default: "selu", aten.celu.default: "celu", aten.gelu.default: "gelu",
    aten.silu.default: "silu", aten.mish.default: "mish", aten.softplus.default: "softplus",
    aten.hardswish.default: "hardswish", aten.hardtanh.default: "hardtanh", aten.hardsigmoid.default: "hardsigmoid",
    aten.tanh.default: "tanh", aten.sigmoid.default: "sigmoid",
}  # fmt: skip
# What gives its first argument on as it is in evaluation mode, and as far as a dropout lets it in training.
PASSING = {
    aten.clone.default, aten.alias.default, aten.detach.default, aten.contiguous.default, aten.dropout.default,
    aten.lift_fresh_copy.default, aten._to_copy.default, aten.feature_dropout.default,
    aten.native_dropout.default,
}  # fmt: skip
# Comparisons that hold above a bound, and below it.
_ABOVE = {aten.gt.Scalar, aten.gt.Tensor, aten.ge.Scalar, aten.ge.Tensor}
_BELOW = {aten.lt.Scalar, aten.lt.Tensor, aten.le.Scalar, aten.le.Tensor}


def kind(node: fx.Node) -> str:
    """What an operation is called."""
    return str(node.target).split(".")[1] if node.op == "call_function" and "." in str(node.target) else "a part"


class Acts(NamedTuple):
    """An activation: its node and name, what it is of, and the function. watched: what the function takes, if not that."""

    node: fx.Node
    name: str
    of: fx.Node
    function: Callable[[Tensor], Tensor]
    watched: fx.Node | None = None


def activation(graph: Graph, node: fx.Node) -> Acts | None:
    """The activation that a node is, or None: element by element, without weights other than slopes and bounds."""
    first = node.args[0] if node.op == "call_function" and node.args else None
    if not isinstance(first, fx.Node):
        return None
    target: Any = node.target
    rest, named = node.args[1:], dict(node.kwargs)
    if target in (aten.prelu.default, aten.rrelu.default, aten.glu.default):
        return Acts(node, str(target).split(".")[1], first, nn.Identity(), node)
    name = ACTIVATIONS.get(target)
    if target is aten.hardtanh.default and rest and rest[0] == 0:
        name = "relu6"
    # Rectifiers by other names: clamp(min=0), threshold(0, 0).
    elif target in (aten.clamp.default, aten.clamp_min.default, aten.threshold.default):
        bounds = [*rest, *named.values()]
        name = "relu" if bounds and bounds[0] == 0 and all(value in (0, None) for value in bounds[1:]) else None
    if name is not None:
        return Acts(node, name, first, lambda x: target(x, *rest, **named))
    return _written_out(graph, node)


def _written_out(graph: Graph, node: fx.Node) -> Acts | None:
    """A rectifier as a maximum with 0, as a choice between a number and 0, or as a product with whether it is above a bound."""
    arguments: tuple[Any, ...] = node.args
    of = None
    if node.target in (aten.maximum.default, aten.max.other):
        of = next((one for one, other in (arguments, arguments[::-1]) if _is_zero(graph, other)), None)
    elif node.target in (aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf):
        condition, one, other = arguments
        for compared, chosen, zero in ((_ABOVE, one, other), (_BELOW, other, one)):
            if condition.target in compared and condition.args[0] is chosen and _is_zero(graph, condition.args[1]):
                of = chosen if _is_zero(graph, zero) else of
    elif node.target is aten.mul.Tensor and all(isinstance(argument, fx.Node) for argument in arguments):
        for one, other in (arguments, arguments[::-1]):
            above, inner = _passed(other), one.args[0] if one.target is aten.relu.default else one
            if above.target in _ABOVE and above.args[0] in (one, inner) and shape(node) == shape(inner):
                if _is_zero(graph, above.args[1]):
                    return Acts(node, "relu", inner, torch.relu)
                if fixed(graph, above.args[1]):
                    return Acts(node, "jumprelu", inner, nn.Identity())
    if isinstance(of, fx.Node) and shape(of) == shape(node):
        return Acts(node, "relu", of, torch.relu)
    return None


def _is_zero(graph: Graph, argument: Any) -> bool:
    """Whether an argument is 0, or a tensor of nothing else."""
    while isinstance(argument, fx.Node) and argument.target in _TURNING:
        argument = argument.args[0]
    if not isinstance(argument, fx.Node):
        return isinstance(argument, int | float) and argument == 0
    if argument.target in (aten.full_like.default, aten.full.default):
        return bool(argument.args[1] == 0)
    held = graph.constants.get(argument.name)
    zeros = held is not None and held.is_floating_point() and not bool(held.count_nonzero())
    return zeros or argument.target in (aten.zeros_like.default, aten.zeros.default, aten.new_zeros.default)


def _passed(node: Any) -> fx.Node:
    """What a node gives on as it is, in another type perhaps."""
    while node.target in PASSING:
        node = node.args[0]
    return node  # type: ignore[no-any-return]


def fixed(graph: Graph, node: Any) -> bool:
    """Whether an argument follows from parameters and numbers alone."""
    if not isinstance(node, fx.Node) or node.name in graph.names:
        return True
    return (
        node.op == "call_function" and bool(node.all_input_nodes) and all(fixed(graph, n) for n in node.all_input_nodes)
    )


def parameter(graph: Graph, node: Any) -> str | None:
    """The name of the parameter or buffer that an argument is, as it stands or only turned about; else None."""
    while isinstance(node, fx.Node) and node.target in _TURNING:
        node = node.args[0]
    return graph.names.get(node.name) if isinstance(node, fx.Node) else None


_TURNING = {
    aten.view.default, aten.reshape.default, aten.unsqueeze.default, aten.t.default, aten.transpose.int,
    aten.permute.default, aten.expand.default, aten.clone.default, aten._to_copy.default, aten.numpy_T.default,
    aten.mT.default, aten.squeeze.dim, aten.alias.default, aten.detach.default,
}  # fmt: skip
