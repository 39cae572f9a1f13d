"""The graph of a network: what its Python code does to inputs of one shape, as ATen operations.

torch.export runs forward once with stand-ins for tensors and records every operation; writes in place become operations
that make new tensors. Modules do not matter then, only what they compute: subclasses, hooks and helper functions are all
seen through. What depends on the numbers in a tensor cannot be recorded, and is refused.
"""

from __future__ import annotations

import io
import logging
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._C import DispatchKey
from torch._ops import OpOverload
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import tree_leaves

from dynamics.errors import InputError
from dynamics.given import flag, kind
from fullscale.graph.inputs import Inputs, outputs, taken
from fullscale.graph.untouched import untouched

aten = torch.ops.aten
# Composite views that units and pruning know; other composites without side effects are recorded as they stand anyway.
_VIEWS = {
    aten.flatten.using_ints, aten.unflatten.int, aten.reshape.default, aten.contiguous.default, aten.chunk.default,
    aten.narrow.default, aten.numpy_T.default,
}  # fmt: skip
# Position of the flag of what writes its own statistics when it is set, whatever its schema says.
_WRITING = {aten.batch_norm.default: 5, aten.instance_norm.default: 5}

# Sees what a node puts out before anything reads it; gives it back, or something else in its stead.
Look = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Graph:
    """The operations of a network in one mode, for inputs of one shape.

    module: the graph of ATen operations. names: of each placeholder that is a parameter or buffer, its name in the network.
    constants: of each placeholder that is another tensor of the network's, that tensor. given: the placeholders that stand
    for the inputs, in order. results: the nodes that are the outputs, in the order of `outputs`. written: names of buffers that
    forward writes into, which hold something else at the next call.
    """

    module: fx.GraphModule
    names: dict[str, str]
    constants: dict[str, Tensor]
    given: tuple[str, ...]
    results: tuple[fx.Node, ...]
    written: frozenset[str]
    index: dict[str, fx.Node] = field(repr=False)

    @property
    def nodes(self) -> list[fx.Node]:
        """Its operations, in order."""
        return list(self.module.graph.nodes)

    def run(
        self, net: nn.Module, inputs: Inputs, look: Look | None = None, at: frozenset[str] = frozenset()
    ) -> list[Tensor]:
        """The outputs of a network of this graph: with its own numbers as they are now.

        look: is shown the output of each node whose name is in `at`.
        """
        held = dict(net.named_parameters(remove_duplicate=False)) | dict(net.named_buffers(remove_duplicate=False))
        leaves = iter(tree_leaves((inputs.args, inputs.named)))
        values: list[Any] = []
        for node in self.module.graph.nodes:
            if node.op != "placeholder":
                break
            if node.name in self.names:
                values.append(held[self.names[node.name]])
            elif node.name in self.constants:
                values.append(self.constants[node.name])
            else:
                values.append(next(leaves))
        devices = sorted({value.device.index or 0 for value in values if isinstance(value, Tensor) and value.is_cuda})
        with torch.no_grad(), torch.random.fork_rng(devices):
            every = _Run(self.module, look, at).run(*values)
        return list(every[len(every) - len(self.results) :])


class _Run(fx.Interpreter):
    """Runs a graph node by node; a tensor is let go after its last reader."""

    def __init__(self, module: fx.GraphModule, look: Look | None, at: frozenset[str]) -> None:
        super().__init__(module)
        self.look, self.at = look, at
        # An error of an operation is to reach its reader as it is.
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        return self.look(n.name, result) if self.look is not None and n.name in self.at else result


