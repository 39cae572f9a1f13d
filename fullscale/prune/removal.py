"""Remove the filters that do nothing, without changing what the network computes.

The inactive filters are those of Mehta, Kim, Theobalt (arXiv 1905.04967). Their removal is exact only if BatchNorm's
shift is heeded: a filter of zero scale and positive shift puts out a constant, which the next layer sees everywhere but
in its zero padding. So no bias can stand in for it there. One constant channel stays, and the others join its weights.
Source of the classes: derived; `fullscale.prune.channels` and `fullscale.prune.plan` say how they are found.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import whole
from dynamics.result import Result
from fullscale.graph import Example, Graph, Inputs, Unit, taken, trace
from fullscale.graph.network import network
from fullscale.graph.units import every_unit
from fullscale.measure.activity import Activity
from fullscale.prune.channels import Bools, Channels
from fullscale.prune.check import check
from fullscale.prune.plan import Plan, needed, plan
from fullscale.prune.surgery import Cut, cut
from fullscale.prune.training import read_in_training
from fullscale.prune.walk import walk
from fullscale.thresholds import INACTIVE_ACTIVATION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Images of this many pixels a side go through the graph where none are given.
PROBE = 64
# Activations that never put out exact zeros over a range of inputs: that such a filter was small is no reason to remove it.
FADING = ("gelu", "silu", "mish", "softplus", "glu")


@dataclass(frozen=True)
class LayerRemoval:
    """The filters of one unit (see `fullscale.graph.units`): how many there were, how many fell into each class, and which remain.

    name: of the BatchNorm or layer. provably_dead: put out 0 for every input; constant: the same number other than 0 for every
    input; empirically_dead: 0 on the measured images, or a constant there because all that they read is one; unread: of
    the others, those of which nothing that matters is computed. kept: their indices; a filter of these classes stays where
    a sum needs its channel, as a layer's last filter, or to carry constants.
    """

    name: str
    filters: int
    provably_dead: int
    constant: int
    empirically_dead: int
    unread: int
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Removal(Result):
    """What was removed, layer by layer in the order of the graph; cut: which part of each tensor stayed; notes: what was left
    whole although it could have gone, and why."""

    layers: tuple[LayerRemoval, ...]
    cut: Cut = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of all filters that were removed; 0 of a network without any."""
        every = sum(layer.filters for layer in self.layers)
        return 1 - sum(len(layer.kept) for layer in self.layers) / every if every else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """One row a layer, with how many filters are kept in the place of which."""
        return [asdict(layer) | {"kept": len(layer.kept)} for layer in self.layers]

    @property
    def finding(self) -> str:
        """The share that was removed."""
        filters = sum(layer.filters for layer in self.layers)
        return f"{filters - sum(len(layer.kept) for layer in self.layers):,} of {filters:,} filters are removed"

    def _draw(self, axes: Axes) -> None:
        from fullscale.drawing import draw_removal

        draw_removal(self, axes)

    def narrow(self, name: str, tensor: Tensor) -> Tensor:
        """What is left of a tensor that goes element by element with the parameter or buffer `name`, such as a momentum.

        InputError for a name that the network does not have and for a tensor of another shape.
        """
        return self.cut.narrow(name, tensor)

    def as_dict(self) -> dict[str, Any]:
        """The layers as plain data, ready for JSON."""
        notes = {"notes": list(self.notes)} if self.notes else {}
        return {"layers": [asdict(layer) for layer in self.layers]} | notes


def remove_dead(
    net: nn.Module, activity: Activity | None = None, *, multiple: int = 1, example: Example | None = None
) -> tuple[nn.Module, Removal]:
    """A smaller network that computes the same as the one given, and what was removed.

    Before it is handed over, both networks are run on the example and on noise of its shape: where their outputs differ by
    more than rounding, because forward reads a size from a layer or a hook changes values, the layers there stay whole.
    The scale of a BatchNorm is 0 if abs(gamma) <= 1e-12, so that scales that underflowed count; `certify` measures what
    that costs. A layer that would lose every filter keeps one. The smaller network shares no memory with `net` and
    takes over its device, precision, modes and requires_grad flags; `net` is left as it was.

    Args:
        net: any network that torch.export can follow; what it does with operations unknown here stays whole. Of one in
            torch.compile, DataParallel or AveragedModel, the network inside.
        activity: `measure(net, images)`; filters that put out less than 1e-12 on all of these images are then removed
            too, which is exact on them and on no others.
        multiple: filters are left in place until each layer's number is a multiple of this (hardware likes 8), or the
            layer is whole.
        example: what forward takes, of the size that it takes: a tensor (N, ...), a tuple of arguments or a dictionary of
            keyword arguments; needed only for networks without a `config`.

    Returns:
        The network and the Removal.

    Raises:
        InputError: for an activity that is not this network's, a multiple below 1, as `fullscale.graph.trace`, for a network
            that copy.deepcopy does not take or whose hooks reach it by a global name, and for one that does not compute twice
            the same, so that nothing can be checked.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 2))
        >>> _ = nn.init.zeros_(net[1].weight[:3])
        >>> smaller, removal = remove_dead(net, example=torch.rand(2, 1, 9, 9))
        >>> smaller[0].out_channels, removal.share
        (1, 0.75)
    """
    multiple = whole("multiple", multiple, 1)
    if activity is not None and not isinstance(activity, Activity):
        raise InputError(f"activity of type {type(activity).__name__}: what measure gives is accepted")
    net = network(net)
    inputs = taken(example_for(net) if example is None else example).to(net)
    return removed(net, trace(net, inputs), inputs, activity, multiple)


