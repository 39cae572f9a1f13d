"""How channels go through operations without weights of their own: element by element, and within each channel."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import fx

from fullscale.graph.trace import shape
from fullscale.graph.units import BATCH_NORMS
from fullscale.prune.channels import KEEP, Bools, Channels, Flow, constant_over, flow, kept, shrunk
from fullscale.prune.pointwise import element_by_element, is_pointwise

aten = torch.ops.aten
# Within each channel, over the last dimensions. An average or maximum gives a constant back as it is.
_POOLS: dict[Any, int] = {
    aten.max_pool1d.default: 1, aten.max_pool2d.default: 2, aten.max_pool3d.default: 3, aten.max_pool1d_with_indices.default: 1,
    aten.max_pool2d_with_indices.default: 2, aten.max_pool3d_with_indices.default: 3, aten.adaptive_avg_pool1d.default: 1,
    aten.adaptive_avg_pool2d.default: 2, aten.adaptive_avg_pool3d.default: 3, aten._adaptive_avg_pool2d.default: 2,
    aten._adaptive_avg_pool3d.default: 3, aten.adaptive_max_pool1d.default: 1, aten.adaptive_max_pool2d.default: 2,
    aten.adaptive_max_pool3d.default: 3, aten.reflection_pad1d.default: 1, aten.reflection_pad2d.default: 2,
    aten.reflection_pad3d.default: 3, aten.replication_pad1d.default: 1, aten.replication_pad2d.default: 2,
    aten.replication_pad3d.default: 3, aten.upsample_nearest1d.vec: 1, aten.upsample_nearest2d.vec: 2,
    aten.upsample_nearest3d.vec: 3, aten.upsample_linear1d.vec: 1, aten.upsample_bilinear2d.vec: 2,
    aten.upsample_trilinear3d.vec: 3, aten.upsample_bicubic2d.vec: 2, aten.upsample_nearest2d.default: 2,
    aten.upsample_bilinear2d.default: 2, aten.upsample_bicubic2d.default: 2, aten._upsample_nearest_exact2d.vec: 2,
}  # fmt: skip
# Padding may be among what is averaged, unless the argument at this position says that it is not counted.
_AVERAGES = {aten.avg_pool1d.default: 1, aten.avg_pool2d.default: 2, aten.avg_pool3d.default: 3}
# Over the dimensions given second: whether a constant comes back as it is, or only 0 does, or not even that.
_REDUCING = {
    aten.mean.dim: "same", aten.amax.default: "same", aten.amin.default: "same", aten.max.dim: "same", aten.min.dim: "same",
    aten.median.dim: "same", aten.sum.dim_IntList: "zero", aten.logsumexp.default: "none", aten.var.correction: "none",
    aten.std.correction: "none", aten.linalg_vector_norm.default: "none", aten.prod.dim_int: "zero",
}  # fmt: skip
# Of tensors that are stacked, whose number is the same at any size of the inputs.
_REDUCED: dict[Any, Any] = {
    aten.mean.dim: np.mean, aten.sum.dim_IntList: np.sum, aten.amax.default: np.max, aten.amin.default: np.min,
    aten.max.dim: np.max, aten.min.dim: np.min,
}  # fmt: skip
_WITHIN = {
    aten.softmax.int, aten._softmax.default, aten.log_softmax.int, aten._log_softmax.default, aten.cumsum.default,
    aten.cumprod.default, aten.sort.default, aten.logcumsumexp.default,
}  # fmt: skip
# As large as what they are given, of which they read no number.
_FILLED: dict[Any, float | None] = {
    aten.zeros_like.default: 0.0, aten.ones_like.default: 1.0, aten.full_like.default: None,
}  # fmt: skip
# Of a size of their own.
_MADE: dict[Any, float | None] = {
    aten.zeros.default: 0.0, aten.new_zeros.default: 0.0, aten.ones.default: 1.0, aten.new_ones.default: 1.0,
    aten.full.default: None, aten.new_full.default: None, aten.scalar_tensor.default: None,
}  # fmt: skip


def known(found: Channels, node: fx.Node) -> Flow | None:
    """The flow behind an operation of this kind, else None."""
    first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
    if (
        node.target is operator.getitem
        and first in found.flows
        and first.target in _PAIRS | BATCH_NORMS
        and node.args[1] == 0
        and found.flows[first].shape == shape(node)  # else it was not understood
    ):  # type: ignore[union-attr]
        found.back[node] = lambda need: iter([(first, need)])  # type: ignore[list-item]
        return found.flows[first]  # type: ignore[index]
    if node.target is aten._assert_tensor_metadata.default:  # before a change of type
        found.back[node] = lambda need: iter([])
        return kept(())
    if node.target in _MADE:
        return _made(found, node)
    if first is None or first not in found.flows:
        return element_by_element(found, node) if is_pointwise(node) else None
    ndim, arguments = len(found.flows[first].shape), tuple[Any, ...](node.args)
    if node.target is aten.glu.default:
        return _glu(found, node, first)
    if node.target in _FILLED:
        return _filled(found, node, first)
    if node.target in _POOLS:
        return _over(found, node, first, range(ndim - _POOLS[node.target], ndim), "same")
    if node.target is aten.pad.default:  # by reflection and the like, here
        return _over(found, node, first, range(ndim - len(node.args[1]) // 2, ndim), "same")  # type: ignore[arg-type]
    if node.target in _AVERAGES:
        spatial = _AVERAGES[node.target]
        return _over(found, node, first, range(ndim - spatial, ndim), _averaged(node))
    # The kind of a norm stands before its dimensions.
    place = 2 if node.target is aten.linalg_vector_norm.default else 1
    if node.target in _REDUCING and len(node.args) > place:
        given: Any = node.args[place]
        dims = [d % ndim for d in ([given] if isinstance(given, int) else given or range(ndim))]
        return _over(found, node, first, dims, _REDUCING[node.target])
    if node.target in _WITHIN and len(node.args) > 1:
        return _over(found, node, first, [arguments[1] % ndim], "none")
    return element_by_element(found, node) if is_pointwise(node) else None


def _filled(found: Channels, node: fx.Node, first: fx.Node) -> Flow | None:
    """One number everywhere: its channels come and go with those of the tensor that it is as large as."""
    number, source = _number(node, _FILLED[node.target], 1), found.flows[first]
    if number is None:
        return None
    found.back[node] = lambda need: iter([])
    return flow(source.shape, source.atoms, np.full((1,) * len(source.shape), number))


def _glu(found: Channels, node: fx.Node, first: fx.Node) -> Flow:
    """The first half of a dimension, times the sigmoid of the second: their channels are one, pair by pair."""
    source, sizes = found.flows[first], shape(node)
    given: Any = node.args[1] if len(node.args) > 1 else -1
    dim = given % len(sizes)
    one, two = np.split(source.atoms, 2, dim) if source.atoms.shape[dim] > 1 else (source.atoms, source.atoms)
    factor, gate = np.split(source.value, 2, dim) if source.value.shape[dim] > 1 else (source.value, source.value)
    found.unite(one, two)
    value = np.where(factor == 0, 0.0, factor / (1 + np.exp(-gate)))

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        wanted = np.broadcast_to(need & np.isnan(value), np.broadcast_shapes(need.shape, one.shape, factor.shape))
        yield first, np.concatenate((wanted, wanted), dim) if source.sizes[dim] > 1 else wanted

    found.back[node] = back
    return flow(sizes, one, value)


def _made(found: Channels, node: fx.Node) -> Flow | None:
    """A lone number as a tensor. One of more channels may be as large as another tensor was."""
    number = _number(node, _MADE[node.target], -1)
    if number is None or np.prod(shape(node)) != 1:
        return None
    found.back[node] = lambda need: iter([])
    sizes = (1,) * len(shape(node))
    return flow(shape(node), np.full(sizes, KEEP, dtype=np.int64), np.full(sizes, number))


def _number(node: fx.Node, fill: float | None, place: int) -> float | None:
    """What a tensor is filled with, as its type holds it; None where no number says so."""
    given: Any = node.args[place] if fill is None else fill
    if not isinstance(given, int | float):
        return None
    return float(torch.full((), given, dtype=node.meta["val"].dtype).real)


# Operations of several outputs, the first of which is meant.
_PAIRS = {
    aten.max_pool1d_with_indices.default, aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default,
    aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default, aten.max.dim,
    aten.min.dim, aten.median.dim, aten.sort.default, aten.native_layer_norm.default, aten.native_group_norm.default,
}  # fmt: skip


def _averaged(node: fx.Node) -> str:
    padding, rest = (node.args[3] if len(node.args) > 3 else 0), node.args[5:]
    counted = rest[0] if rest else node.kwargs.get("count_include_pad", True)
    divisor = rest[1] if len(rest) > 1 else node.kwargs.get("divisor_override")
    return "zero" if divisor is not None or (np.any(np.asarray(padding)) and counted) else "same"


def _over(found: Channels, node: fx.Node, first: fx.Node, dims: Any, constants: str) -> Flow | None:
    """Within each channel, over dimensions along which no atom changes; or over several that are then one, as those of tensors
    that are stacked."""
    source = found.flows[first]
    changing = {d for d, size in enumerate(source.atoms.shape) if size > 1}
    if changing and changing <= set(dims):
        return None
    atoms = found.merged(source.atoms, dims)
    reduce, value = _REDUCED.get(node.target), constant_over(source.value, dims)
    if reduce is not None and set(dims) <= changing:
        sizes = [source.shape[d] if d in changing else size for d, size in enumerate(source.value.shape)]
        value = reduce(np.broadcast_to(source.value, sizes), axis=tuple(dims), keepdims=True)
    elif constants != "same":
        value = np.where(value == 0, 0.0, np.nan) if constants == "zero" else np.full_like(value, np.nan)
    after = shape(node) or _first_shape(node)
    if len(after) < len(source.shape):  # what was reduced is gone
        atoms, value = np.squeeze(atoms, tuple(dims)), np.squeeze(value, tuple(dims))

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        wanted = need if len(after) == len(source.shape) else np.expand_dims(need, tuple(dims))
        yield (
            first,
            shrunk(wanted, source.sizes)
            if wanted.size >= np.prod(source.sizes)
            else np.broadcast_to(wanted, source.sizes),
        )

    found.back[node] = back
    return flow(after, atoms, value)


def _first_shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["val"][0].shape)


def opaque(found: Channels, node: fx.Node) -> Flow:
    """An operation that is not understood: what it reads and what it gives must stay."""
    sources = [source for source in node.all_input_nodes if source in found.flows]
    for source in sources:
        own = found.flows[source]
        found.lock(own.atoms)
        if own.parameter is not None:
            found.whole.add(own.parameter)
    found.back[node] = lambda need: ((source, np.ones(found.flows[source].sizes, dtype=bool)) for source in sources)
    return kept(shape(node))
