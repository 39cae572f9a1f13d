"""The forward hooks: what the last pass in training mode put out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fullscale.monitor.hook import Hook, unseen
from fullscale.monitor.watched import Layer, Watched


class Look:
    """What the last pass in training mode put out, kept only while `on`.

    highest: for each unit, each image's largest input of the activation (images, filters); size: each image's largest
    absolute activation; reach: of a unit that is made by its layer alone, by how much the largest of all inputs of the
    activation changes with each of the layer's weights. None where no pass was seen. The hooks are on the modules only while
    `on`, unless they were met by torch.compile: what it has compiled does not notice that hooks come and go, so there they
    stay, and return at once. training: whether it is passes in training mode that are looked at, or those in evaluation
    mode, without `reach`.
    """

    def __init__(self, watched: Watched, note: Callable[[str], None], training: bool = True) -> None:
        self.on = False
        self.compiled = False
        self.watched, self.note, self.training = watched, note, training
        self.highest: list[Tensor | None] = []
        self.size: list[Tensor | None] = []
        self.reach: list[Tensor | None] = []
        self._handles: list[Any] = []
        self._hooks: list[tuple[nn.Module, bool, Hook]] = []
        # What was seen for the units that need more than one output, and how often each module ran in the pass.
        self._held: dict[int, dict[str, tuple[Tensor, int]]] = {}
        self._ran: dict[nn.Module, int] = {}
        self.clear()

    def switch(self, on: bool) -> None:
        """Look at the passes from now on, or do not."""
        self.on = on
        if on and not self._handles:
            for module, before, hook in self._hooks:
                put = module.register_forward_pre_hook if before else module.register_forward_hook
                self._handles.append(put(hook, with_kwargs=True))
        elif not on and not self.compiled:
            self.close()

    def extend(self, start: int, *entered: Any) -> None:
        """Look at the units from this one on as well. entered: the module, if any, whose forward is about to begin with these
        arguments, when its hooks of that kind have been called already."""
        modules: dict[nn.Module, list[tuple[int, int, int]]] = {}
        roots: dict[nn.Module, list[int]] = {}
        for i, part in enumerate(self.watched.parts[start:], start):
            for place, site in enumerate(part.sites):
                if site is None:
                    assert part.root is not None
                    roots.setdefault(part.root, []).append(i)
                else:
                    modules.setdefault(site.module, []).append((i, place, site.call))
        counts = {site.module: site.calls for part in self.watched.parts for site in part.sites if site is not None}
        for module, wanted in modules.items():
            self._hooks.append((module, False, Hook(module, self._after(wanted, counts[module]))))
        for root, several in roots.items():
            self._hooks.append((root, True, Hook(root, self._before(list(dict.fromkeys(several))))))
        if self.on:
            self.close()
            self.switch(True)
        for seen in (self.highest, self.size, self.reach):
            seen.extend([None] * (len(self.watched.parts) - len(seen)))
        for module, before, hook in self._hooks if entered else ():
            if before and module is entered[0]:
                hook(*entered)

    def _after(self, wanted: list[tuple[int, int, int]], calls: int) -> Callable[..., None]:
        simple = [i for i, _, _ in wanted if self.watched.parts[i].seen is None]

        def look(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if torch.compiler.is_dynamo_compiling():
                self.compiled = True
                if self.on and module.training is self.training and calls == 1:
                    for i in simple:
                        self._take(i, output.detach(), None)
                return
            if not self.on or module.training is not self.training or unseen(output):
                return
            call = self._ran.get(module, 0)
            self._ran[module] = call + 1
            with torch.no_grad():
                for i, place, which in wanted:
                    if which == call % calls:
                        self._meet(i, place, output.detach())
                        if self.training and self.watched.parts[i].feeding is module:
                            self.reach[i] = _reach(self.watched.parts[i], module, args, kwargs, output.detach())

        return look

    def _before(self, wanted: list[int]) -> Callable[..., None]:
        def look(root: nn.Module, args: Any, kwargs: Any) -> None:
            if torch.compiler.is_dynamo_compiling() or not self.on or root.training is not self.training:
                return
            given = dict(zip(self.watched.parts[wanted[0]].seen.graph.given, tree_leaves((args, kwargs)), strict=False))  # type: ignore[union-attr]
            with torch.no_grad():
                for i in wanted:
                    part = self.watched.parts[i]
                    assert part.seen is not None
                    for place, (leaf, site) in enumerate(zip(part.seen.leaves, part.sites, strict=True)):
                        if site is None and not unseen(given.get(leaf)):
                            self._meet(i, place, given[leaf].detach())

        return look

    def _meet(self, i: int, place: int, x: Tensor) -> None:
        """One of the tensors that a unit follows from is there."""
        part = self.watched.parts[i]
        if part.seen is None:
            self._take(i, x, None)
            return
        held = self._held.setdefault(i, {})
        held[part.seen.leaves[place]] = (x, x._version)
        if len(held) < len(part.seen.leaves):
            return
        del self._held[i]
        assert part.root is not None
        if any(tensor._version != version for tensor, version in held.values()):
            self.note(f"{part.unit.norm} is not watched: what it follows from is written over before it is complete")
            return
        try:
            values = part.seen.run(part.root, {name: tensor for name, (tensor, _) in held.items()})
        except RuntimeError as error:
            words = " ".join(str(error).split())[:120]
            self.note(f"{part.unit.norm} was not watched on a batch of another shape than the first ({words})")
            return
        product = values.get(part.unit.node)
        self._take(i, values[part.unit.source], product)

    def _take(self, i: int, x: Tensor, product: Tensor | None) -> None:
        unit = self.watched.parts[i].unit
        if x.ndim <= unit.dim or x.shape[unit.dim] != self.watched.parts[i].size:
            self.note(
                f"{unit.norm} is not watched: it puts out {tuple(x.shape)}, not its filters along dimension {unit.dim}"
            )
            return
        plane = tuple(axis for axis in range(1, x.ndim) if axis != unit.dim)
        # Cloned where nothing is taken over, since what comes next may write in place.
        highest = x.amax(plane) if plane else x.clone()
        self.highest[i] = highest
        if unit.rectified and product is None:  # monotone, and never negative: one pass over the plane is enough
            self.size[i] = unit.function(highest)
        else:
            size = (unit.function(x) if product is None else product).abs()
            self.size[i] = size.amax(plane) if plane else size

    def clear(self) -> None:
        """Forget what was seen."""
        for name in ("highest", "size", "reach"):
            setattr(self, name, [None] * len(self.watched.parts))
        self._held, self._ran = {}, {}

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _reach(part: Layer, layer: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:
    """The gradient of each filter's largest output by the layer's weights, of their shape: the part of the inputs that it lies
    over, as the layer is linear in its weights. Of a copy of the layer, which shares nothing that the pass keeps."""
    twin = copy.copy(layer)
    held = {name: None if p is None else p.detach() for name, p in layer._parameters.items()}
    weight = layer.get_parameter("weight").detach().requires_grad_()
    twin.__dict__["_parameters"] = held | {"weight": weight}
    dim = part.unit.dim
    at = output.movedim(dim, 0).flatten(1).argmax(dim=1, keepdim=True)
    with torch.enable_grad():
        given = [x.detach() if isinstance(x, Tensor) else x for x in args]
        again = type(layer).forward(twin, *given, **kwargs).movedim(dim, 0).flatten(1)
        found: Tensor = torch.autograd.grad(again.gather(1, at).sum(), weight)[0]
    return found
