"""Remove the filters that do nothing, without changing what the network computes.

The inactive filters are those of Mehta, Kim, Theobalt (arXiv 1905.04967). Their removal is exact only if BatchNorm's
shift is heeded: a filter of zero scale and positive shift puts out a constant, which the next layer sees everywhere but
in its zero padding. So no bias can stand in for it there. One constant channel stays, and the others join its weights.
Source of the classes: derived; `fullscale.prune.channels` and `fullscale.prune.plan` say how they are found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dynamics.errors import InputError
from fullscale.graph import Unit, trace, units
from fullscale.measure import INACTIVE_ACTIVATION, Activity
from fullscale.prune.channels import Bools, Channels
from fullscale.prune.plan import Plan, needed, plan
from fullscale.prune.surgery import Cut, cut
from fullscale.prune.walk import walk

# Images of this many pixels a side go through the graph where none are given.
PROBE = 64


@dataclass(frozen=True)
class LayerRemoval:
    """The filters behind one BatchNorm: how many there were, how many fell into each class, and which remain.

    name: of the BatchNorm. provably_dead: put out 0 for every input; constant: the same number other than 0 for every
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
class Removal:
    """What was removed, layer by layer in the order of the graph; cut: which part of each tensor stayed."""

    layers: tuple[LayerRemoval, ...]
    cut: Cut = field(repr=False)

    @property
    def share(self) -> float:
        """The share of all filters that were removed."""
        return 1 - sum(len(layer.kept) for layer in self.layers) / sum(layer.filters for layer in self.layers)

    def narrow(self, name: str, tensor: Tensor) -> Tensor:
        """What is left of a tensor that goes element by element with the parameter or buffer `name`, such as a momentum.

        InputError for a name that the network does not have and for a tensor of another shape.
        """
        return self.cut.narrow(name, tensor)

    def as_dict(self) -> dict[str, Any]:
        """The layers as plain data, ready for JSON."""
        return {"layers": [asdict(layer) for layer in self.layers]}


def remove_dead(
    net: nn.Module, activity: Activity | None = None, *, multiple: int = 1, example: Tensor | None = None
) -> tuple[nn.Module, Removal]:
    """A smaller network that computes the same as the one given, and what was removed.

    The scale of a BatchNorm is 0 if abs(gamma) <= 1e-12, so that scales that underflowed count; `certify` measures what
    that costs. A layer that would lose every filter keeps one. The smaller network shares no memory with `net` and
    takes over its device, precision, modes and requires_grad flags; `net` is left as it was.

    Args:
        net: any network that torch.fx can trace; what its graph does with operations unknown here stays whole.
        activity: `measure(net, images)`; filters that put out less than 1e-12 on all of these images are then removed
            too, which is exact on them and on no others.
        multiple: filters are left in place until each layer's number is a multiple of this (hardware likes 8), or the
            layer is whole.
        example: images (N, C, H, W) of the size that the network takes; needed only for networks without a `config`.

    Returns:
        The network and the Removal.

    Raises:
        InputError: for an activity that is not this network's, a multiple below 1, and as `fullscale.graph.trace`.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 2))
        >>> _ = nn.init.zeros_(net[1].weight[:3])
        >>> smaller, removal = remove_dead(net, example=torch.rand(2, 1, 9, 9))
        >>> smaller[0].out_channels, removal.share
        (1, 0.75)
    """
    if multiple < 1:
        raise InputError(f"multiple {multiple}: a positive whole number is accepted")
    graph = trace(net, example_for(net) if example is None else example)
    found = units(graph)
    silent = {} if activity is None else _silent(net, found, activity)
    proved = walk(graph)
    chosen = _plan(graph, proved, silent, multiple)
    smaller, done = cut(net, graph, chosen)
    return smaller, Removal(_layers(found, proved, chosen, silent), done)


def _plan(graph: fx.GraphModule, proved: Channels, silent: dict[str, Bools], multiple: int) -> Plan:
    """The plan that takes the silent filters for 0, but for those that stay: what they compute must not change, or they
    might no longer be silent."""
    assumed = {name: mask.copy() for name, mask in silent.items()}
    while any(mask.any() for mask in assumed.values()):
        channels = walk(graph, assumed)
        chosen = plan(channels, multiple)
        settled = True
        for node, flow in channels.flows.items():
            if node.name in assumed:
                varies = np.isnan(proved.flows[node].value)
                stay = assumed[node.name] & varies & chosen.keeps(flow.atoms)
                settled = settled and not stay.any()
                assumed[node.name] &= varies & ~stay
        if settled:
            return chosen
    return plan(proved, multiple)


def example_for(net: nn.Module) -> Tensor:
    """Images that a network with a configuration takes; InputError for another."""
    channels = getattr(getattr(net, "config", None), "in_channels", None)
    if not isinstance(channels, int):
        raise InputError(f"{type(net).__name__} does not say what images it takes: give an example, (N, C, H, W)")
    return torch.empty(2, channels, PROBE, PROBE)


def _silent(net: nn.Module, found: tuple[Unit, ...], activity: Activity) -> dict[str, Bools]:
    """By node, the filters that the measured images left silent."""
    names = tuple(unit.norm for unit in found)
    measured = dict(zip(activity.norms, zip(activity.gamma, activity.beta, strict=True), strict=True))
    if set(names) != measured.keys():
        raise InputError("the activity was measured on another network: measure this one")
    for name in names:
        module = net.get_submodule(name)
        held = [torch.as_tensor(x).detach().double().cpu() for x in (module.weight, module.bias)]
        if any(not torch.equal(a, b) for a, b in zip(held, measured[name], strict=True)):
            raise InputError("the activity was measured on another network: measure this one")
    peaks = dict(zip(activity.norms, activity.peak, strict=True))
    return {unit.node: (peaks[unit.norm] < INACTIVE_ACTIVATION).numpy() for unit in found}


def _layers(
    found: tuple[Unit, ...], proved: Channels, chosen: Plan, silent: Mapping[str, Bools]
) -> tuple[LayerRemoval, ...]:
    need = needed(chosen.channels)
    by_name = {node.name: node for node in chosen.channels.flows}
    layers = []
    for unit in found:
        node = by_name[unit.node]
        flow, value = chosen.channels.flows[node], proved.flows[node].value
        kept, varies = chosen.keeps(flow.atoms), np.isnan(value)
        quiet = varies & (~np.isnan(flow.value) | silent.get(unit.node, np.zeros(len(value), dtype=bool)))
        layers.append(
            LayerRemoval(
                name=unit.norm,
                filters=len(value),
                provably_dead=int((value == 0).sum()),
                constant=int((~varies & (value != 0)).sum()),
                empirically_dead=int(quiet.sum()),
                unread=int((varies & ~quiet & ~need[node]).sum()),
                kept=tuple(np.flatnonzero(kept).tolist()),
            )
        )
    return tuple(layers)
