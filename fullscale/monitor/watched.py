"""What of a network is watched: its units, the parameters that make them, and where hooks see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from dynamics.errors import InputError
from dynamics.given import shown, whole
from fullscale.graph import Graph, Unit
from fullscale.monitor.slices import Slice, cut, direct, visible

aten = torch.ops.aten


class Site(NamedTuple):
    """A module, and which of its calls in a pass is meant, of how many."""

    module: nn.Module
    call: int = 0
    calls: int = 1


@dataclass(frozen=True, eq=False)
class Layer:
    """The channels of one unit.

    unit: see `fullscale.graph`, under its name in the whole network. scale, shift: (filters,) parameters; where there is none,
    constants: 1 and 0 of a BatchNorm, NaN and 0 of another norm, NaN of a unit whose causes of death are not told. weight: that
    feeds it, with the filters along `axis`. feeding: the layer whose weight and bias alone make the unit, if that is so
    and it is rectified; shift is then its bias, or 0. sites: what is seen of it, None for the inputs of `root`. seen: what
    is to be computed from that, None where the output of the only site is what the activation takes.
    """

    unit: Unit
    scale: Tensor
    shift: Tensor
    sites: tuple[Site | None, ...]
    weight: Tensor | None = None
    axis: int = 0
    feeding: nn.Module | None = None
    root: nn.Module | None = None
    seen: Slice | None = None

    @property
    def size(self) -> int:
        """How many."""
        return self.shift.numel()


@dataclass(eq=False)
class Watched:
    """The filters of a network, one row of `layers` and `channels` each. notes: what could not be had; named: the parameters
    that are watched, by their names."""

    parts: list[Layer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    named: dict[str, Tensor] = field(default_factory=dict)

    @property
    def units(self) -> tuple[Unit, ...]:
        """See `fullscale.graph`."""
        return tuple(part.unit for part in self.parts)

    @property
    def weights(self) -> tuple[Tensor | None, ...]:
        """Those that feed each unit, None where there are none that feed it alone."""
        return tuple(part.weight for part in self.parts)

    @property
    def sizes(self) -> list[int]:
        """The number of filters of each unit."""
        return [part.size for part in self.parts]

    @property
    def layers(self) -> list[str]:
        """The name of each filter's unit."""
        return [part.unit.norm for part in self.parts for _ in range(part.size)]

    @property
    def channels(self) -> list[int]:
        """The place of each filter in its layer."""
        return [channel for size in self.sizes for channel in range(size)]

    @property
    def rectified(self) -> list[bool]:
        """Whether each filter's activation puts out exact zeros over a range of inputs."""
        return [part.unit.rectified for part in self.parts for _ in range(part.size)]

    def add(self, part: Layer) -> None:
        """One more unit, unless one of its name is watched already."""
        if all(part.unit.norm != other.unit.norm for other in self.parts):
            self.parts.append(part)

    def name(self, net: nn.Module) -> None:
        """Keep the names of the parameters in the network."""
        used = {id(x) for part in self.parts for x in (part.scale, part.shift, part.weight)}
        self.named = {name: p for name, p in net.named_parameters(remove_duplicate=False) if id(p) in used}

    def renewed(self, net: nn.Module) -> dict[int, Tensor]:
        """Takes the parameters that now stand where the watched ones stood, as `load_state_dict(assign=True)` puts them
        there; these, by the ids of the old ones."""
        now = dict(net.named_parameters(remove_duplicate=False))
        others: dict[int, Tensor] = {}
        for name, old in self.named.items():
            if name in now and now[name].shape == old.shape:
                if now[name] is not old:
                    others[id(old)] = now[name]
            elif (lost := f"{name} is gone, or of another shape: the last that was watched is shown") not in self.notes:
                self.notes.append(lost)
        if others:
            for i, part in enumerate(self.parts):
                own = {x: getattr(part, x) for x in ("scale", "shift", "weight")}
                self.parts[i] = replace(part, **{x: others.get(id(old), old) for x, old in own.items()})
            self.named = {name: others.get(id(old), old) for name, old in self.named.items()}
        return others

    def unreached(self, net: nn.Module) -> list[str]:
        """The BatchNorms of a network that are not watched."""
        names = {unit.norm.partition("#")[0] for unit in self.units}
        known = {id(module) for name, module in net.named_modules() if name in names}
        return [name for name, m in net.named_modules() if isinstance(m, _BatchNorm) and id(m) not in known]


