"""How channels go through operations that only move elements about: views, permutations, slices, concatenation, padding."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from fullscale.graph.activations import PASSING
from fullscale.graph.trace import shape
from fullscale.prune.channels import KEEP, Bools, Channels, Flow, constant_over, flow, shrunk

aten = torch.ops.aten
_VIEWS = {
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.unsqueeze.default, aten.squeeze.default,
    aten.squeeze.dim, aten.squeeze.dims, aten.flatten.using_ints, aten.unflatten.int, aten._reshape_copy.default,
}  # fmt: skip
_PERMUTING = {aten.permute.default, aten.transpose.int, aten.t.default, aten.mT.default, aten.numpy_T.default}
# Along one dimension alone: the position of its number among the arguments.
_ALONG: dict[Any, int] = {
    aten.cat.default: 1, aten.slice.Tensor: 1, aten.narrow.default: 1, aten.select.int: 1, aten.slice_scatter.default: 2,
    aten.select_scatter.default: 2, aten.split.Tensor: 2, aten.split_with_sizes.default: 2, aten.chunk.default: 2,
    aten.unbind.int: 1, aten.tensor_split.sections: 2, aten.tensor_split.indices: 2,
}  # fmt: skip
_SPLITTING = {
    aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.unbind.int, aten.tensor_split.sections,
    aten.tensor_split.indices,
}  # fmt: skip
# Of one dimension, so that the number of its channels before and after counts.
_PARTS = {aten.slice.Tensor, aten.narrow.default, aten.select.int, aten.slice_scatter.default}
_ANY = {
    aten.stack.default, aten.flip.default, aten.roll.default, aten.repeat.default, aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default, aten.channel_shuffle.default, aten.native_channel_shuffle.default,
    aten.movedim.int, aten.movedim.intlist, aten.diagonal.default, aten.copy.default, aten.tile.default,
}  # fmt: skip


def moved(found: Channels, node: fx.Node) -> Flow | None:
    """The flow behind an operation of this kind, else None."""
    if node.target is operator.getitem:
        return _piece(found, node)
    first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
    if node.target in PASSING and first is not None and not _random(node):
        found.back[node] = lambda need: iter([(first, need)])
        return found.flows[first]
    if node.target in _VIEWS and first is not None:
        return _viewed(found, node, first)
    if node.target in _PERMUTING and first is not None:
        return _permuted(found, node, first)
    if node.target is aten.expand.default and first is not None:
        return _expanded(found, node, first)
    if node.target is aten.constant_pad_nd.default and first is not None:
        return _padded(found, node, first, *node.args[1:])
    if node.target is aten.pad.default and first is not None and (*node.args, "constant")[2] == "constant":
        return _padded(found, node, first, node.args[1], *node.args[3:])
    if node.target in _ALONG and node.target not in _SPLITTING:
        return _indexed(found, node, node, None)
    return _indexed(found, node, node, None) if node.target in _ANY else None


def _random(node: fx.Node) -> bool:
    """Whether it is a dropout that is told to drop in evaluation mode, too."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags and (*node.args, *node.kwargs.values())[-1] is not False


def splits(node: fx.Node) -> bool:
    """Whether a node takes a tensor apart: its pieces are looked at where they are taken up."""
    return node.target in _SPLITTING


def _piece(found: Channels, node: fx.Node) -> Flow | None:
    source: Any = node.args[0]
    index: Any = node.args[1]
    return _indexed(found, node, source, index) if splits(source) else None


def _permuted(found: Channels, node: fx.Node, first: fx.Node) -> Flow:
    source = found.flows[first]
    target: Any = node.target
    order = tuple(target(torch.empty(list(range(2, 2 + len(source.shape))), device="meta"), *node.args[1:]).shape)
    dims = [size - 2 for size in order]
    back = np.argsort(dims)
    found.back[node] = lambda need: iter([(first, need.transpose(back))])
    return Flow(
        shape(node),
        source.atoms.transpose(dims),
        source.value.transpose(dims),
        source.parameter,
        tuple(source.dims[d] for d in dims) if source.dims else (),
    )


