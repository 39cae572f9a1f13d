"""How channels go through layers with weights: convolutions, linear layers, products with matrices, norms, embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from fullscale.graph.trace import shape
from fullscale.graph.units import BATCH_NORMS, LAYERS, OTHER_NORMS
from fullscale.prune.channels import (
    KEEP,
    ZERO_SCALE,
    Bools,
    Channels,
    Floats,
    Flow,
    Ints,
    Reader,
    flow,
    kept,
    shrunk,
    vector,
)

aten = torch.ops.aten
_TRANSPOSED = {aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input}
_MATRICES = {aten.linear.default, aten.mm.default, aten.matmul.default, aten.addmm.default}


def through(found: Channels, node: fx.Node, net: nn.Module) -> Flow | None:
    """The flow behind a layer that is understood, else None."""
    if node.target in BATCH_NORMS:
        return _batch_norm(found, node)
    if node.target in OTHER_NORMS:
        return _other_norm(found, node)
    if node.target is aten.embedding.default:
        return _embedding(found, node)
    if node.target is aten.prelu.default:
        return _prelu(found, node)
    if node.target in _MATRICES:
        return _matrix(found, node, net)
    return _convolution(found, node, net) if node.target in LAYERS else None


def _own(found: Channels, argument: Any) -> Flow | None:
    """The flow of an argument that is a parameter as it stands or with its dimensions in another order."""
    own = found.flows.get(argument) if isinstance(argument, fx.Node) else None
    return own if own is not None and own.parameter is not None and own.dims else None


def _numbers(found: Channels, argument: Any, atoms: Ints, default: float) -> Floats:
    """The numbers (C,) that go with channels: one of each, whose atom is the channel's; those computed in another way lock it."""
    if argument is None:
        return np.full(len(atoms), default)
    own = found.flows.get(argument)
    if own is None or len(own.shape) != 1 or own.shape[0] != len(atoms):
        found.lock(atoms)
        return np.full(len(atoms), np.nan)
    theirs, value = own.along(0)
    if (theirs == KEEP).any():
        found.lock(atoms)
    found.unite(atoms, theirs)
    return value


def _batch_norm(found: Channels, node: fx.Node) -> Flow | None:
    source: Any = node.args[0]
    own = found.flows[source]
    if any(size > 1 for d, size in enumerate(own.atoms.shape) if d != 1):
        return None
    atoms, given = found.channelwise(own, 1)
    statistics = node.target is not aten._native_batch_norm_legit.no_stats
    always = node.target is aten._native_batch_norm_legit_no_training.default  # in evaluation mode
    training = False if always else node.args[5 if statistics else 3]
    held = (*node.args[1:5],) if statistics else (*node.args[1:3], None, None)
    gamma, beta, mean, var = (
        _numbers(found, argument, atoms, default) for argument, default in zip(held, (1.0, 0.0, 0.0, 1.0), strict=True)
    )
    if training:  # the batch's own statistics: no constant gets through
        value = np.full(len(atoms), np.nan)
    else:
        eps: Any = node.args[6 if always else 7]
        value = (given - mean) * gamma / np.sqrt(var + float(eps)) + beta
    # What a scale that is not quite 0 leaves of an input lies around the shift.
    value = np.where((np.abs(gamma) <= ZERO_SCALE) & np.isnan(value), beta, value)

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        wanted = need & np.isnan(value.reshape([-1 if d == 1 else 1 for d in range(len(own.shape))]))
        yield source, shrunk(np.broadcast_to(wanted, np.broadcast_shapes(wanted.shape, own.sizes)), own.sizes)

    found.back[node] = back
    return vector(atoms, value, own.shape, 1)


def _other_norm(found: Channels, node: fx.Node) -> Flow:
    """Their statistics read every channel, so that all of these stay; what is behind a scale of 0 is constant."""
    *positions, dim = OTHER_NORMS[node.target]
    arguments: tuple[Any, ...] = node.args
    source = arguments[0]
    own = found.flows[source]
    found.lock(own.atoms)
    found.back[node] = lambda need: iter([(source, np.ones(own.sizes, dtype=bool))])
    sizes = own.shape
    scale, shift = (
        found.flows[arguments[i]] if i is not None and len(arguments) > i and arguments[i] is not None else None
        for i in positions
    )
    for argument in (scale, shift):
        if argument is not None:
            found.lock(argument.atoms)
            if argument.parameter is not None:
                found.whole.add(argument.parameter)
    result = kept(sizes)
    if scale is not None and scale.shape == (sizes[dim],):
        beta = np.zeros(sizes[dim]) if shift is None else shift.along(0)[1]
        gamma = scale.along(0)[1]
        value = np.where(np.abs(gamma) <= ZERO_SCALE, beta, np.nan)
        result = vector(np.full(sizes[dim], KEEP, dtype=np.int64), value, sizes, dim % len(sizes))
    return result


