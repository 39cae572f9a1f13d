"""What of a network is watched: its BatchNorms with their activations, and the weights that feed each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynamics.errors import InputError
from fullscale.graph import Unit, trace, units

_FEEDING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True, eq=False)
class Watched:
    """The filters of a network, one row of `layers` and `channels` each.

    units: see `fullscale.graph`; norms: their BatchNorms. weights: of the convolution or linear layer whose output the
    BatchNorm alone reads, None where there is none. notes: what could not be had.
    """

    units: tuple[Unit, ...]
    norms: tuple[nn.Module, ...]
    weights: tuple[Tensor | None, ...]
    notes: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """The number of filters of each BatchNorm."""
        return [number(norm.weight).numel() for norm in self.norms]

    @property
    def layers(self) -> list[str]:
        """The name of each filter's BatchNorm."""
        return [unit.norm for unit, size in zip(self.units, self.sizes, strict=True) for _ in range(size)]

    @property
    def channels(self) -> list[int]:
        """The place of each filter in its layer."""
        return [channel for size in self.sizes for channel in range(size)]

    @property
    def rectified(self) -> list[bool]:
        """Whether each filter's activation puts out exact zeros over a range of inputs."""
        return [unit.rectified for unit, size in zip(self.units, self.sizes, strict=True) for _ in range(size)]


def number(tensor: Any) -> Tensor:
    """A module's attribute that is known to be a tensor."""
    assert isinstance(tensor, Tensor)
    return tensor


def plain(net: nn.Module) -> nn.Module:
    """The network itself, out of what torch.compile and the parallel containers wrap around it."""
    while True:
        inner = getattr(net, "_orig_mod", None)
        if inner is None and isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = net.module
        if not isinstance(inner, nn.Module):
            return net
        net = inner


def watched(net: nn.Module, given: Sequence[Unit] | None = None) -> Watched:
    """The units of a network: those given, or those of its graph; where the whole cannot be traced, those of its parts.

    Raises InputError for a network without BatchNorm, and for one of which no part can be traced.
    """
    found: list[tuple[Unit, Tensor | None]] = []
    notes: list[str] = []
    if given is not None:
        names = {name for name, module in net.named_modules() if isinstance(module, _BatchNorm) and module.affine}
        for unit in given:
            if unit.norm not in names:
                raise InputError(
                    f"unit {unit.norm!r}: accepted are the BatchNorms with a scale, {', '.join(sorted(names))}"
                )
        found = [(unit, None) for unit in given]
    else:
        _collect(net, "", found, notes)
    norms = tuple(net.get_submodule(unit.norm) for unit, _ in found)
    return Watched(tuple(unit for unit, _ in found), norms, tuple(weight for _, weight in found), tuple(notes))


def _collect(net: nn.Module, prefix: str, found: list[tuple[Unit, Tensor | None]], notes: list[str]) -> None:
    if prefix and not any(isinstance(module, _BatchNorm) and module.affine for module in net.modules()):
        return
    if prefix and isinstance(net, _BatchNorm):
        found.append((Unit(prefix, "identity", nn.Identity(), ""), None))
        notes.append(f"{prefix}: what reads its output cannot be traced, so its own output is watched")
        return
    try:
        graph = trace(net)
    except InputError as error:
        before = len(found)
        for name, child in net.named_children():
            _collect(child, f"{prefix}.{name}" if prefix else name, found, notes)
        if not prefix and (len(found) == before or all(unit.node == "" for unit, _ in found)):
            raise InputError(f"{error}: pass units= to say what is behind each BatchNorm") from error
        return
    feeding = _feeding(graph)
    for unit in units(graph):
        name = f"{prefix}.{unit.norm}" if prefix else unit.norm
        found.append((replace(unit, norm=name), feeding.get(unit.norm)))


def _feeding(graph: fx.GraphModule) -> dict[str, Tensor]:
    """The weights (filters, ...) whose output goes into a BatchNorm and nowhere else, by the BatchNorm's name."""
    modules = dict(graph.named_modules())
    found = {}
    for node in graph.graph.nodes:
        if node.op != "call_module" or not isinstance(modules.get(node.target), _BatchNorm):
            continue
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        layer = modules.get(str(source.target))
        if isinstance(layer, _FEEDING):
            found[str(node.target)] = layer.weight
    return found


class Look:
    """The forward hooks: what the last pass in training mode put out, kept only while `on`.

    highest: for each unit, each image's largest output of the BatchNorm (images, filters); size: each image's largest
    absolute activation. None where no pass was seen. The hooks are on the modules only while `on`, unless they were met by
    torch.compile: what it has compiled does not notice that hooks come and go, so there they stay, and return at once.
    """

    def __init__(self, watched: Watched) -> None:
        self.on = False
        self.compiled = False
        self.watched = watched
        self.highest: list[Tensor | None] = []
        self.size: list[Tensor | None] = []
        self._handles: list[Any] = []
        self._hooks = [self._hook(i, unit.function, unit.rectified) for i, unit in enumerate(watched.units)]
        self.clear()

    def switch(self, on: bool) -> None:
        """Look at the passes from now on, or do not."""
        self.on = on
        if on and not self._handles:
            pairs = zip(self.watched.norms, self._hooks, strict=True)
            self._handles = [norm.register_forward_hook(hook) for norm, hook in pairs]
        elif not on and not self.compiled:
            self.close()

    def _hook(self, i: int, function: Any, rectified: bool) -> Any:
        def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if torch.compiler.is_compiling():
                self.compiled = True
            if not self.on or not module.training:
                return
            with torch.no_grad():
                x = output.detach()
                plane = tuple(range(2, x.ndim))
                # Cloned where nothing is taken over, since what comes next may write in place.
                highest = x.amax(plane) if plane else x.clone()
                self.highest[i] = highest
                if rectified:  # monotone, and never negative: one pass over the plane is enough
                    self.size[i] = function(highest)
                else:
                    size = function(x).abs()
                    self.size[i] = size.amax(plane) if plane else size

        return look

    def clear(self) -> None:
        """Forget what was seen."""
        self.highest = [None] * len(self.watched.units)
        self.size = [None] * len(self.watched.units)

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
