"""Which channels go: those that every reader either knows as a constant or does not read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from torch import fx

from fullscale.prune.channels import Bools, Channels, Floats, Ints, Reader

# A constant that carries others is at least this part of the largest of them.
LEAST = 0.01


@dataclass(frozen=True, eq=False)
class Plan:
    """What goes. gone: roots of atoms."""

    channels: Channels
    gone: frozenset[int]

    def keeps(self, atoms: Ints) -> Bools:
        """Which of these channels stay."""
        return _kept(self.channels, atoms, self.gone)


def plan(channels: Channels, multiple: int = 1) -> Plan:
    """Everything that can go without a change to the outputs, but one channel of each layer.

    multiple: channels are left in place until the number in each layer is a multiple of this, or the layer is whole.
    """
    stays = _forced(channels)
    gone = {root for reader in channels.readers for root in map(int, np.unique(channels.roots(reader.gives)))} - stays
    before = None
    while before != len(gone):  # what comes back for one reason may ask for more
        before = len(gone)
        _keep_carriers(channels, gone)
        _keep_one(channels, gone)
        _even_groups(channels, gone)
        _even_pieces(channels, gone)
        _regular(channels, gone)
        _round(channels, gone, multiple)
    return Plan(channels, frozenset(gone))


def constants_gone(reader: Reader, kept: Bools, rows: Bools) -> Bools:
    """Which inputs of a reader go and leave those of its filters that stay, `rows`, a constant other than 0 to account
    for."""
    constant = np.isfinite(reader.value) & (reader.value != 0)
    return np.asarray(~kept & _read(reader, rows) & constant)


def _kept(channels: Channels, atoms: Ints, gone: Collection[int]) -> Bools:
    return ~np.isin(channels.roots(atoms), np.fromiter(gone, dtype=np.int64, count=len(gone)))


def _read(reader: Reader, wanted: Bools) -> Bools:
    """Which inputs the wanted outputs of a reader read."""
    return np.asarray(reader.nonzero[wanted].any(axis=0))


def needed(channels: Channels) -> dict[fx.Node, Bools]:
    """Of each tensor, which elements matter: nothing of what is behind a scale of 0, or ends in a constant."""
    need: dict[fx.Node, Bools] = {}
    for node, own in reversed(list(channels.flows.items())):
        wanted = need.setdefault(node, np.zeros(own.sizes, dtype=bool))
        if any(user.op == "output" for user in node.users):
            need[node] = wanted = np.ones(own.sizes, dtype=bool)
        if node not in channels.back:
            continue
        # What is constant is computed by whoever needs it.
        for source, own_need in channels.back[node](
            np.asarray(wanted & np.isnan(np.broadcast_to(own.value, own.sizes)))
        ):
            sizes = channels.flows[source].sizes
            need[source] = need.get(source, np.zeros(sizes, dtype=bool)) | np.broadcast_to(own_need, sizes)
    return need


def _forced(channels: Channels) -> set[int]:
    """Roots of the atoms that a reader needs as a variable, or that are locked."""
    stays = {channels.root(atom) for atom in channels.locked}
    need = needed(channels)
    for reader in channels.readers:
        own = channels.flows[reader.node]
        others = tuple(d for d in range(len(own.shape)) if d != reader.dim)
        rows = np.broadcast_to(need[reader.node].any(axis=others), len(reader.gives))
        read = _read(reader, rows & np.isnan(own.along(reader.dim)[1]))
        # Weights that are used elsewhere, too, can take over no constant.
        known = np.isfinite(reader.value) & ((reader.value == 0) | (not reader.shared))
        stays |= set(map(int, channels.roots(reader.reads[read & ~known])))
    return stays


def _keep_one(channels: Channels, gone: set[int]) -> None:
    """No layer loses all of its filters. The one that stays is that of the largest constant, which can carry others."""
    for reader in channels.readers:
        roots = channels.roots(reader.gives)
        if all(int(root) in gone for root in roots):
            size = dict.fromkeys(roots.tolist(), 0.0)
            for other in channels.readers:
                for root, value in zip(channels.roots(other.reads).tolist(), np.nan_to_num(other.value), strict=True):
                    if root in size:
                        size[root] = max(size[root], abs(float(value)))
            gone.discard(max(size, key=lambda root: size[root]))


def _keep_carriers(channels: Channels, gone: set[int]) -> None:
    """Behind zero padding a constant is none at the border, and no bias stands for it: one such channel stays and
    carries the others, the largest, unless one of its size stays anyway: no ratio of constants shall be large. In a grouped
    convolution each group has its own."""
    for reader in channels.readers:
        if not reader.carries:
            continue
        for members in np.split(np.arange(len(reader.reads)), reader.groups):
            own = np.isin(np.arange(len(reader.reads)), members)
            kept = _kept(channels, reader.reads, gone)
            lost = own & constants_gone(reader, kept, _kept(channels, reader.gives, gone))
            if not lost.any():
                continue
            size = np.where(lost, np.abs(reader.value), 0.0)
            by = carrier(reader.value, kept & own)
            if by is None or abs(reader.value[by]) < LEAST * size.max():
                gone.discard(channels.root(int(reader.reads[np.argmax(size)])))


def carrier(value: Floats, kept: Bools) -> int | None:
    """The kept channel of the largest constant, if there is one."""
    size = np.where(kept & np.isfinite(value), np.abs(value), 0.0)
    return int(np.argmax(size)) if size.any() else None


def _even_groups(channels: Channels, gone: set[int]) -> None:
    """A grouped convolution loses whole groups, and as many inputs and filters of each of the others."""
    for reader in channels.readers:
        if reader.groups == 1:
            continue
        reads, gives = (atoms.reshape(reader.groups, -1) for atoms in (reader.reads, reader.gives))
        stays = _kept(channels, reads, gone).any(axis=1) | _kept(channels, gives, gone).any(axis=1)
        _level(channels, gone, list(reads[stays]))
        _level(channels, gone, list(gives[stays]))


def _even_pieces(channels: Channels, gone: set[int]) -> None:
    """Pieces of one size that a tensor is taken apart into stay of one size."""
    for pieces in channels.pieces:
        _level(channels, gone, pieces)


def _level(channels: Channels, gone: set[int], rows: list[Ints]) -> None:
    """Put atoms back until as many stay in each row, but at least one."""
    most = max((int(_kept(channels, row, gone).sum()) for row in rows), default=0)
    for row in rows:
        for root in map(int, channels.roots(row)):
            if int(_kept(channels, row, gone).sum()) >= max(most, 1):
                break
            gone.discard(root)


def _regular(channels: Channels, gone: set[int]) -> None:
    """Where the atoms of a tensor change along several dimensions, what stays of it is a tensor again: some of the places along
    each dimension, the same everywhere."""
    for own in channels.flows.values():
        dims = [d for d, size in enumerate(own.atoms.shape) if size > 1]
        if len(dims) < 2:
            continue
        kept = _kept(channels, own.atoms, gone)
        block = np.ones_like(kept)
        for d in dims:
            block &= kept.any(axis=tuple(other for other in range(kept.ndim) if other != d), keepdims=True)
        gone.difference_update(map(int, channels.roots(own.atoms[block & ~kept])))


def _round(channels: Channels, gone: set[int], multiple: int) -> None:
    """Put channels back until each layer's count is a multiple; what one layer gets back may be another's too."""
    changed = multiple > 1
    while changed:
        changed = False
        for reader in channels.readers:
            roots = [int(root) for root in channels.roots(reader.gives)]
            missing = -sum(root not in gone for root in roots) % multiple
            back = [root for root in roots if root in gone][:missing]
            changed = changed or bool(back)
            gone.difference_update(back)
