"""How channels go through what is computed element by element: atoms that meet become one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import fx

from fullscale.graph.trace import shape
from fullscale.prune.channels import KEEP, Bools, Channels, Floats, Flow, Ints, flow, shrunk

aten = torch.ops.aten
# Element by element, although torch, or an older one, does not say so.
_POINTWISE = {
    aten.hardswish.default, aten.leaky_relu.default, aten.masked_fill.Scalar, aten.masked_fill.Tensor, aten.where.self,
    aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar, aten.threshold.default,
}  # fmt: skip
_PRODUCTS = {aten.mul.Tensor, aten.mul.Scalar}


def is_pointwise(node: fx.Node) -> bool:
    """Whether an operation goes element by element, without random numbers."""
    tags = getattr(node.target, "tags", ())
    if node.target is aten.rrelu.default:  # its slopes are drawn in training alone
        return (*node.args, *(False,) * 3)[3] is False and not node.kwargs
    if torch.Tag.nondeterministic_seeded in tags:
        return False
    return node.target in _POINTWISE or torch.Tag.pointwise in tags


def element_by_element(found: Channels, node: fx.Node) -> Flow | None:
    sources = [source for source in node.all_input_nodes if source in found.flows]
    if not sources or len(sources) < len(node.all_input_nodes) or not isinstance(node.meta.get("val"), torch.Tensor):
        return None
    after = shape(node)
    flows = [_operand(found, source, sources, len(after)) for source in sources]
    atoms, reals = flows[0].atoms, flows[0].shape
    for other in flows[1:]:
        atoms, reals = united(found, atoms, reals, other.atoms, other.shape)
    value = _values(node, sources, flows)

    def back(need: Bools) -> Iterator[tuple[fx.Node, Bools]]:
        wanted = np.asarray(need & np.isnan(value))
        for source in sources:
            yield source, shrunk(wanted, found.flows[source].sizes)

    found.back[node] = back
    return flow(after, atoms, value)


def _operand(found: Channels, source: fx.Node, sources: list[fx.Node], ndim: int) -> Flow:
    """A member of an operation, with as many dimensions as its result. A parameter of several dimensions, such as an embedding of
    positions, goes with the channels of the others where these lie along one dimension."""
    own = found.flows[source]
    more = (1,) * (ndim - len(own.shape))
    sizes = more + own.shape
    atoms, value = own.atoms.reshape(more + own.atoms.shape), own.value.reshape(more + own.value.shape)
    if own.parameter is not None and own.dims and not is_vector(own):
        others = [found.flows[other] for other in sources if other is not source]
        changing = {d - len(f.atoms.shape) for f in others for d, size in enumerate(f.atoms.shape) if size > 1}
        dim = changing.pop() if len(changing) == 1 else 0
        if dim and -dim <= len(own.shape) and own.shape[dim] > 1:
            axis = found.axis(own.parameter, own.dims[dim], own.shape[dim])
            atoms = axis.reshape([-1 if d == ndim + dim else 1 for d in range(ndim)])
        else:
            found.whole.add(own.parameter)
    return Flow(sizes, atoms, value)


def is_vector(own: Flow) -> bool:
    """Whether a tensor has at most one dimension that counts."""
    return sum(size > 1 for size in own.shape) <= 1


def united(
    found: Channels, some: Ints, real: tuple[int, ...], others: Ints, other_real: tuple[int, ...]
) -> tuple[Ints, tuple[int, ...]]:
    """The atoms of what two tensors become element by element: those of a pair are one, unless one of them goes with several of
    the other, as a map does that all channels share: it stays, then."""
    together = np.broadcast_shapes(real, other_real)
    for atoms, sizes, partner in ((some, real, others), (others, other_real, some)):
        if (atoms == KEEP).all():
            if any(size > 1 and sizes[d] > 1 for d, size in enumerate(partner.shape)):
                found.lock(partner)
            return partner, together
    if any(a > 1 and b > 1 for a, b in zip(some.shape, others.shape, strict=True)):
        # What goes along a dimension of both goes from each of them, and there from all along the dimensions of its own.
        some, others = (
            found.merged(own, [d for d, size in enumerate(partner.shape) if size == 1])
            for own, partner in ((some, others), (others, some))
        )
    pairs = np.stack([array.ravel() for array in np.broadcast_arrays(some, others)])
    pairs = np.unique(found.roots(pairs), axis=1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    first, second = ({atom: int((row == atom).sum()) for atom in np.unique(row).tolist()} for row in pairs)
    shared = set()
    for a, b in pairs.T.tolist():
        many = [atom for atom, count in ((a, first[a]), (b, second[b])) if count > 1 or atom == KEEP]
        if KEEP in (a, b):
            found.lock(np.array([a, b]))
        elif many:
            found.lock(np.array(many))
        else:
            found.unite(np.array([a]), np.array([b]))
        shared.update(many)
    one, two = np.broadcast_arrays(some, others)
    take = (
        np.isin(found.roots(one), [found.root(atom) for atom in shared]) if shared else np.zeros(one.shape, dtype=bool)
    )
    return np.where(take, two, one), together


def _values(node: fx.Node, sources: list[fx.Node], flows: list[Flow]) -> Floats:
    """The constants behind an operation, where all that it reads is constant; and 0 where a factor is."""
    held = dict(zip(sources, flows, strict=True))
    unknown = np.isnan(np.zeros((1,) * len(shape(node))))
    for own in flows:
        unknown = unknown | np.isnan(own.value)
    if unknown.all() and node.target not in _PRODUCTS | {aten.div.Tensor}:
        return np.full((1,) * len(shape(node)), np.nan)

    def number(argument: Any) -> Any:
        if not isinstance(argument, fx.Node):
            return argument
        dtype = argument.meta["val"].dtype
        tensor = torch.as_tensor(np.nan_to_num(held[argument].value))
        return tensor if dtype.is_floating_point else tensor.to(dtype)

    target: Any = node.target
    arguments = torch.utils._pytree.tree_map(number, list(node.args))
    with torch.no_grad():
        result = target(*arguments, **torch.utils._pytree.tree_map(number, dict(node.kwargs))).double().numpy()
    value = np.where(unknown, np.nan, result)
    if node.target in _PRODUCTS:
        for own in flows:
            value = np.where(own.value == 0, 0.0, value)
    elif node.target is aten.div.Tensor and len(flows) == 2 and _not_zero(sources[1]):
        value = np.where(flows[0].value == 0, 0.0, value)
    return np.asarray(value)


def _not_zero(node: fx.Node) -> bool:
    """Whether a divisor is known to be positive, as a count that is clamped is."""
    bound = node.args[1] if node.target in (aten.clamp.default, aten.clamp_min.default) and len(node.args) > 1 else 0
    return isinstance(bound, int | float) and bound > 0
