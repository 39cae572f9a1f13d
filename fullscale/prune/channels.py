"""What is known of a network's channels: which filter each one comes from, and whether it is a constant.

Along its channel axis, dimension 1, a tensor carries `atoms`, the identity of each channel, and `value`, the constant that
the channel has at every place and for every input in evaluation mode, NaN where it has none. Sums make the atoms of their
members one; concatenation lines atoms up. What an operation unknown here touches is locked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

# A scale this small counts as 0: L2 takes scales down to where they underflow.
ZERO_SCALE = 1e-12

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Flow:
    """A tensor's channels: atoms (C,) and value (C,), the channel axis being dimension 1."""

    atoms: Ints
    value: Floats


@dataclass(frozen=True, eq=False)
class Reader:
    """A convolution or linear layer that mixes channels. weight: (filters, inputs, places), the network's own; nonzero:
    (filters, inputs), whether any place is; padded: with zeros."""

    module: str
    node: fx.Node
    weight: Tensor
    nonzero: Bools
    padded: bool
    reads: Flow
    gives: Ints

    def columns(self, inputs: Bools) -> Floats:
        """The weights of some inputs in float64: (filters, inputs, places)."""
        chosen = torch.from_numpy(np.flatnonzero(inputs)).to(self.weight.device)
        return self.weight.index_select(1, chosen).double().cpu().numpy()


@dataclass(eq=False)
class Channels:
    """All that the walk found.

    flows: of each node that has channels; readers: what mixes channels, in order; along: modules whose numbers go with
    their channels (BatchNorm, depthwise convolutions, PReLU), with their atoms; norms: the BatchNorms among them; opaque:
    operations that are not understood; shapes: those that ask for sizes alone; locked: atoms that must stay.
    """

    flows: dict[fx.Node, Flow] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    along: dict[str, Ints] = field(default_factory=dict)
    norms: set[fx.Node] = field(default_factory=set)
    opaque: set[fx.Node] = field(default_factory=set)
    shapes: set[fx.Node] = field(default_factory=set)
    locked: set[int] = field(default_factory=set)
    parents: list[int] = field(default_factory=list)

    def fresh(self, count: int) -> Ints:
        """New atoms."""
        start = len(self.parents)
        self.parents.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def root(self, atom: int) -> int:
        """The atom that stands for all those that were made one with this one."""
        while self.parents[atom] != atom:
            self.parents[atom] = self.parents[self.parents[atom]]
            atom = self.parents[atom]
        return atom

    def roots(self, atoms: Ints) -> Ints:
        """`root` of each."""
        return np.array([self.root(int(atom)) for atom in atoms], dtype=np.int64)

    def unite(self, some: Ints, others: Ints) -> None:
        """Make the atoms of two tensors one, channel by channel."""
        for a, b in zip(some, others, strict=True):
            self.parents[self.root(int(b))] = self.root(int(a))

    def lock(self, atoms: Ints) -> None:
        """These must stay."""
        self.locked.update(int(atom) for atom in atoms)


def shape(node: fx.Node) -> tuple[int, ...]:
    """Of a node's output; () where it is no tensor."""
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))


def mapped(apply: Callable[[torch.Tensor], torch.Tensor], value: Floats) -> Floats:
    """The constants behind an activation."""
    with torch.no_grad():
        result = apply(torch.from_numpy(np.nan_to_num(value))[None]).numpy()[0]
    return np.where(np.isnan(value), np.nan, result)