def _embedding(found: Channels, node: fx.Node) -> Flow | None:
    table = _own(found, node.args[0])
    if table is None or table.parameter is None:
        return None
    atoms = found.axis(table.parameter, table.dims[1], table.shape[1])
    found.lock(found.axis(table.parameter, table.dims[0], table.shape[0]))
    found.back[node] = lambda need: iter([])
    sizes = shape(node)
    return vector(atoms, np.full(len(atoms), np.nan), sizes, len(sizes) - 1)


def _prelu(found: Channels, node: fx.Node) -> Flow | None:
    arguments: tuple[Any, ...] = node.args
    source = arguments[0]
    own, slopes = found.flows[source], found.flows[arguments[1]]
    found.back[node] = lambda need: iter([(source, shrunk(need, own.sizes))])
    if slopes.shape in ((), (1,)):
        slope = slopes.value.ravel()[0]
        return flow(own.shape, own.atoms, np.where(own.value < 0, slope * own.value, own.value))
    if any(size > 1 for d, size in enumerate(own.atoms.shape) if d != 1):
        return None
    atoms, value = found.channelwise(own, 1)
    slope = _numbers(found, node.args[1], atoms, 1.0)
    return vector(atoms, np.where(value < 0, slope * value, value), own.shape, 1)


def _matrix(found: Channels, node: fx.Node, net: nn.Module) -> Flow | None:
    arguments: tuple[Any, ...] = node.args
    if node.target is aten.addmm.default:
        if node.kwargs:
            return None
        bias, source, held = arguments
    else:
        source, held, bias = (*arguments, None)[:3]
    weight = _own(found, held)
    if weight is None or len(weight.shape) != 2 or source not in found.flows:
        return None
    out = 0 if node.target is aten.linear.default else 1
    return _mixed(found, node, net, source, weight, (out, 1 - out), bias, -1, groups=1, carries=False)


def _convolution(found: Channels, node: fx.Node, net: nn.Module) -> Flow | None:
    arguments: tuple[Any, ...] = node.args
    source, held, bias = (*arguments, None)[:3]
    rest = arguments[3:]
    weight = _own(found, held)
    if weight is None or source not in found.flows:  # weights that are computed from others could not be cut
        return None
    dim = LAYERS[node.target][1]
    kernel = weight.shape[2:]
    transposed = node.target in _TRANSPOSED
    if node.target is aten.convolution.default:
        padding, transposed, groups, dim = rest[1], bool(rest[3]), int(rest[5]), 1
    elif transposed:
        padding, groups = [0], int(rest[3]) if len(rest) > 3 else 1
    else:
        padding, groups = rest[1] if len(rest) > 1 else [0], int(rest[3]) if len(rest) > 3 else 1
    wide = any(size > 1 for size in kernel)
    padded = wide if padding == "same" else padding != "valid" and bool(np.any(np.asarray(padding)))
    count = found.flows[source].shape[dim]
    if transposed:
        if groups > 1:
            return None
        return _mixed(found, node, net, source, weight, (1, 0), bias, dim, groups=1, carries=True)
    if groups > 1 and groups == count:
        return _depthwise(found, net, node, source, weight, bias, dim, padded)
    return _mixed(found, node, net, source, weight, (0, 1), bias, dim, groups, padded)


