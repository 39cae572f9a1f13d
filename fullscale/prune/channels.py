"""What is known of a network's channels: which filter each one comes from, and whether it is a constant.

Every element of a tensor belongs to an atom: what is removed as one. A filter's output is an atom, with the weights that
make it and the columns of weights that read it. Sums make the atoms of their members one; whatever only moves elements
about moves atoms with them. `value` is the constant that an element has for every input in evaluation mode, NaN where it
has none. What an operation unknown here touches belongs to the atom KEEP, which stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

# A scale this small counts as 0: L2 takes scales down to where they underflow.
ZERO_SCALE = 1e-12
KEEP = 0

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# From which elements of a node's output matter to which elements of its inputs do.
Back = Callable[[Bools], Iterator[tuple[fx.Node, Bools]]]


@dataclass(frozen=True, eq=False)
class Flow:
    """A tensor of a shape: the atom and the value of each element. Both are arrays of as many dimensions, of size 1 along those
    in which nothing changes.

    parameter: name, where it is one as it stands or with its dimensions in another order; dims: its dimension at each.
    """

    shape: tuple[int, ...]
    atoms: Ints
    value: Floats
    parameter: str | None = None
    dims: tuple[int, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape in which anything is known of the elements: of size 1 along dimensions in which nothing changes."""
        return np.broadcast_shapes(self.atoms.shape, self.value.shape)

    def along(self, dim: int) -> tuple[Ints, Floats]:
        """Atoms and values (C,) of the channels of a dimension, if its atoms change along no other; value: NaN where it does."""
        count = self.shape[dim]
        atoms = np.moveaxis(self.atoms, dim, 0).reshape(self.atoms.shape[dim], -1)[:, 0]
        value = constant_over(self.value, [d for d in range(len(self.shape)) if d != dim % len(self.shape)])
        return np.broadcast_to(atoms, count), np.broadcast_to(value.ravel(), count)


def flow(shape: Iterable[int], atoms: Ints, value: Floats) -> Flow:
    """A Flow from arrays that broadcast to the shape, made as small as they can be."""
    return Flow(tuple(shape), _small(atoms), _small(value))


def kept(shape: Iterable[int]) -> Flow:
    """A tensor that stays as it is, and of which nothing is known."""
    sizes = tuple(shape)
    return Flow(sizes, np.full((1,) * len(sizes), KEEP, dtype=np.int64), np.full((1,) * len(sizes), np.nan))


def vector(atoms: Ints, value: Floats, shape: tuple[int, ...], dim: int) -> Flow:
    """A tensor of a shape whose elements are those of its channels along one dimension."""
    sizes = [1] * len(shape)
    sizes[dim] = -1
    return flow(shape, atoms.reshape(sizes), value.reshape(sizes))


def _small(array: NDArray[Any]) -> NDArray[Any]:
    for dim in range(array.ndim):
        if array.shape[dim] > 1:
            first = array.take([0], dim)
            same = array == first
            if array.dtype.kind == "f":
                same |= np.isnan(array) & np.isnan(first)
            if same.all():
                array = first
    return array


def constant_over(value: Floats, dims: Iterable[int]) -> Floats:
    """Values that do not change along some dimensions, which then have size 1; NaN where they do."""
    for dim in dims:
        if value.shape[dim] > 1:
            first = value.take([0], dim)
            value = np.where((value == first).all(axis=dim, keepdims=True), first, np.nan)
    return value


