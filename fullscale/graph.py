"""A network as a graph: its operations in order, the shapes between them, and its BatchNorms with the activations behind them.

Any network that torch.fx can trace, whoever wrote it. What uses the graph: measuring, the monitor, the removal of filters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from dynamics.errors import InputError

# Functions and methods that are an activation: element by element, with no weights.
FUNCTIONS: dict[Any, str] = {
    torch.relu: "relu", torch.relu_: "relu", F.relu: "relu", F.relu_: "relu", "relu": "relu", "relu_": "relu",
    F.relu6: "relu6", F.leaky_relu: "leaky_relu", F.leaky_relu_: "leaky_relu", F.elu: "elu", F.selu: "selu",
    F.gelu: "gelu", F.silu: "silu", F.mish: "mish", F.softplus: "softplus",
    F.hardswish: "hardswish", F.hardtanh: "hardtanh", F.hardsigmoid: "hardsigmoid",
    torch.tanh: "tanh", F.tanh: "tanh", "tanh": "tanh", torch.sigmoid: "sigmoid", F.sigmoid: "sigmoid", "sigmoid": "sigmoid",
}  # fmt: skip
MODULES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu", nn.ReLU6: "relu6", nn.LeakyReLU: "leaky_relu", nn.ELU: "elu", nn.SELU: "selu", nn.CELU: "celu",
    nn.GELU: "gelu", nn.SiLU: "silu", nn.Mish: "mish", nn.Softplus: "softplus", nn.Hardswish: "hardswish",
    nn.Hardtanh: "hardtanh", nn.Hardsigmoid: "hardsigmoid", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid",
}  # fmt: skip
# Modules that change nothing in evaluation mode.
PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@dataclass(frozen=True, eq=False)
class Unit:
    """The filters behind one BatchNorm: each channel of it is a filter, and `activation` is what its output goes through.

    norm: the BatchNorm's name in the network. activation: "relu", "gelu", ... or "identity" where the output goes elsewhere
    first (a residual sum) or to several readers. function: the activation, element by element. node: name of the graph's
    node that holds the activation's output.
    """

    norm: str
    activation: str
    function: Callable[[Tensor], Tensor]
    node: str

    @property
    def rectified(self) -> bool:
        """Whether the activation puts out exact zeros for a whole range of inputs, so that a filter can be inactive."""
        return self.activation in ("relu", "relu6")


class _Tracer(fx.Tracer):
    """torch.fx's, with every BatchNorm a leaf, also the derived ones that add an activation (timm's BatchNormAct2d)."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _BatchNorm) or super().is_leaf_module(m, module_qualified_name)


@contextmanager
def evaluation(net: nn.Module) -> Iterator[None]:
    """Within it the network is in evaluation mode and no gradient is kept; each module's own mode comes back after."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def trace(net: nn.Module, example: Tensor | None = None) -> fx.GraphModule:
    """The network's graph as it is in evaluation mode; its modules are the network's own.

    example: images (N, C, H, W); each node's `meta["tensor_meta"].shape` is then that of its output for them.
    Raises InputError for a network that torch.fx cannot follow, and for an example that does not fit it.
    """
    with evaluation(net):
        try:
            graph = fx.GraphModule(net, _Tracer().trace(net))
        except Exception as error:  # whatever the network's own code raises when it meets a stand-in for a tensor
            reason = " ".join(str(error).split())
            raise InputError(f"{type(net).__name__} cannot be traced by torch.fx ({reason})") from error
        if example is not None:
            first = next(net.parameters(), example)
            try:
                ShapeProp(fx.GraphModule(shell(net), graph.graph)).propagate(example.to("meta", first.dtype))
            except Exception as error:
                reason = " ".join(str(error).split())
                raise InputError(f"images of shape {tuple(example.shape)} do not fit the network ({reason})") from error
    return graph


def shell(net: nn.Module) -> nn.Module:
    """A copy of the network on the meta device, without hooks: it has shapes alone, and takes no memory.

    BatchNorms pass on what they are given, since on that device they are slow.
    """
    tensors = (*net.parameters(), *net.buffers())
    # What deepcopy has "copied" already.
    memo: dict[int, Any] = {}
    for tensor in tensors:
        bare = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
    bare_net = copy.deepcopy(net, memo)
    for module in bare_net.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        if isinstance(module, _BatchNorm):
            module.forward = lambda x: x  # type: ignore[method-assign, assignment]
    return bare_net


def units(graph: fx.GraphModule) -> tuple[Unit, ...]:
    """Every BatchNorm of the graph that has a scale, in the order of its use.

    Raises InputError for a network without any, and for a BatchNorm that is used more than once.
    """
    modules = dict(graph.named_modules())
    found: list[Unit] = []
    for node in graph.graph.nodes:
        module = modules.get(node.target) if node.op == "call_module" else None
        if isinstance(module, _BatchNorm) and module.affine:
            found.append(_unit(node, module, modules))
    names = [unit.norm for unit in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"BatchNorm {twice!r} is used more than once: one use of each is accepted")
    if not found:
        raise InputError("the network has no BatchNorm with a scale: its filters cannot be measured by it")
    return tuple(found)


def _unit(node: fx.Node, module: nn.Module, modules: dict[str, nn.Module]) -> Unit:
    own = getattr(module, "act", None)
    if isinstance(own, nn.Module) and not isinstance(own, nn.Identity):
        # The activation lives inside the BatchNorm (timm's BatchNormAct2d).
        return Unit(str(node.target), MODULES.get(type(own), type(own).__name__.lower()), nn.Identity(), node.name)
    readers = list(node.users)
    # Dropout passes everything on in evaluation mode, as Identity does.
    while (
        len(readers) == 1
        and readers[0].op == "call_module"
        and isinstance(modules.get(str(readers[0].target)), PASSING)
    ):
        readers = list(readers[0].users)
    if len(readers) == 1 and (name := activation(readers[0], modules)):
        return Unit(str(node.target), name, function(readers[0], modules), readers[0].name)
    return Unit(str(node.target), "identity", nn.Identity(), node.name)


def activation(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """The name of the activation that a node is, or None: element by element, without weights."""
    if node.op == "call_module":
        return MODULES.get(type(modules[str(node.target)]))
    return FUNCTIONS.get(node.target) if node.op in ("call_function", "call_method") else None


def function(node: fx.Node, modules: dict[str, nn.Module]) -> Callable[[Tensor], Tensor]:
    """An activation node as a function of its input that leaves the input as it was."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        return lambda x: module(x.clone())
    rest, named = node.args[1:], dict(node.kwargs)
    named.pop("input", None)
    if node.op == "call_method":
        return lambda x: getattr(x.clone(), str(node.target))(*rest, **named)
    target: Any = node.target
    return lambda x: target(x.clone(), *rest, **named)