def _mixed(
    found: Channels,
    node: fx.Node,
    net: nn.Module,
    source: fx.Node,
    held: Flow,
    order: tuple[int, int],
    bias: Any,
    dim: int,
    groups: int,
    carries: bool,
) -> Flow:
    """A layer whose outputs read every input, of their group. order: the dimensions of filters and of inputs in the weights."""
    name, (out, into) = held.parameter, order
    assert name is not None
    own = found.flows[source]
    reads, given = found.channelwise(own, dim % len(own.shape))
    gives = found.axis(name, held.dims[out], held.shape[out])
    if groups == 1:
        found.unite(reads, found.axis(name, held.dims[into], held.shape[into]))
    tensor = _tensor(net, name).detach()
    rest = [d for d in range(len(held.shape)) if d not in order]
    tensor = (
        tensor.permute([held.dims[d] for d in (out, into, *rest)]).flatten(2)
        if rest
        else tensor.permute([held.dims[out], held.dims[into]]).unsqueeze(2)
    )
    slot = _bias(found, net, name, bias)
    block = (tensor != 0).any(dim=2).cpu().numpy()
    nonzero = block
    if groups > 1:
        rows, columns = len(gives) // groups, held.shape[into]
        nonzero = np.zeros((len(gives), len(reads)), dtype=bool)
        for g in range(groups):
            nonzero[g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] = block[g * rows : (g + 1) * rows]
    norm = norm_behind(found, node)
    reader = Reader(
        name,
        node,
        tensor,
        (held.dims[out], held.dims[into]),
        groups,
        dim % len(shape(node)),
        nonzero,
        carries or (slot is None and norm is None),
        found.uses[name] > 1,
        slot,
        reads,
        given,
        gives,
    )
    found.readers.append(reader)
    certain = (given == 0) | (np.isfinite(given) & (not carries))
    constant = ~(nonzero & ~certain).any(axis=1)
    bearing = certain & (given != 0)
    value = np.where(
        constant, _numbers(found, bias, gives, 0.0) + reader.columns(bearing).sum(axis=2) @ given[bearing], np.nan
    )

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        axes = tuple(d for d in range(need.ndim) if d != dim % need.ndim)
        wanted = np.broadcast_to(need.any(axis=axes), len(gives)) & np.isnan(value)
        yield source, _spread(nonzero[wanted].any(axis=0), dim, own.sizes)

    found.back[node] = back
    return vector(gives, value, shape(node), dim % len(shape(node)))


def _tensor(net: nn.Module, name: str) -> Tensor:
    module, _, own = name.rpartition(".")
    tensor: Tensor = getattr(net.get_submodule(module), own)
    return tensor


def _bias(found: Channels, net: nn.Module, name: str, bias: Any) -> str | None:
    """The name of the bias that can take constants over: the layer's own, or one that it may be given; None where neither is."""
    if bias is not None:
        own = found.flows.get(bias)
        return (
            own.parameter if own is not None and own.parameter is not None and found.uses[own.parameter] == 1 else None
        )
    module, _, last = name.rpartition(".")
    layer = net.get_submodule(module)
    if last == "weight" and isinstance(layer, _ConvNd | nn.Linear) and layer._parameters.get("bias", 0) is None:
        return f"{module}.bias".lstrip(".")
    return None


def norm_behind(found: Channels, node: fx.Node) -> fx.Node | None:
    """The BatchNorm that alone reads a layer, and whose statistics nothing else reads."""
    reader = next(iter(node.users)) if len(node.users) == 1 else None
    if reader is None or reader.target not in BATCH_NORMS or reader.target is aten._native_batch_norm_legit.no_stats:
        return None
    argument: Any = reader.args[3]
    mean = found.flows.get(argument)
    return reader if mean is not None and mean.parameter is not None and found.uses[mean.parameter] == 1 else None


def _depthwise(
    found: Channels, net: nn.Module, node: fx.Node, source: fx.Node, held: Flow, bias: Any, dim: int, padded: bool
) -> Flow:
    """One filter or several a channel: they come and go with it."""
    own = found.flows[source]
    reads, given = found.channelwise(own, dim % len(own.shape))
    assert held.parameter is not None
    weight = _tensor(net, held.parameter).detach().double().cpu().flatten(1).numpy()
    copies = len(weight) // len(reads)
    atoms, value = np.repeat(reads, copies), np.repeat(given, copies)
    found.unite(atoms, found.axis(held.parameter, held.dims[0], len(weight)))
    known = (value == 0) | (np.isfinite(value) & (not padded)) | ~(weight != 0).any(axis=1)
    result = _numbers(found, bias, atoms, 0.0) + weight.sum(axis=1) * np.where(known, np.nan_to_num(value), 0.0)
    result = np.where(known, result, np.nan)

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        axes = tuple(d for d in range(need.ndim) if d != dim % need.ndim)
        wanted = np.broadcast_to(need.any(axis=axes), len(atoms)) & np.isnan(result)
        yield source, _spread(wanted.reshape(len(reads), copies).any(axis=1), dim, own.sizes)

    found.back[node] = back
    return vector(atoms, result, shape(node), dim % len(shape(node)))


def _spread(channels: Any, dim: int, sizes: tuple[int, ...]) -> Bools:
    """Needs of channels along a dimension, as needs of a tensor of which something is known in `sizes`."""
    own = [1] * len(sizes)
    own[dim] = -1
    need = channels.reshape(own)
    return shrunk(np.broadcast_to(need, np.broadcast_shapes(need.shape, sizes)), sizes)
