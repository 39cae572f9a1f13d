"""The network's own code run so that nothing of the user's is different afterwards."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# How far attributes of attributes are followed, and the longest container that is remembered.
DEPTH, LONGEST = 4, 100_000


@contextmanager
def evaluation(net: nn.Module) -> Iterator[None]:
    """Within it the network is in evaluation mode and no gradient is kept; each module's own mode comes back after.

    The flags alone are set: a `train` of the network's own, which may merge weights, is not called.
    """
    modes = [(module, module.training) for module in net.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def untouched(net: nn.Module, training: bool = False) -> Iterator[None]:
    """`evaluation`, after which all that the network's code changed is as it was; if `training`, in the modes it is in.

    That is: parameters and buffers and whether they want gradients; attributes of modules, and lists, dictionaries and sets
    in them; what hooks and forward functions reach through closures and global names; the random numbers of torch,
    NumPy and Python. Numbers of tensors elsewhere and files are not brought back.
    """
    tensors = [tensor for tensor in (*net.parameters(), *net.buffers()) if not tensor.is_meta]
    before = [(tensor, tensor.detach().clone(), tensor.requires_grad) for tensor in tensors]
    devices = sorted({tensor.device.index or 0 for tensor in tensors if tensor.is_cuda})
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's own code may draw from it
    memory = _Memory()
    for module in net.modules():
        memory.module(module)
    try:
        with torch.random.fork_rng(devices), torch.no_grad() if training else evaluation(net):
            yield
    finally:
        memory.restore()
        with torch.no_grad():
            for tensor, value, wanted in before:
                if not ((tensor == value) | (tensor.isnan() & value.isnan())).all():
                    tensor.copy_(value)
                if tensor.is_leaf:
                    tensor.requires_grad_(wanted)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class _Memory:
    """What containers and variables held, and how to give it back."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.undo: list[Callable[[], object]] = []

    def restore(self) -> None:
        for undo in reversed(self.undo):
            undo()

    def module(self, module: nn.Module) -> None:
        self.look(module.__dict__, 0)
        self.function(type(module).forward, 0)

    def look(self, value: Any, depth: int) -> None:
        """Remember what a value holds, if that can change."""
        if depth > DEPTH or id(value) in self.seen or isinstance(value, Tensor | type):
            return
        if isinstance(value, FunctionType | MethodType | partial):
            self.seen.add(id(value))
            self.function(value, depth)
        elif isinstance(value, dict):
            self._container(value, dict(value), depth, value.update)
        elif isinstance(value, list | deque):
            self._container(value, list(value), depth, value.extend)
        elif isinstance(value, set):
            self._container(value, set(value), depth, value.update)
        elif isinstance(value, tuple):
            for part in value[:LONGEST]:
                self.look(part, depth + 1)
        elif not isinstance(value, nn.Module) and type(getattr(value, "__dict__", None)) is dict:
            self.look(value.__dict__, depth + 1)

    def _container(self, held: Any, copy: Any, depth: int, fill: Callable[[Any], object]) -> None:
        if len(copy) > LONGEST:
            return
        self.seen.add(id(held))

        def undo() -> None:
            if _differ(held, copy):
                held.clear()
                fill(copy)

        self.undo.append(undo)
        for part in copy.values() if isinstance(copy, dict) else copy:
            self.look(part, depth + 1)

    def function(self, function: Any, depth: int) -> None:
        """What a function reaches: its closure, its defaults, its owner, the containers among the global names it uses."""
        if isinstance(function, partial):
            for part in (function.func, function.args, function.keywords):
                self.look(part, depth + 1)
        elif isinstance(function, MethodType):
            self.look(function.__self__, depth + 1)
            self.look(function.__func__, depth + 1)
        elif isinstance(function, FunctionType):
            for cell in function.__closure__ or ():
                self._cell(cell, depth)
            self.look(function.__defaults__, depth)
            for name in function.__code__.co_names:
                held = function.__globals__.get(name)
                if isinstance(held, dict | list | set | deque):
                    self.look(held, depth + 1)

    def _cell(self, cell: CellType, depth: int) -> None:
        try:
            held = cell.cell_contents
        except ValueError:  # a name that nothing was given to yet
            return

        def undo() -> None:
            cell.cell_contents = held

        self.undo.append(undo)
        self.look(held, depth + 1)


def _differ(held: Any, copy: Any) -> bool:
    """Whether a container's entries are other objects than they were; their order counts where it has one."""
    if len(held) != len(copy):
        return True
    if isinstance(held, set):
        return bool(held != copy)
    if isinstance(held, dict):
        return any(a is not b for a, b in zip(held, copy, strict=True)) or any(
            held[key] is not copy[key] for key in copy
        )
    return any(a is not b for a, b in zip(held, copy, strict=True))