def of_units(net: nn.Module, given: Sequence[Unit]) -> Watched:
    """Those that a user gives. InputError for what is none, and for one whose norm is no module with a scale or a shift, nor a
    BatchNorm, or which does not fit that module."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InputError(f"units {shown(given)}: a list of fullscale.graph.Unit is accepted")
    names = [
        name
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm)
        or _vector(module, "weight") is not None
        or _vector(module, "bias") is not None
    ]
    found = Watched()
    for unit in given:
        if not isinstance(unit, Unit) or not isinstance(unit.norm, str) or not _acts(unit):
            raise InputError(
                f"unit {shown(unit)}: a fullscale.graph.Unit with its activation's name and function is accepted"
            )
        whole(f"unit {shown(unit.norm)}, dim", unit.dim, 1)
        if unit.norm not in names:
            raise InputError(
                f"unit {shown(unit.norm)}: accepted are norms, and layers with a bias: {', '.join(names) or 'there are none here'}"
            )
        module = net.get_submodule(unit.norm)
        filters = of_module(module, replace(unit, filters=0)).size
        if whole(f"unit {unit.norm}, filters", unit.filters, 0) not in (0, filters):
            raise InputError(f"unit {unit.norm}, filters {unit.filters}: {filters}, as its module has, is accepted")
        found.add(of_module(module, unit))
    return found


def _acts(unit: Unit) -> bool:
    """Whether its activation has a name, and its function takes numbers one by one."""
    try:
        result = unit.function(torch.zeros(2))
    except Exception:  # whatever a user's own code raises, or what is no function
        return False
    return isinstance(unit.activation, str) and isinstance(result, Tensor) and result.shape == (2,)


def of_module(module: nn.Module, unit: Unit) -> Layer:
    """A unit of which only the module is known whose output its activation takes."""
    scale, shift = _vector(module, "weight"), _vector(module, "bias")
    batch = isinstance(module, _BatchNorm)
    filters = unit.filters or (
        module.num_features if isinstance(module, _BatchNorm) else len(next(x for x in (scale, shift) if x is not None))
    )
    both = _filled(scale, shift, filters, batch, batch or scale is not None, next(module.parameters(), None))
    return Layer(replace(unit, filters=filters, batch=batch), *both, (Site(module),))


def of_graph(root: nn.Module, prefix: str, graph: Graph, units: Sequence[Unit], found: Watched) -> None:
    """Adds the units of a graph of a part of the network, which is called `prefix` there."""
    visibly = visible(graph, root)
    calls = Counter(name for name, _ in visibly.values())
    tensors = dict(root.named_parameters(remove_duplicate=False))
    for unit in units:
        name = f"{prefix}.{unit.norm}" if prefix else unit.norm
        if unit.batch and not isinstance(graph.index[unit.source].meta.get("val"), Tensor):
            # Only its running statistics are used: it feeds a loss that is put aside, say.
            found.add(of_module(root.get_submodule(unit.norm), replace(unit, norm=name, weight=None)))
            found.notes.append(
                f"{name}: its output is no part of the network's, so it is watched before its activation"
            )
            continue
        product = graph.index[unit.node].target is aten.mul.Tensor
        seen = None if unit.dim == 0 else cut(graph, visibly, *({unit.source, unit.node} if product else {unit.source}))
        if seen is None:
            found.notes.append(
                f"{name} is not watched: what its activation takes is no module's output, nor near to any"
            )
            continue
        sites = tuple(
            Site(root.get_submodule(visibly[leaf][0]), visibly[leaf][1], calls[visibly[leaf][0]])
            if leaf in visibly
            else None
            for leaf in seen.leaves
        )
        scale, shift = (_fitting(tensors.get(own or ""), unit.filters) for own in (unit.scale, unit.shift))
        weight = None if unit.weight is None else tensors.get(unit.weight)
        axis = None if weight is None else _axis(root, str(unit.weight), weight, unit.filters)
        feeding = None
        if unit.rectified and not unit.batch and scale is None:
            sole = cut(graph, visibly, unit.source)
            from_one = sole is not None and direct(sole) and sole.leaves[0] in visibly
            layer = root.get_submodule(visibly[sole.leaves[0]][0]) if sole is not None and from_one else None
            if axis is not None and layer is not None and layer._parameters.get("weight") is weight:
                feeding, shift = layer, _vector(layer, "bias")
            else:
                found.notes.append(f"{name}: of what its filters die is not told, since no plain layer alone makes it")
        known = unit.batch or scale is not None or feeding is not None
        both = _filled(scale, shift, unit.filters, unit.batch, known, next(iter(tensors.values()), None))
        found.add(
            Layer(
                replace(unit, norm=name), *both, sites, None if axis is None else weight, axis or 0, feeding, root,
                None if direct(seen) and sites[0] is not None else seen,
            )
        )  # fmt: skip


def _vector(module: nn.Module, name: str) -> Tensor | None:
    """A module's parameter, if it has one number a channel."""
    held = module._parameters.get(name)
    return held if held is not None and held.ndim == 1 else None


def _fitting(tensor: Tensor | None, filters: int) -> Tensor | None:
    return tensor if tensor is not None and tensor.numel() == filters else None


def _axis(root: nn.Module, name: str, weight: Tensor, filters: int) -> int | None:
    """Along which dimension of the weights the filters lie; None where that is not known, or others lie there as well."""
    module = root.get_submodule(name.rpartition(".")[0])
    if isinstance(module, _ConvTransposeNd):
        return 1 if module.groups == 1 and weight.shape[1] == filters else None
    if isinstance(module, _ConvNd | nn.Linear):
        return 0 if len(weight) == filters else None
    along = [axis for axis, size in enumerate(weight.shape) if size == filters]
    return along[0] if len(along) == 1 else None


def _filled(
    scale: Tensor | None, shift: Tensor | None, filters: int, batch: bool, known: bool, like: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Constants in place of what is missing."""
    like = torch.zeros(()) if like is None else like.detach()
    return (
        like.new_full((filters,), 1.0 if batch else torch.nan) if scale is None else scale,
        like.new_full((filters,), 0.0 if known else torch.nan) if shift is None else shift,
    )
