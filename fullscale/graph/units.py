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

from dynamics.door import checked
from dynamics.errors import InputError
from fullscale.graph.activations import PASSING, Acts, activation, fixed, kind, parameter
from fullscale.graph.trace import Graph, path, shape

aten = torch.ops.aten

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
# What takes a tensor apart, and the position of the dimension among the arguments.
_PARTS: dict[Any, int] = {
    aten.chunk.default: 2, aten.split.Tensor: 2, aten.split_with_sizes.default: 2, aten.slice.Tensor: 1, aten.narrow.default: 1,
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


@checked
def units(graph: Graph) -> tuple[Unit, ...]:
    """Every unit of a graph, in the order of use.

    Raises InputError for a network without any: neither BatchNorm nor an activation behind a layer.
    """
    found = every_unit(graph)
    if not found:
        acting = filter(None, (activation(graph, node) for node in graph.nodes))
        seen = ", ".join(dict.fromkeys(f"{acts.name} of {kind(acts.of)}" for acts in acting))
        raise InputError(
            "the network has neither a BatchNorm nor an activation (ReLU, GELU, ...) behind a convolution or linear layer"
            f"{f' (here: {seen}; sigmoid and tanh count as gates)' if seen else ''}: none of its channels can be measured"
        )
    return found


def every_unit(graph: Graph) -> tuple[Unit, ...]:
    """As `units`, none for a network without any."""
    found: list[Unit] = []
    for node in graph.nodes:
        if node.target in BATCH_NORMS:
            found.append(_of_norm(graph, node))
        elif (
            (acts := activation(graph, node)) is not None
            and acts.name not in GATES
            and (unit := _of_layer(graph, acts))
        ):
            found.append(unit)
    jumps = {unit.node for unit in found if unit.activation == "jumprelu"}
    # The ReLU in front of a bound is part of it.
    found = [unit for unit in found if unit.node not in jumps or unit.activation == "jumprelu"]
    seen: dict[str, int] = {}
    for i, unit in enumerate(found):
        seen[unit.norm] = seen.get(unit.norm, 0) + 1
        if seen[unit.norm] > 1:  # a module that is used again
            found[i] = replace(unit, norm=f"{unit.norm}#{seen[unit.norm]}")
    return tuple(found)


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
    acts = _acting(graph, output)
    if acts is not None and shape(acts.node) == shape(source):
        watched = output if acts.watched is None else acts.watched
        return replace(unit, activation=acts.name, function=acts.function, node=acts.node.name, source=watched.name)
    return unit


def _acting(graph: Graph, node: fx.Node) -> Acts | None:
    """The activation that alone reads a node, be it at several places."""
    behind = alone(node)
    several = [far for user in readers(node) for far in (user, *user.users)]
    for near in [behind] if behind is not None else several:
        acts = activation(graph, near)
        known = acts is not None and acts.of in (node, near.args[0])
        if known and (behind is not None or all(_only(user, near) for user in readers(node))):
            return acts
    return None


def _only(node: fx.Node, into: fx.Node, steps: int = 3) -> bool:
    """Whether a node is this one, or is read by what leads to it alone, in so many steps."""
    users = readers(node)
    return node is into or (steps > 0 and bool(users) and all(_only(user, into, steps - 1) for user in users))


def readers(node: fx.Node) -> list[fx.Node]:
    """What reads a node's numbers."""
    return [user for user in node.users if user.target is not aten._assert_tensor_metadata.default]


def alone(node: fx.Node) -> fx.Node | None:
    """The only reader of a node, past what passes everything on."""
    while len(readers(node)) == 1:
        reader = readers(node)[0]
        dropped = reader.target is operator.getitem and node.target is aten.native_dropout.default
        if reader.target not in PASSING and not dropped:
            return reader
        node = reader
    return None


def _feeding(graph: Graph, node: fx.Node) -> str | None:
    """The weights of the layer that a node is the output of."""
    where = LAYERS.get(node.target)
    return None if where is None else parameter(graph, node.args[where[0]])


def _of_layer(graph: Graph, acts: Acts) -> Unit | None:
    """The unit of an activation behind a layer without BatchNorm, or behind a part of its channels, else None."""
    node = acts.node
    at: Any = acts.of
    scale = shift = norm = None
    dim: int | None = None
    parts: list[int] = [node.args[1] if len(node.args) > 1 else -1] if node.target is aten.glu.default else []  # type: ignore[list-item]
    while isinstance(at, fx.Node):
        if at.target in LAYERS:
            weight, out = LAYERS[at.target]
            sizes = shape(node)
            dim = out if dim is None else dim
            if any(part % len(sizes) != dim % len(sizes) for part in parts):
                return None
            held = at.args[weight]
            unit = Unit(
                norm=norm or owner(graph, at, held),
                activation=acts.name,
                function=acts.function,
                node=node.name,
                source=(acts.watched or acts.of).name,
                dim=dim % len(sizes),
                filters=sizes[dim],
                scale=scale,
                shift=shift,
                weight=None if parts else parameter(graph, held),
                batch=False,
            )
            product = _gated(node)
            return unit if product is None else replace(unit, node=product.name)
        arguments: tuple[Any, ...] = (*at.args[:2], None, None)  # an input has none
        first, second = arguments[:2]
        if at.target in _PARTS:
            parts.append((*tuple[Any, ...](at.args), 0)[_PARTS[at.target]])
            at = first
        elif at.target in OTHER_NORMS and norm is None and not parts:
            *positions, channels = OTHER_NORMS[at.target]
            held = [at.args[i] if i is not None and i < len(at.args) else None for i in positions]
            norm = owner(graph, at, *held)
            if channels != -1 or len(at.args[1]) == 1:  # type: ignore[arg-type]  # else a scale for each place, not for each channel
                dim = channels
                scale, shift = (parameter(graph, argument) for argument in held)
            at = first
        elif (
            at.target in PASSING
            or (at.target is operator.getitem and (second == 0 or first.target in _PARTS))
            or (at.target in _SHIFTING and fixed(graph, second))
        ):
            at = first
        elif at.target in _SHIFTING and fixed(graph, first):
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
