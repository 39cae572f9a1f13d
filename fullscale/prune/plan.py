"""Which channels go: those that every reader either knows as a constant or does not read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from torch import fx

from fullscale.prune.channels import Bools, Channels, Floats, Flow, Ints, Reader
from fullscale.prune.operations import joined_parts

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
    gone = {root for reader in channels.readers for root in map(int, channels.roots(reader.gives))} - stays
    before = None
    while before != len(gone):  # what comes back for one reason may ask for more
        before = len(gone)
        _keep_carriers(channels, gone)
        _keep_one(channels, gone)
        _round(channels, gone, multiple)
    return Plan(channels, frozenset(gone))


def constants_gone(reader: Reader, kept: Bools, rows: Bools) -> Bools:
    """Which inputs of a reader go and leave those of its filters that stay, `rows`, a constant other than 0 to account
    for."""
    constant = np.isfinite(reader.reads.value) & (reader.reads.value != 0)
    return np.asarray(~kept & _read(reader, rows) & constant)


def _kept(channels: Channels, atoms: Ints, gone: Collection[int]) -> Bools:
    return np.array([root not in gone for root in channels.roots(atoms)], dtype=bool)


def _read(reader: Reader, wanted: Bools) -> Bools:
    """Which inputs the wanted outputs of a reader read."""
    return np.asarray(reader.nonzero[wanted].any(axis=0))


def needed(channels: Channels) -> dict[fx.Node, Bools]:
    """Of each tensor, which channels matter: nothing of what is behind a scale of 0, or ends in a constant."""
    need: dict[fx.Node, Bools] = {}
    readers = {reader.node: reader for reader in channels.readers}
    for node, flow in reversed(list(channels.flows.items())):
        if node not in need:
            need[node] = np.zeros(len(flow.atoms), dtype=bool)
        # What leaves the network, or goes where nothing is known of it, is needed.
        if any(user not in channels.flows and user not in channels.shapes for user in node.users):
            need[node][:] = True
        wanted = need[node] & np.isnan(flow.value)
        if node in readers:
            reader = readers[node]
            _ask(need, node.args[0], reader.reads, _read(reader, wanted))  # type: ignore[arg-type]
            continue
        for source, channel_wanted in _sources(channels, node, wanted):
            _ask(need, source, channels.flows[source], channel_wanted)
    return need


def _ask(need: dict[fx.Node, Bools], node: fx.Node, flow: Flow, wanted: Bools) -> None:
    need[node] = need.get(node, np.zeros(len(flow.atoms), dtype=bool)) | wanted


def _sources(channels: Channels, node: fx.Node, wanted: Bools) -> Iterator[tuple[fx.Node, Bools]]:
    """The tensors that a node reads, and which channels of them it needs for `wanted` of its own: all where it is opaque."""
    parts = None if node in channels.opaque else joined_parts(node)
    if parts is not None:
        start = 0
        for part in parts:
            count = len(channels.flows[part].atoms)
            yield part, wanted[start : start + count]
            start += count
        return
    inputs = [source for source in node.all_input_nodes if source in channels.flows]
    for source in inputs:
        count = len(channels.flows[source].atoms)
        if node in channels.opaque:
            yield source, np.ones(count, dtype=bool)
        elif len(inputs) == 1 and count < len(wanted):  # flattened, or several filters a channel
            yield source, np.asarray(wanted.reshape(count, -1).any(axis=1))
        else:  # a map that all channels share has one
            yield source, wanted if count == len(wanted) else np.array([wanted.any()])


def _forced(channels: Channels) -> set[int]:
    """Roots of the atoms that a reader needs as a variable, or that are locked."""
    stays = {channels.root(atom) for atom in channels.locked}
    need = needed(channels)
    for reader in channels.readers:
        read = _read(reader, need[reader.node] & np.isnan(channels.flows[reader.node].value))
        stays |= set(map(int, channels.roots(reader.reads.atoms[read & np.isnan(reader.reads.value)])))
    return stays


def _keep_one(channels: Channels, gone: set[int]) -> None:
    """No layer loses all of its filters."""
    for reader in channels.readers:
        roots = channels.roots(reader.gives)
        if len(roots) and all(int(root) in gone for root in roots):
            gone.discard(int(roots[0]))


def _keep_carriers(channels: Channels, gone: set[int]) -> None:
    """Behind zero padding a constant is none at the border, and no bias stands for it: one such channel stays and
    carries the others, the largest, unless one of its size stays anyway: no ratio of constants shall be large."""
    for reader in channels.readers:
        if not reader.padded:
            continue
        kept = _kept(channels, reader.reads.atoms, gone)
        lost = constants_gone(reader, kept, _kept(channels, reader.gives, gone))
        if not lost.any():
            continue
        size = np.where(lost, np.abs(reader.reads.value), 0.0)
        by = carrier(reader.reads.value, kept)
        if by is None or abs(reader.reads.value[by]) < LEAST * size.max():
            gone.discard(channels.root(int(reader.reads.atoms[np.argmax(size)])))


def carrier(value: Floats, kept: Bools) -> int | None:
    """The kept channel of the largest constant, if there is one."""
    size = np.where(kept & np.isfinite(value), np.abs(value), 0.0)
    return int(np.argmax(size)) if size.any() else None


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