def removed(
    net: nn.Module, graph: Graph, inputs: Inputs, activity: Activity | None = None, multiple: int = 1
) -> tuple[nn.Module, Removal]:
    """As `remove_dead`, of a network whose graph for inputs of this shape is there already."""
    found = every_unit(graph)
    silent = {} if activity is None else _silent(net, found, activity)
    stays = read_in_training(net, graph, inputs)
    notes = ["the channels that are read in training alone stay"] if stays else []
    while True:
        proved = walk(graph, net, stays=stays)
        chosen, assumed = _plan(graph, net, proved, silent, multiple, stays)
        smaller, done = cut(net, chosen)
        parted = check(net, graph, smaller, chosen, assumed, inputs)
        if parted is None:
            return smaller, Removal(_layers(found, proved, chosen, silent), done, tuple(notes))
        if not chosen.gone:
            raise InputError(f"{type(net).__name__} and an exact copy of it {parted.reason}: nothing can be checked")
        # What is known to stay grows each time, to all of the network in the end.
        more = parted.nodes - stays
        stays |= more or {node.name for node in graph.nodes}
        notes.append(f"the channels at {parted.where} stay: without them, the networks {parted.reason}")


Assumed = dict[str, tuple[int, Bools]]


def _plan(
    graph: Graph, net: nn.Module, proved: Channels, silent: Assumed, multiple: int, stays: Collection[str]
) -> tuple[Plan, Assumed]:
    """The plan that takes the silent filters for 0, but for those that stay: what they compute must not change, or they
    might no longer be silent."""
    assumed = {name: (dim, mask.copy()) for name, (dim, mask) in silent.items()}
    by_name = {node.name: node for node in graph.nodes}
    while any(mask.any() for _, mask in assumed.values()):
        channels = walk(graph, net, assumed, stays)
        chosen = plan(channels, multiple)
        settled, before = True, assumed
        for name, (dim, mask) in before.items():
            atoms, _ = channels.flows[by_name[name]].along(dim)
            varies = np.isnan(proved.flows[by_name[name]].along(dim)[1])
            stay = mask & varies & chosen.keeps(atoms)
            settled = settled and not stay.any()
            assumed = assumed | {name: (dim, mask & varies & ~stay)}
        if settled:
            return chosen, before
    return plan(proved, multiple), {}


def example_for(net: nn.Module) -> Tensor:
    """Images that a network with a configuration takes; InputError for another."""
    channels = getattr(getattr(net, "config", None), "in_channels", None)
    if not isinstance(channels, int):
        raise InputError(f"{type(net).__name__} does not say what images it takes: give an example, (N, C, H, W)")
    return torch.zeros(2, channels, PROBE, PROBE)


def _silent(net: nn.Module, found: tuple[Unit, ...], activity: Activity) -> Assumed:
    """By node, the channel dimension and the filters that the measured images left silent."""
    names = tuple(unit.norm for unit in found)
    measured = dict(zip(activity.norms, zip(activity.gamma, activity.beta, strict=True), strict=True))
    if set(names) != measured.keys():
        raise InputError("the activity was measured on another network: measure this one")
    for unit in found:
        own = zip(unit.scales(net), measured[unit.norm], strict=True)
        if any(len(a) != len(b) or not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in own):
            raise InputError("the activity was measured on another network: measure this one")
    peaks = dict(zip(activity.norms, activity.peak, strict=True))
    return {
        unit.node: (unit.dim, (peaks[unit.norm] < INACTIVE_ACTIVATION).numpy())
        for unit in found
        if unit.activation not in FADING
    }


def _layers(found: tuple[Unit, ...], proved: Channels, chosen: Plan, silent: Assumed) -> tuple[LayerRemoval, ...]:
    need = needed(chosen.channels)
    by_name = {node.name: node for node in chosen.channels.flows}
    layers = []
    for unit in found:
        node = by_name[unit.node]
        atoms, assumed = chosen.channels.flows[node].along(unit.dim)
        value = proved.flows[node].along(unit.dim)[1]
        kept, varies = chosen.keeps(atoms), np.isnan(value)
        quiet = varies & (~np.isnan(assumed) | silent.get(unit.node, (0, np.zeros(len(value), dtype=bool)))[1])
        others = tuple(d for d in range(need[node].ndim) if d != unit.dim)
        wanted = np.broadcast_to(need[node].any(axis=others), len(value))
        layers.append(
            LayerRemoval(
                name=unit.norm,
                filters=len(value),
                provably_dead=int((value == 0).sum()),
                constant=int((~varies & (value != 0)).sum()),
                empirically_dead=int(quiet.sum()),
                unread=int((varies & ~quiet & ~wanted).sum()),
                kept=tuple(np.flatnonzero(kept).tolist()),
            )
        )
    return tuple(layers)