class _Flat(nn.Module):
    """A network whose outputs are a flat list of tensors, whatever it gives itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        # Not by `eval`: a `train` of the network's own may merge weights.
        self.training = False

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        return list(outputs(self.net(*args, **kwargs)).values())


def call(net: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """What Python computes for the inputs, by its place in the outputs; neither network nor inputs are changed."""
    copies = inputs.map(lambda tensor: tensor.detach().clone())
    with untouched(net):
        return {place: tensor.clone() for place, tensor in outputs(net(*copies.args, **copies.named)).items()}


def trace(net: nn.Module, example: Any, *, training: bool = False) -> Graph:
    """The graph of a network, for inputs of the shape of an example: in evaluation mode, or as it trains.

    Args:
        net: the network, on any device; nothing of it is changed.
        example: what its forward takes: one tensor (N, ...), a tuple of arguments, or a dictionary of keyword arguments.
        training: trace it in the modes that its modules are in, without mixed precision: for a network that is about to run
            on the example.

    Returns:
        The Graph: each node of its `module` has `meta["val"]`, a stand-in of the output's shape and type.

    Raises:
        InputError: where the network's own code fails on the example, saying how; and for a network that torch.export
            cannot follow, such as one that branches on the numbers in a tensor.

    Example:
        >>> graph = trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.ones(1, 3))
        >>> [str(node.target) for node in graph.nodes if node.op == "call_function"]
        ['aten.linear.default', 'aten.relu.default']

    Source:
        torch.export, non-strict, with run_decompositions.
    """
    kind("net", net, nn.Module, "a torch.nn.Module")
    flag("training", training)
    inputs = taken(example).to(net)
    if any(tensor.is_inference() for tensor in (*net.parameters(), *net.buffers())):
        raise InputError(
            f"{type(net).__name__} was made under torch.inference_mode: a network made without it is accepted"
        )
    if not (training and torch.distributed.is_available() and torch.distributed.is_initialized()):
        _try(net, inputs, training)
    try:
        with untouched(net, training), quiet(), unfused():
            flat = _Flat(net)
            flat.training = training
            program = torch.export.export(flat, inputs.args, inputs.named, strict=False)
            if _plainly(program.graph_module):
                # What another monitor's hook computes aside, say.
                program.graph_module.graph.eliminate_dead_code()
            else:
                program = program.run_decompositions({})
    except Exception as error:  # whatever the network's own code raises when it meets a stand-in for a tensor
        raise InputError(
            f"{type(net).__name__}: torch.export cannot follow what it does with its inputs ({_line(error)})"
        ) from error
    signature = program.graph_signature
    names, constants, given = {}, {}, []
    for spec in signature.input_specs:
        own = spec.arg.name
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            names[own] = str(spec.target).removeprefix("net.")
        elif spec.kind == InputKind.USER_INPUT:
            given.append(own)
        else:
            constants[own] = program.constants[str(spec.target)]
    written = frozenset(name.removeprefix("net.") for name in signature.buffers_to_mutate.values())
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    last = list(program.graph_module.graph.nodes)[-1]
    count = sum(spec.kind == OutputKind.USER_OUTPUT for spec in signature.output_specs)
    results = tuple(last.args[0][len(last.args[0]) - count :])
    return Graph(program.graph_module, names, constants, tuple(given), results, written, nodes)


def _plainly(module: fx.GraphModule) -> bool:
    """Whether every operation makes a new tensor or a view, and is one that is known here as it stands.

    The second recording, which takes three quarters of the time, would then say the same in other words.
    """
    for node in module.graph.nodes:
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        target: Any = node.target
        if not isinstance(target, OpOverload) or target._schema.is_mutable:
            return False
        if target in _WRITING and node.args[3] is not None and node.args[_WRITING[target]]:
            return False
        if torch.Tag.maybe_aliasing_or_mutating in target.tags and node.args[-1] is not False:
            return False  # a dropout that is on may be one of nothing
        composite = target.has_kernel_for_dispatch_key(DispatchKey.CompositeImplicitAutograd)
        if composite and target not in _VIEWS and any(own.alias_info for own in target._schema.arguments):
            return False
    return True


def _try(net: nn.Module, inputs: Inputs, training: bool) -> None:
    """InputError if it is the inputs that do not fit. And what the network's helpers put into caches that cannot be emptied
    is no stand-in for a tensor then. Not where processes train together: each may wait for the others in such a pass.
    """
    copies = inputs.map(lambda tensor: tensor.detach().clone())
    try:
        with untouched(net, training), quiet(), unfused():
            net(*copies.args, **copies.named)
    except Exception as error:  # whatever the network's own code raises
        raise InputError(
            f"inputs of shape {inputs.shapes()} do not fit {type(net).__name__} ({_line(error)})"
        ) from error


def _line(error: Exception) -> str:
    """The first sentences of an error in one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 300 else words[:297] + "..."


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch logs and warns of while it records: errors reach the user in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        # torch.export writes the unfinished graph of what it cannot follow to the standard error.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def unfused() -> Iterator[None]:
    """Without the kernels that stand for whole transformer layers, and without mixed precision: each operation by itself."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # Mixed precision keeps the weights that it rounds, which would be stand-ins here.
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def shape(node: fx.Node) -> tuple[int, ...]:
    """Of a node's output; () where it is no tensor."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def path(node: fx.Node) -> str:
    """The name of the innermost module whose forward the node is part of; "" for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    name = str(list(stack.values())[-1][0]) if stack else ""
    return name.removeprefix("net").removeprefix(".")
