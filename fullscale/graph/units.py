"""The channels of a network that can fall silent, found in its graph.

A unit is a channel of a BatchNorm, whatever reads it; or, where there is none, a channel of a convolution or linear layer
that goes through an activation: the filters of a network without BatchNorm, the inner width of an MLP, the latents of a
sparse autoencoder. Layer, group and RMS norms in between lend their scale and shift.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from dynamics.errors import InputError
from fullscale.graph.trace import Graph, path, shape

aten = torch.ops.aten

# Element by element, without weights. Those of one sign or bound: see `activation`.
ACTIVATIONS: dict[Any, str] = {
    aten.relu.default: "relu", aten.relu6.default: "relu6", aten.leaky_relu.default: "leaky_relu",
    aten.elu.default: "elu", aten.selu.default: "selu", aten.celu.default: "celu", aten.gelu.default: "gelu",
    aten.silu.default: "silu", aten.mish.default: "mish", aten.softplus.default: "softplus",
    aten.hardswish.default: "hardswish", aten.hardtanh.default: "hardtanh", aten.hardsigmoid.default: "hardsigmoid",
    aten.tanh.default: "tanh", aten.sigmoid.default: "sigmoid",
}  # fmt: skip
# Gates that are no units by themselves: what they multiply is.
GATES = ("sigmoid", "hardsigmoid", "tanh")
BATCH_NORMS = {
    aten._native_batch_norm_legit_no_training.default, aten._native_batch_norm_legit.default,
    aten._native_batch_norm_legit.no_stats, aten._native_batch_norm_legit_functional.default,
    aten.batch_norm.default, aten.native_batch_norm.default, aten.cudnn_batch_norm.default,
}  # fmt: skip
# Position of scale and shift among the arguments, and the dimension of the channels.
OTHER_NORMS: dict[Any, tuple[int, int | None, int]] = {
    aten.layer_norm.default: (2, 3, -1), aten.native_layer_norm.default: (2, 3, -1), aten.rms_norm.default: (2, None, -1),
    aten.group_norm.default: (2, 3, 1), aten.native_group_norm.default: (1, 2, 1), aten.instance_norm.default: (1, 2, 1),
}  # fmt: skip
# Position of the weights among the arguments, and the dimension of the channels that are put out.
LAYERS: dict[Any, tuple[int, int]] = {
    aten.conv1d.default: (1, -2), aten.conv1d.padding: (1, -2), aten.conv2d.default: (1, -3), aten.conv2d.padding: (1, -3),
    aten.conv3d.default: (1, -4), aten.conv3d.padding: (1, -4), aten.convolution.default: (1, 1),
    aten.conv_transpose1d.default: (1, -2), aten.conv_transpose2d.input: (1, -3), aten.conv_transpose3d.input: (1, -4),
    aten.linear.default: (1, -1), aten.mm.default: (1, -1), aten.matmul.default: (1, -1), aten.addmm.default: (2, -1),
}  # fmt: skip
# What gives its first argument on as it is in evaluation mode, and as far as a dropout lets it in training.
PASSING = {
    aten.clone.default, aten.alias.default, aten.detach.default, aten.contiguous.default, aten.dropout.default,
    aten.lift_fresh_copy.default, aten._to_copy.default, aten.feature_dropout.default,
    aten.native_dropout.default,
}  # fmt: skip
_SHIFTING = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor}


@dataclass(frozen=True, eq=False)
class Unit:
    """The channels of one layer that can fall silent.

    norm: the name of the BatchNorm, or, without one, of the layer or of the norm between it and the activation. activation:
    "relu", "gelu", ... or "identity" where a BatchNorm's output goes elsewhere first (a residual sum) or to several readers.
    function: the activation, element by element. node: name of the graph's node that holds the activation's output; source:
    of the one that it takes. dim: its channel dimension. filters: how many. scale, shift, weight: names of the parameters
    that scale and shift each channel and of the weights that feed it, None where there are none.
    """

    norm: str
    activation: str
    function: Callable[[Tensor], Tensor]
    node: str
    source: str = ""
    dim: int = 1
    filters: int = 0
    scale: str | None = None
    shift: str | None = None
    weight: str | None = None
    batch: bool = True

    @property
    def rectified(self) -> bool:
        """Whether the activation puts out exact zeros for a whole range of inputs, so that a filter can be inactive."""
        return self.activation in ("relu", "relu6")

    def scales(self, net: nn.Module) -> tuple[Tensor, Tensor]:
        """Scale and shift (filters,) in float64 on the CPU; NaN where the layer has none; 1 and 0 of a BatchNorm without."""
        tensors = dict(net.named_parameters(remove_duplicate=False)) | dict(net.named_buffers(remove_duplicate=False))
        missing = (1.0, 0.0) if self.batch else (torch.nan, torch.nan)
        scale, shift = (
            torch.full((self.filters,), default, dtype=torch.float64)
            if name is None
            else tensors[name].detach().to("cpu", copy=True).double().flatten()
            for name, default in zip((self.scale, self.shift), missing, strict=True)
        )
        return scale, shift


def units(graph: Graph) -> tuple[Unit, ...]:
    """Every unit of a graph, in the order of use.

    Raises InputError for a network without any: neither BatchNorm nor an activation behind a layer.
    """
    found = every_unit(graph)
    if not found:
        raise InputError(
            "the network has neither a BatchNorm nor an activation (ReLU, GELU, ...) behind a layer: none of its channels "
            "can be measured"
        )
    return found


def every_unit(graph: Graph) -> tuple[Unit, ...]:
    """As `units`, none for a network without any."""
    found: list[Unit] = []
    for node in graph.nodes:
        if node.target in BATCH_NORMS:
            found.append(_of_norm(graph, node))
        elif (name := activation(node)) is not None and name not in GATES and (unit := _of_layer(graph, node, name)):
            found.append(unit)
    seen: dict[str, int] = {}
    for i, unit in enumerate(found):
        seen[unit.norm] = seen.get(unit.norm, 0) + 1
        if seen[unit.norm] > 1:  # a module that is used again
            found[i] = replace(unit, norm=f"{unit.norm}#{seen[unit.norm]}")
    return tuple(found)


def activation(node: fx.Node) -> str | None:
    """The name of the activation that a node is, or None: element by element, without weights."""
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], fx.Node):
        return None
    rest = [*node.args[1:], *node.kwargs.values()]
    if node.target is aten.hardtanh.default:
        return "relu6" if rest and rest[0] == 0 else "hardtanh"
    # Rectifiers by other names: clamp(min=0), threshold(0, 0).
    if node.target in (aten.clamp.default, aten.clamp_min.default, aten.threshold.default):
        return "relu" if rest and rest[0] == 0 and all(value in (0, None) for value in rest[1:]) else None
    return ACTIVATIONS.get(node.target)


def function(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """An activation node as a function of its input."""
    target: Any = node.target
    rest, named = node.args[1:], dict(node.kwargs)
    return lambda x: target(x, *rest, **named)


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


def owner(graph: Graph, node: fx.Node, *weights: Any) -> str:
    """The name of a layer: of the module that holds its weights as "weight", else of the weights themselves."""
    for name in (parameter(graph, weight) for weight in weights):
        if name is not None:
            module, _, own = name.rpartition(".")
            return module if own in ("weight", "bias", "running_mean") and module else name
    return path(node)


def _of_norm(graph: Graph, node: fx.Node) -> Unit:
    scale, shift = (parameter(graph, argument) for argument in node.args[1:3])
    output = next((user for user in node.users if user.target is operator.getitem and user.args[1] == 0), node)
    source: Any = node.args[0]
    feeding = _feeding(graph, source) if len(source.users) == 1 else None
    unit = Unit(
        norm=path(node) or owner(graph, node, *node.args[1:4]),
        activation="identity",
        function=nn.Identity(),
        node=output.name,
        source=output.name,
        filters=shape(source)[1],
        scale=scale,
        shift=shift,
        weight=feeding,
    )
    behind = alone(output)
    if behind is not None and (name := activation(behind)) is not None:
        return replace(unit, activation=name, function=function(behind), node=behind.name)
    return unit


def alone(node: fx.Node) -> fx.Node | None:
    """The only reader of a node, past what passes everything on."""
    while len(node.users) == 1:
        reader = next(iter(node.users))
        dropped = reader.target is operator.getitem and node.target is aten.native_dropout.default
        if reader.target not in PASSING and not dropped:
            return reader
        node = reader
    return None


def _feeding(graph: Graph, node: fx.Node) -> str | None:
    """The weights of the layer that a node is the output of."""
    where = LAYERS.get(node.target)
    return None if where is None else parameter(graph, node.args[where[0]])


def _of_layer(graph: Graph, node: fx.Node, name: str) -> Unit | None:
    """The unit of an activation behind a layer without BatchNorm, else None."""
    behind: Any = node.args[0]
    at = behind
    scale = shift = norm = None
    dim: int | None = None
    while isinstance(at, fx.Node):
        if at.target in LAYERS:
            weight, out = LAYERS[at.target]
            sizes = shape(node)
            dim = out if dim is None else dim
            held = at.args[weight]
            unit = Unit(
                norm=norm or owner(graph, at, held),
                activation=name,
                function=function(node),
                node=node.name,
                source=behind.name,
                dim=dim % len(sizes),
                filters=sizes[dim],
                scale=scale,
                shift=shift,
                weight=parameter(graph, held),
                batch=False,
            )
            product = _gated(node)
            return unit if product is None else replace(unit, node=product.name)
        first, second = (*at.args[:2], None, None)[:2]  # an input has none
        if at.target in OTHER_NORMS and norm is None:
            *positions, channels = OTHER_NORMS[at.target]
            held = [at.args[i] if i is not None and i < len(at.args) else None for i in positions]
            norm = owner(graph, at, *held)
            if channels != -1 or len(at.args[1]) == 1:  # type: ignore[arg-type]  # else a scale for each place, not for each channel
                dim = channels
                scale, shift = (parameter(graph, argument) for argument in held)
            at = first
        elif (
            at.target in PASSING
            or (at.target is operator.getitem and second == 0)
            or (at.target in _SHIFTING and (parameter(graph, second) or not isinstance(second, fx.Node)))
        ):
            at = first
        elif at.target in _SHIFTING and parameter(graph, first):
            at = second
        else:
            return None
    return None


def _gated(node: fx.Node) -> fx.Node | None:
    """The product of an activation and a second layer of as many channels, which is what a gated MLP goes on with."""
    reader = alone(node)
    if reader is None or reader.target is not aten.mul.Tensor:
        return None
    both = [argument for argument in reader.args if isinstance(argument, fx.Node)]
    same = len(both) == 2 and both[0] is not both[1] and {shape(argument) for argument in both} == {shape(reader)}
    return reader if same else None
