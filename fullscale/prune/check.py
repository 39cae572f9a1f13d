"""Whether two networks compute the same, and where they part if they do not."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dynamics.errors import InputError
from fullscale.graph import Graph, Inputs, trace
from fullscale.graph.activations import parameter
from fullscale.graph.copied import copied
from fullscale.graph.trace import call, path, unfused
from fullscale.graph.units import BATCH_NORMS, OTHER_NORMS
from fullscale.prune.channels import ZERO_SCALE, Bools
from fullscale.prune.compare import ROUNDINGS, UNITS
from fullscale.prune.layers import norm_behind
from fullscale.prune.plan import Plan
from fullscale.prune.rounding import rounding
from fullscale.prune.training import fails

SEED = 0


@dataclass(frozen=True, eq=False)
class Parted:
    """Two networks do not compute the same. reason: in words; where: the operation at which they part; nodes: what may be why."""

    reason: str
    where: str
    nodes: set[str]


@unfused()
def check(
    net: nn.Module,
    graph: Graph,
    smaller: nn.Module,
    chosen: Plan,
    assumed: Mapping[str, tuple[int, Bools]],
    inputs: Inputs,
) -> Parted | None:
    """None if a cut network computes what its plan promises, on the inputs and on noise of their shape.

    assumed: by name of node, its channel dimension and the channels that the plan takes for 0. Raises InputError where the
    graph is not what Python computes.
    """
    remnants = _remnants(net, graph)
    net, smaller = (_without(each, remnants) for each in (net, smaller))
    zeros = {name: (dim, torch.from_numpy(mask)) for name, (dim, mask) in assumed.items() if mask.any()}
    for given in (inputs, inputs.noise(torch.Generator().manual_seed(SEED))):
        own = call(net, given)
        allowed = {place: ROUNDINGS * change for place, change in rounding(net, given).items()}
        want = dict(zip(own, graph.run(net, given), strict=True))
        if (worst := _worst(own, want, allowed)) is not None:
            raise InputError(
                f"{type(net).__name__} computes other outputs than its graph, by {worst:.3g}: what forward does depends on more "
                "than its inputs"
            )
        look = _zeroing(zeros)
        want = dict(zip(own, graph.run(net, given, look, frozenset(zeros)), strict=True)) if zeros else own
        try:
            got = call(smaller, given)
        except Exception as error:  # whatever the network's own code raises where a size is not what it expects
            reason = " ".join(str(error).split())[:120]
            failing = _raised(graph, error)
            return Parted(f"fail ({reason})", _place(failing), _alike(graph, _around(failing)))
        if got.keys() != want.keys() or any(got[place].shape != want[place].shape for place in want):
            return Parted("give outputs of other shapes", _place([]), {node.name for node in graph.nodes})
        if (worst := _worst(want, got, allowed)) is not None:
            parting = _parting(net, graph, smaller, chosen, zeros, given)
            return Parted(f"differ by {worst:.3g}", _place(parting), _alike(graph, _around(parting)))
    return _trained(net, graph, smaller, inputs)


def _trained(net: nn.Module, graph: Graph, smaller: nn.Module, inputs: Inputs) -> Parted | None:
    """Whether the smaller network fails in training mode where the one it is made from does not."""
    if fails(net, inputs) is None and (reason := fails(smaller, inputs)) is not None:
        return Parted(f"fail in training ({reason})", _place([]), {node.name for node in graph.nodes})
    return None


def _remnants(net: nn.Module, graph: Graph) -> set[str]:
    """The names of scales some of which count as 0 and are not: what that costs is for `certify` to say."""
    held = dict(net.named_parameters(remove_duplicate=False))
    return {
        name
        for node in graph.nodes
        if node.target in BATCH_NORMS or node.target in OTHER_NORMS
        for argument in node.args[1:3]
        if (name := parameter(graph, argument)) in held and ((held[name] != 0) & (held[name].abs() <= ZERO_SCALE)).any()
    }


def _without(net: nn.Module, remnants: set[str]) -> nn.Module:
    """The network, or a copy in which these scales are 0 where they count as 0."""
    if not remnants:
        return net
    clean = copied(net)
    with torch.no_grad():
        for name in remnants:
            own = clean.get_parameter(name)
            own[own.abs() <= ZERO_SCALE] = 0
    return clean


def _worst(want: Mapping[str, Tensor], got: Mapping[str, Tensor], allowed: Mapping[str, float]) -> float | None:
    """The largest difference, if any is more than rounding."""
    worst = None
    for place, tensor in want.items():
        if tensor.numel() == 0:
            continue
        one, other = (torch.view_as_real(t) if t.is_complex() else t for t in (tensor.detach(), got[place].detach()))
        one, other = one.double(), other.double()
        # Equal infinities and NaN on both sides are no difference.
        same = (one == other) | (one.isnan() & other.isnan())
        difference = float(torch.where(same, 0.0, (one - other).abs()).max())
        finite = one[one.isfinite()].abs()
        size = float(finite.max()) if len(finite) else 0.0
        eps = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() or tensor.is_complex() else 0.0
        if not difference <= max(allowed.get(place, 0.0), UNITS * eps * size):
            worst = difference if math.isnan(difference) else max(worst or 0.0, difference)
    return worst


def _zeroing(zeros: Mapping[str, tuple[int, Tensor]]) -> Any:
    def look(name: str, out: Tensor) -> Tensor:
        dim, mask = zeros[name]
        return out.masked_fill(mask.to(out.device).view([-1 if d == dim else 1 for d in range(out.ndim)]), 0)

    return look


def _place(nodes: list[fx.Node]) -> str:
    """In words, for a note."""
    if not nodes:
        return "the whole network"
    return f"{str(nodes[0].target).removeprefix('aten.').partition('.')[0]} in {path(nodes[0]) or 'forward'}"


def _around(nodes: list[fx.Node]) -> set[str]:
    """These nodes and what they read, by name."""
    return {near.name for node in nodes for near in (node, *node.all_input_nodes)}


def _raised(graph: Graph, error: BaseException) -> list[fx.Node]:
    """The nodes of the innermost line of code that failed and that the graph has nodes of."""
    lines = [f'File "{frame.filename}", line {frame.lineno}' for frame in traceback.extract_tb(error.__traceback__)]
    for line in reversed(lines):
        own = [node for node in graph.nodes if f"{line}," in (node.meta.get("stack_trace") or "")]
        if own:
            return own
    return []


def _alike(graph: Graph, names: set[str]) -> set[str]:
    """With these nodes, those that the same lines of code have made elsewhere: blocks that are built alike."""
    lines = {line for name in names if (line := _line(graph.index[name])) is not None}
    return names | {node.name for node in graph.nodes if _line(node) in lines}


def _line(node: fx.Node) -> tuple[Any, str] | None:
    trail = node.meta.get("stack_trace")
    return (node.target, trail) if trail else None


def _parting(
    net: nn.Module,
    graph: Graph,
    smaller: nn.Module,
    chosen: Plan,
    zeros: Mapping[str, tuple[int, Tensor]],
    inputs: Inputs,
) -> list[fx.Node]:
    """The first operation whose results differ, as the only one of a list: both graphs run side by side."""
    try:
        other = trace(smaller, inputs)
    except InputError:  # what it does then is seen in its outputs alone
        return []
    nodes, others = ([node for node in g.nodes if node.op == "call_function"] for g in (graph, other))
    seen: list[dict[str, Tensor]] = []
    for which, g in ((net, graph), (smaller, other)):
        held: dict[str, Tensor] = {}
        null = _zeroing(zeros)

        def look(
            name: str, out: Any, held: dict[str, Tensor] = held, first: bool = which is net, null: Any = null
        ) -> Any:
            out = null(name, out) if first and name in zeros else out
            held[name] = out
            return out

        g.run(which, inputs, look, frozenset(node.name for node in g.nodes if node.op == "call_function"))
        seen.append(held)
    for node, twin in zip(nodes, others, strict=False):
        if node.target != twin.target:
            return [node]
        one, two = seen[0][node.name], seen[1][twin.name]
        own = chosen.channels.flows.get(node)
        folded = any(reader.node is node and norm_behind(chosen.channels, node) for reader in chosen.channels.readers)
        if not isinstance(one, Tensor) or own is None or folded:
            continue
        for dim, size in enumerate(own.atoms.shape):
            if size > 1:
                stays = chosen.keeps(own.atoms).any(axis=tuple(d for d in range(own.atoms.ndim) if d != dim))
                one = one.index_select(dim, torch.from_numpy(np.flatnonzero(stays)).to(one.device))
        if one.shape != two.shape:
            return [node]
        if one.is_floating_point() and _worst({"": one}, {"": two}, {"": 1e-4 * float(one.abs().max())}) is not None:
            return [node]
    return []