def shrunk(need: Bools, sizes: tuple[int, ...]) -> Bools:
    """Needs of elements as needs of a smaller array that broadcasts to them."""
    need = need.reshape((1,) * (len(sizes) - need.ndim) + need.shape) if need.ndim < len(sizes) else need
    extra = need.ndim - len(sizes)
    need = np.asarray(need.any(axis=tuple(range(extra)))) if extra else need
    dims = tuple(d for d, size in enumerate(sizes) if size == 1 and need.shape[d] > 1)
    return np.broadcast_to(need.any(axis=dims, keepdims=True) if dims else need, sizes)


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that mixes channels: convolution, linear layer, product with a matrix.

    name: of its weights; weight: (filters, inputs of a group, places), the network's own;
    order: dimensions of filters and inputs in the parameter; groups; dim: of the filters in its
    output; nonzero: (filters, inputs),
    whether any place is. carries: a constant that it reads can be taken over by another channel only, not by a bias: behind
    zero padding, in transposed convolutions, and where there is no bias. shared: its weights are used elsewhere, too. bias:
    its name, if it has one. reads, value: atoms and constants of its inputs; gives: atoms of its filters.
    """

    name: str
    node: fx.Node
    weight: Tensor
    order: tuple[int, int]
    groups: int
    dim: int
    nonzero: Bools
    carries: bool
    shared: bool
    bias: str | None
    reads: Ints
    value: Floats
    gives: Ints

    def columns(self, inputs: Bools) -> Floats:
        """The weights of some inputs in float64: (filters, inputs, places)."""
        chosen = np.flatnonzero(inputs)
        filters, own, places = self.weight.shape
        if self.groups == 1:
            return self.weight.index_select(1, torch.from_numpy(chosen).to(self.weight.device)).double().cpu().numpy()
        result = np.zeros((filters, len(chosen), places))
        rows = filters // self.groups
        for i, channel in enumerate(chosen):
            group = slice(channel // own * rows, (channel // own + 1) * rows)
            result[group, i] = self.weight[group, channel % own].double().cpu().numpy()
        return result


@dataclass(eq=False)
class Channels:
    """All that the walk found.

    flows: of each node; readers: what mixes channels, in order; axes: by name and dimension, the atoms of a parameter's or
    buffer's entries along it; cuts: where a tensor is taken apart along a dimension; pieces: the atoms of parts that must
    stay of one size; back: see `Back`; locked: atoms that must stay; whole: names of parameters that must; uses: how often
    each is read.
    """

    flows: dict[fx.Node, Flow] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    axes: dict[tuple[str, int], Ints] = field(default_factory=dict)
    cuts: dict[tuple[fx.Node, int], set[int]] = field(default_factory=dict)
    pieces: list[list[Ints]] = field(default_factory=list)
    back: dict[fx.Node, Back] = field(default_factory=dict)
    locked: set[int] = field(default_factory=lambda: {KEEP})
    whole: set[str] = field(default_factory=set)
    uses: Counter[str] = field(default_factory=Counter)
    parents: list[int] = field(default_factory=lambda: [KEEP])

    def axis(self, name: str, dim: int, count: int) -> Ints:
        """The atoms of a parameter's entries along a dimension, new ones at its first use."""
        if (name, dim) not in self.axes:
            start = len(self.parents)
            self.parents.extend(range(start, start + count))
            self.axes[name, dim] = np.arange(start, start + count, dtype=np.int64)
        return self.axes[name, dim]

    def root(self, atom: int) -> int:
        """The atom that stands for all those that were made one with this one."""
        while self.parents[atom] != atom:
            self.parents[atom] = self.parents[self.parents[atom]]
            atom = self.parents[atom]
        return atom

    def roots(self, atoms: Ints) -> Ints:
        """`root` of each."""
        different, places = np.unique(atoms, return_inverse=True)
        return np.array([self.root(int(atom)) for atom in different], dtype=np.int64)[places].reshape(atoms.shape)

    def unite(self, some: Ints, others: Ints) -> None:
        """Make atoms one, pair by pair."""
        for a, b in zip(some.ravel().tolist(), others.ravel().tolist(), strict=True):
            self.parents[self.root(b)] = self.root(a)

    def lock(self, atoms: Ints) -> None:
        """These must stay."""
        self.locked.update(np.unique(atoms).tolist())

    def merged(self, atoms: Ints, dims: Iterable[int]) -> Ints:
        """Atoms that do not change along some dimensions, which then have size 1: those that did are made one."""
        across = {d for d in dims if atoms.shape[d] > 1}
        first = atoms[tuple(slice(1) if d in across else slice(None) for d in range(atoms.ndim))]
        if across:
            self.unite(np.broadcast_to(first, atoms.shape), atoms)
        return first

    def channelwise(self, flow: Flow, dim: int) -> tuple[Ints, Floats]:
        """Atoms and values of channels along a dimension, those of one channel made one."""
        self.merged(flow.atoms, [d for d in range(len(flow.shape)) if d != dim % len(flow.shape)])
        return flow.along(dim)