def _expanded(found: Channels, node: fx.Node, first: fx.Node) -> Flow:
    source, sizes = found.flows[first], shape(node)
    more = (1,) * (len(sizes) - len(source.shape))
    found.back[node] = lambda need: iter([(first, shrunk(need, source.sizes))])
    return flow(sizes, source.atoms.reshape(more + source.atoms.shape), source.value.reshape(more + source.value.shape))


def _viewed(found: Channels, node: fx.Node, first: fx.Node) -> Flow:
    """A view, dimension by dimension where it can be: what nothing changes along stays of size 1."""
    source, after = found.flows[first], shape(node)
    sizes = source.sizes
    full: list[int] = []
    result: list[int] = []
    for old, new in _factors(source.shape, after):
        changes = any(sizes[d] > 1 for d in old)
        alone = len(old) == len(new) == 1
        full += [sizes[d] if alone or not changes else source.shape[d] for d in old]
        result += [sizes[old[0]]] if alone else [after[d] if changes else 1 for d in new]

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        yield first, shrunk(np.broadcast_to(need, result).reshape(full), sizes)

    found.back[node] = back
    return flow(
        after, np.broadcast_to(source.atoms, full).reshape(result), np.broadcast_to(source.value, full).reshape(result)
    )


def _factors(before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """Runs of dimensions before and after a view that hold the same elements, each as short as it can be."""
    i = j = 0
    while i < len(before) or j < len(after):
        old, new = [i] if i < len(before) else [], [j] if j < len(after) else []
        i, j = i + len(old), j + len(new)
        while (a := prod(before[d] for d in old)) != (b := prod(after[d] for d in new)):
            if a < b:
                old.append(i)
                i += 1
            else:
                new.append(j)
                j += 1
        yield old, new


def _padded(found: Channels, node: fx.Node, first: fx.Node, pads: Any, value: Any = None) -> Flow:
    """Padding with a constant. Around channels it is part of them, and a constant of another value is none any more; channels that
    are added to others belong to no filter."""
    source, fill = found.flows[first], float(value or 0)
    place = [len(source.shape) - 1 - i // 2 for i in range(len(pads))]
    around = [d for d, pad in zip(place, pads, strict=True) if pad > 0 and source.atoms.shape[d] == 1]
    constant = constant_over(source.value, around)
    own = np.where(constant == fill, constant, np.nan) if around else constant
    padded = flow(source.shape, source.atoms, own)
    full = [source.shape[d] if padded.sizes[d] > 1 else 1 for d in range(len(source.shape))]
    beside = [pad if full[d] > 1 else 0 for d, pad in zip(place, pads, strict=True)]
    places = torch.nn.functional.pad(torch.arange(prod(full)).reshape(full), beside, value=-1)
    return _gathered(found, node, [first], [padded], [full], places, fill)


def _indexed(found: Channels, node: fx.Node, operation: fx.Node, piece: int | None) -> Flow:
    """Any operation that moves elements: done to their numbers."""
    sources = [source for source in operation.all_input_nodes if source in found.flows]
    flows = [found.flows[source] for source in sources]
    ndim = len(flows[0].shape)
    dims: list[int] | None = None
    position = _ALONG.get(operation.target)
    if position is not None:
        given: Any = operation.args[position] if len(operation.args) > position else operation.kwargs.get("dim", 0)
        dims = [given % ndim]
        if any(len(f.shape) != ndim for f in flows):  # select_scatter: the second is of one dimension less
            dims = None
    if dims is None:
        full = [list(f.shape) for f in flows]
    else:
        free = [all(f.sizes[d] == 1 for f in flows) and d not in dims for d in range(ndim)]
        full = [[1 if free[d] else f.shape[d] for d in range(ndim)] for f in flows]
    start, numbers = 0, {}
    for source, sizes in zip(sources, full, strict=True):
        numbers[source] = torch.arange(start, start + prod(sizes)).reshape(sizes)
        start += prod(sizes)

    def number(argument: Any) -> Any:
        return numbers[argument] if isinstance(argument, fx.Node) else argument

    target: Any = operation.target
    places = target(*tree_map(number, list(operation.args)), **tree_map(number, dict(operation.kwargs)))
    if piece is not None:
        places = places[piece]
    result = _gathered(found, node, sources, flows, full, places, 0.0)
    if operation.target is aten.roll.default:
        _note_rolled(found, flows[0], *tuple[Any, ...](operation.args)[1:])
    if operation.target in _SPLITTING | _PARTS and dims is not None and flows[0].atoms.shape[dims[0]] > 1:
        _note_parts(found, operation, sources[0], dims[0], full[0], places)
    return result


def _gathered(
    found: Channels,
    node: fx.Node,
    sources: list[fx.Node],
    flows: list[Flow],
    full: list[list[int]],
    places: Tensor,
    fill: float,
) -> Flow:
    """The flow of a tensor whose elements are those of others, by their numbers; -1 is what is filled in."""
    index = places.numpy()
    atoms = [np.broadcast_to(f.atoms, sizes).ravel() for f, sizes in zip(flows, full, strict=True)]
    value = [np.broadcast_to(f.value, sizes).ravel() for f, sizes in zip(flows, full, strict=True)]
    total = sum(map(prod, full))

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        wanted = np.zeros(total + 1, dtype=bool)
        wanted[index[np.broadcast_to(need, index.shape)]] = True
        start = 0
        for source, sizes in zip(sources, full, strict=True):
            own = wanted[start : start + prod(sizes)].reshape(sizes)
            start += prod(sizes)
            yield (
                source,
                shrunk(
                    np.broadcast_to(own, np.broadcast_shapes(own.shape, found.flows[source].sizes)),
                    found.flows[source].sizes,
                ),
            )

    found.back[node] = back
    return flow(shape(node), np.concatenate([*atoms, [KEEP]])[index], np.concatenate([*value, [fill]])[index])


def _note_rolled(found: Channels, own: Flow, shifts: list[int], dims: Any = ()) -> None:
    """So many from the last channel on, or up to the first, come to the other end."""
    for shift, dim in zip(shifts, dims, strict=False):
        if own.atoms.shape[dim] > 1:
            atoms, _ = own.along(dim)
            found.lock(atoms[-shift:] if shift > 0 else atoms[:-shift])


def _note_parts(
    found: Channels, operation: fx.Node, source: fx.Node, dim: int, full: list[int], places: Tensor
) -> None:
    """Where a tensor is taken apart along a dimension; of every nth channel, n at a time go together."""
    own = found.flows[source]
    count, total = full[dim], prod(full)
    scattered = operation.target is aten.slice_scatter.default
    if scattered:  # where something else is put in
        places = torch.arange(total).reshape(full)[places >= total]
    which = (places // prod(full[dim + 1 :]) % count).unique().tolist()
    several = sum(size > 1 for size in own.atoms.shape) > 1
    if not which or len(which) == count or (len(which) == 1 and several):  # what is stacked stays so
        return
    step = which[1] - which[0] if len(which) > 1 else 1
    if step > 1 and which[0] < step and count <= which[-1] + step:
        atoms, _ = found.channelwise(own, dim)
        found.unite(atoms[np.arange(count) // step * step], atoms)
        return
    given: tuple[Any, ...] = () if splits(operation) else operation.args[3 if scattered else 2 :]
    below = [isinstance(at, int) and at < 0 for at in (*given, 0, 0)[:2]]  # counted from the last channel
    if operation.target is not aten.slice.Tensor and not scattered:
        below[1] = below[0]
    points = found.cuts.setdefault((source, dim), set())
    ends = (which[0] - count * below[0], which[-1] + 1 - count * below[1])
    points.update(point for point in ends if point != count)
    if step > 1 or splits(operation):
        points.add(count)  # all of it stays unless the parts are of one size
