"""The units of a network are found when it trains for the first time: then its inputs are there to trace it with.

Hooks wait in front of every module. The one that is called first, with no other around it, is traced with what it is
given: the network, what wraps it, or a part that is called by itself. Where torch.export cannot follow it, the hooks in
front of its parts still wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from dynamics.errors import InputError
from fullscale.graph import Inputs, Unit, plain, trace, units, untouched
from fullscale.monitor.hook import Hook, unseen
from fullscale.monitor.watched import Watched, of_graph, of_module


class Finding:
    """Finds the units of a network in its next passes in training mode, and adds them to `found`.

    extended: is called whenever there are more, with the number of units before, the module and its arguments. compiled:
    whether torch.compile came first, so that nothing can be found.
    """

    def __init__(self, net: nn.Module, found: Watched, extended: Callable[..., None]) -> None:
        self.net, self.found, self.extended = plain(net), found, extended
        self.compiled = False
        self._names = {module: name for name, module in self.net.named_modules()}
        self._busy = False
        self._met: set[nn.Module] = set()
        self._handles: dict[nn.Module, Any] = {}
        wrappers = [module for module in net.modules() if module not in self._names and plain(module) is self.net]
        for module in (*wrappers, *self._names):
            hook = Hook(module, self._meet)
            self._handles[module] = module.register_forward_pre_hook(hook, with_kwargs=True)

    def on(self, example: Inputs) -> None:
        """Find them now, by a pass over an example that leaves nothing behind.

        Raises InputError where the network's own code fails on it.
        """
        given, extended, before = example.to(self.net), self.extended, len(self.found.parts)
        # Hooks that come or go within `untouched` are as they were after it.
        self.extended = lambda *_: None
        try:
            with untouched(self.net, training=True):
                for module in self._names:
                    module.training = True
                if not self._known(self.net, given):
                    self._met.add(self.net)
                    self.net(*given.args, **given.named)
        except Exception as error:  # whatever the network's own code raises
            words = " ".join(str(error).split())[:300]
            raise InputError(
                f"inputs of shape {given.shapes()} do not fit {type(self.net).__name__} ({words})"
            ) from error
        finally:
            self.extended = extended
            self.close()
        if len(self.found.parts) > before:
            extended(before)

    def close(self) -> None:
        """Wait no longer."""
        for handle in self._handles.values():
            handle.remove()
        self._handles = {}

    def _meet(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_dynamo_compiling():
            self.compiled = True
            return
        if self._busy or module in self._met or not module.training:
            return
        if any(unseen(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)):
            return
        self._busy, before = True, len(self.found.parts)
        try:
            known = self._known(plain(module), Inputs(args, kwargs))
        finally:
            self._busy = False
        done = {module, *(plain(module).modules() if known else (plain(module),))}
        self._met |= done
        for inner in done & self._handles.keys():
            self._handles[inner].remove()
        if len(self.found.parts) > before:
            self.extended(before, module, args, kwargs)

    def _known(self, module: nn.Module, given: Inputs) -> bool:
        """Traces a module and adds its units; whether that could be done, so that its parts need not be looked at."""
        name, notes = self._names[module], self.found.notes
        if name and isinstance(module, _BatchNorm):
            self.found.add(of_module(module, Unit(name, "identity", nn.Identity(), "")))
            notes.append(f"{name}: what reads its output cannot be traced, so its own output is watched")
            return True
        if not given.tensors() or not any(True for _ in module.parameters()):
            return False
        if name and not any(True for _ in module.children()):  # a lone layer
            return True
        try:
            graph = trace(module, given, training=True)
        except InputError as error:
            notes.append(f"{error}: its parts are watched one by one, without the activations between them")
            return False
        try:
            found = units(graph)
        except InputError as error:
            if not name:
                notes.append(str(error))
            return True
        of_graph(module, name, graph, found, self.found)
        return True
