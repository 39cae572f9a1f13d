"""How channels go through operations without weights: sums, products, concatenation, activations, pools, flattening."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from fullscale.graph import PASSING, activation, function
from fullscale.prune.channels import Channels, Flow, mapped, shape
from fullscale.prune.layers import through

_SUBTRACTING = {operator.sub, operator.isub, torch.sub, "sub", "sub_"}
_ADDING = {operator.add, operator.iadd, torch.add, "add", "add_", *_SUBTRACTING}
_MULTIPLYING = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_DIVIDING = {operator.truediv, operator.itruediv, torch.div, "div", "div_"}
_JOINING = {torch.cat, torch.concat, torch.concatenate}
# Modules and functions that give back a constant as it is: each output is an average or a maximum of inputs alone.
_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.ReflectionPad2d, nn.ReplicationPad2d,
    nn.CircularPad2d, nn.Upsample, *PASSING,
)  # fmt: skip
_PASSED = {
    F.max_pool1d, F.max_pool2d, F.max_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d,
    F.adaptive_max_pool2d, F.interpolate, torch.clone, "clone", "contiguous", "detach",
}  # fmt: skip
_DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d}
_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_FLATTENING = {torch.flatten, "flatten", "view", "reshape", torch.reshape}
_LONGER = {"squeeze", torch.squeeze, "unsqueeze", torch.unsqueeze}


def known(found: Channels, node: fx.Node, modules: dict[str, nn.Module]) -> Flow | None:
    """The flow behind an operation that is understood, else None."""
    if node.op != "call_module" and node.target in _JOINING:
        return _joined(found, node)
    pair = [found.flows.get(a) if isinstance(a, fx.Node) else a for a in node.args[:2]]
    if node.op != "call_module" and len(pair) == 2 and node.target in _ADDING | _MULTIPLYING | _DIVIDING:
        return _combined(found, node, pair)
    first = pair[0] if pair else None
    if not isinstance(first, Flow):
        return None
    if activation(node, modules) is not None:
        return Flow(first.atoms, mapped(function(node, modules), first.value))
    if node.op == "call_module":
        module = modules[str(node.target)]
        return _pooled(node, module, first) or through(found, node, module, first)
    target: Any = node.target
    if target in _PASSED:
        return first
    if target in _DROPOUTS:
        # Unless it is told to drop in evaluation mode, too.
        training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True)
        return first if training is False else None
    if target in (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d):
        return _zeros_alone(first)  # padding may be among the averaged
    if target is F.pad:
        return _padded(node, first)
    if target in (torch.mean, "mean"):
        return _mean(node, first)
    if target in _FLATTENING:
        return _flat(node, first)
    if target in _LONGER:
        dims = node.args[1:]
        ndim = max(len(shape(node)), len(shape(node.args[0])))  # type: ignore[arg-type]
        return first if len(dims) == 1 and isinstance(dims[0], int) and dims[0] % ndim > 1 else None
    if target is operator.getitem:
        index = node.args[1]
        whole = isinstance(index, tuple) and len(index) > 1 and all(i == slice(None) for i in index[:2])
        return first if whole else None
    return None


def _zeros_alone(flow: Flow) -> Flow:
    """Of the constants, only 0 is one still."""
    return Flow(flow.atoms, np.where(flow.value == 0, 0.0, np.nan))


def _joined(found: Channels, node: fx.Node) -> Flow | None:
    arguments = dict(zip(("tensors", "dim"), node.args, strict=False)) | node.kwargs
    tensors, dim = arguments.get("tensors"), arguments.get("dim", 0)
    if not isinstance(tensors, list | tuple) or dim not in (1, 1 - len(shape(node))):
        return None
    flows = [found.flows[part] for part in tensors if isinstance(part, fx.Node) and part in found.flows]
    if len(flows) < len(tensors):
        return None
    return Flow(np.concatenate([f.atoms for f in flows]), np.concatenate([f.value for f in flows]))


def joined_parts(node: fx.Node) -> list[fx.Node] | None:
    """The tensors that a node concatenates along the channels, perhaps the same one twice; None if it does not."""
    if node.op == "call_module" or node.target not in _JOINING:
        return None
    parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
    return list(parts)


def _combined(found: Channels, node: fx.Node, pair: list[Any]) -> Flow | None:
    """Sums, differences and products of two tensors, or of one and a number."""
    one, other = pair
    if node.kwargs or not all(isinstance(x, Flow | int | float) for x in pair):
        return None
    values = [x.value if isinstance(x, Flow) else np.asarray(float(x)) for x in pair]
    atoms = one.atoms if isinstance(one, Flow) else other.atoms
    if node.target in _DIVIDING:
        return None if isinstance(other, Flow) or other == 0 else Flow(atoms, values[0] / values[1])
    if isinstance(one, Flow) and isinstance(other, Flow):
        counts = sorted((len(one.atoms), len(other.atoms)))
        if len({len(shape(a)) for a in node.args[:2]}) > 1:  # type: ignore[arg-type]
            return None
        if counts[0] == counts[1]:
            found.unite(one.atoms, other.atoms)
        elif counts[0] == 1:  # a map that all channels share, and a layer's last filter stays
            atoms = one.atoms if len(one.atoms) > 1 else other.atoms
        else:
            return None
    if node.target in _MULTIPLYING:
        zero = (values[0] == 0) | (values[1] == 0)
        return Flow(atoms, np.where(zero, 0.0, values[0] * values[1]))
    return Flow(atoms, np.subtract(*values) if node.target in _SUBTRACTING else np.add(*values))


def _mean(node: fx.Node, flow: Flow) -> Flow | None:
    dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    ndim = len(shape(node.args[0]))  # type: ignore[arg-type]
    listed = [dims] if isinstance(dims, int) else dims
    if not isinstance(listed, list | tuple) or any(d % ndim < 2 for d in listed):  # type: ignore[operator]
        return None
    return flow


def _padded(node: fx.Node, flow: Flow) -> Flow | None:
    arguments = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | node.kwargs
    pad = arguments["pad"]
    if not isinstance(pad, list | tuple) or len(pad) > 2 * (len(shape(node)) - 2):
        return None  # channels may be padded, too
    if arguments.get("mode", "constant") != "constant":
        return flow
    return _zeros_alone(flow) if not arguments.get("value") else Flow(flow.atoms, np.full_like(flow.value, np.nan))


def _flat(node: fx.Node, flow: Flow) -> Flow | None:
    """(N, C, H, W) -> (N, C x H x W), each channel then taking H x W places in a row."""
    before, after = shape(node.args[0]), shape(node)  # type: ignore[arg-type]
    if len(after) != 2 or before[0] != after[0]:
        return None
    rest = node.args[1:]
    # A number of channels written into the network's code would not follow the smaller network.
    if node.target in ("view", "reshape", torch.reshape):
        sizes = rest[0] if len(rest) == 1 and isinstance(rest[0], list | tuple) else rest
        if len(sizes) != 2 or sizes[1] != -1:  # type: ignore[arg-type]
            return None
    places = after[1] // before[1]
    return Flow(np.repeat(flow.atoms, places), np.repeat(flow.value, places))


def _pooled(node: fx.Node, module: nn.Module, flow: Flow) -> Flow | None:
    """The flow behind a module without weights."""
    if isinstance(module, _AVERAGES):
        padded = np.any(np.asarray(module.padding)) and module.count_include_pad
        return _zeros_alone(flow) if padded or getattr(module, "divisor_override", None) else flow
    if isinstance(module, nn.Flatten):
        return _flat(node, flow)
    if isinstance(module, nn.ZeroPad1d | nn.ZeroPad2d | nn.ZeroPad3d):
        return _zeros_alone(flow)
    return flow if isinstance(module, _POOLS) and not getattr(module, "return_indices", False) else None
