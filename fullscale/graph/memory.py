"""What a network's own code can reach and change, remembered so that it can be given back."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import _lru_cache_wrapper, partial
from types import CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

# How far attributes of attributes are followed, the longest container, tensor or array that is remembered, and how many objects
# are, the nearest first: code that reaches a large library reaches much that it never changes.
DEPTH, LONGEST, MOST = 12, 100_000, 100_000
# What these packages define is not a network's own: neither their functions nor their objects are looked into.
_OTHERS = frozenset(sys.stdlib_module_names) | {"torch", "numpy", "dynamics", "fullscale", "undertow"}
_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None), torch.Size, torch.dtype, torch.device})


class Memory:
    """What containers and variables held, and how to give it back. roots: where to begin; known: tensors that somebody else
    looks after."""

    def __init__(self, roots: Iterable[Any], known: Iterable[Tensor]) -> None:
        # The objects themselves are kept, or the number of one that has gone would be another's.
        self.seen: dict[int, Any] = {id(tensor): tensor for tensor in known}
        self.undo: list[Callable[[], object]] = []
        # What is near comes first, so that nothing is met from afar alone.
        self.waiting = deque((root, 0) for root in roots)
        while self.waiting and len(self.seen) < MOST:
            self._remember(*self.waiting.popleft())

    def restore(self) -> None:
        """Give everything back."""
        for undo in reversed(self.undo):
            undo()

    def _look(self, value: Any, depth: int) -> None:
        if type(value) not in _ATOMS and depth <= DEPTH:
            self.waiting.append((value, depth))

    def _remember(self, value: Any, depth: int) -> None:
        """What a value holds, if that can change."""
        if id(value) in self.seen:
            return
        self.seen[id(value)] = value
        if isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, FunctionType | MethodType | partial | classmethod | staticmethod | property):
            self._function(value, depth)
        elif isinstance(value, dict):
            self._container(value, dict(value), depth, value.update)
        elif isinstance(value, list | deque):
            self._container(value, list(value), depth, value.extend)
        elif isinstance(value, set):
            self._container(value, set(value), depth, value.update)
        elif isinstance(value, tuple):
            for part in value[:LONGEST]:
                self._look(part, depth + 1)
        elif isinstance(value, type):
            self._class(value, depth)
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState | random.Random):
            self._source(value)
        elif isinstance(value, _lru_cache_wrapper):
            self._look(value.__wrapped__, depth + 1)
        elif isinstance(value, nn.Module | SimpleNamespace) or _own(type(value)):
            self._object(value, depth)

    def _object(self, value: Any, depth: int) -> None:
        if type(getattr(value, "__dict__", None)) is dict:
            self._look(value.__dict__, depth + 1)
        # Members of what is written in C look alike, and cannot be set.
        for base in (base for base in type(value).__mro__ if "__slots__" in vars(base)):
            for name, slot in list(vars(base).items()):
                if isinstance(slot, MemberDescriptorType) and hasattr(value, name):
                    self._slot(value, slot, depth)
        self._look(type(value), depth)

    def _slot(self, owner: Any, slot: MemberDescriptorType, depth: int) -> None:
        held = slot.__get__(owner)

        def undo() -> None:
            if slot.__get__(owner) is not held:
                slot.__set__(owner, held)

        self.undo.append(undo)
        self._look(held, depth + 1)

    def _class(self, value: type, depth: int) -> None:
        for base in value.__mro__:
            if _own(base) and (base is value or id(base) not in self.seen):
                self.seen[id(base)] = base
                for name, held in list(vars(base).items()):
                    if isinstance(held, FunctionType | classmethod | staticmethod | property):
                        self._look(held, depth + 1)
                    elif not name.startswith("__") and not isinstance(held, MemberDescriptorType):
                        self._of_class(base, name, held, depth)

    def _of_class(self, owner: type, name: str, held: Any, depth: int) -> None:
        def undo() -> None:
            if vars(owner).get(name) is not held:
                setattr(owner, name, held)

        self.undo.append(undo)
        self._look(held, depth + 1)

    def _container(self, held: Any, copy: Any, depth: int, fill: Callable[[Any], object]) -> None:
        if len(copy) > LONGEST:
            return

        def undo() -> None:
            if _differ(held, copy):
                held.clear()
                fill(copy)

        self.undo.append(undo)
        for part in copy.values() if isinstance(copy, dict) else copy:
            self._look(part, depth + 1)

    def _tensor(self, held: Tensor) -> None:
        if held.is_meta or isinstance(held, FakeTensor) or held.numel() > LONGEST:
            return
        copy = held.detach().clone()
        self.undo.append(lambda: put_back(held, copy))

    def _array(self, held: np.ndarray[Any, Any]) -> None:
        if held.size > LONGEST or not held.flags.writeable or held.dtype.hasobject:
            return
        copy = held.copy()

        def undo() -> None:
            if held.tobytes() != copy.tobytes():
                held[...] = copy

        self.undo.append(undo)

    def _source(self, held: Any) -> None:
        """Of random numbers."""
        if isinstance(held, np.random.Generator):
            state = held.bit_generator.state
            self.undo.append(lambda: setattr(held.bit_generator, "state", state))
        else:
            get, put = ("getstate", "setstate") if isinstance(held, random.Random) else ("get_state", "set_state")
            state = getattr(held, get)()
            self.undo.append(lambda: getattr(held, put)(state))

    def _function(self, function: Any, depth: int) -> None:
        """What a function reaches: its closure, its defaults, its owner, and the global names that it uses."""
        if isinstance(function, partial):
            inside: tuple[Any, ...] = (function.func, function.args, function.keywords)
        elif isinstance(function, MethodType):
            inside = (function.__self__, function.__func__)
        elif isinstance(function, classmethod | staticmethod):
            inside = (function.__func__,)
        elif isinstance(function, property):
            inside = (function.fget, function.fset)
        elif _own(function):
            for cell in function.__closure__ or ():
                self._cell(cell, depth)
            self._globals(function, depth)
            inside = (function.__defaults__, function.__kwdefaults__, function.__dict__)
        else:
            return
        for part in inside:
            self._look(part, depth + 1)

    def _globals(self, function: FunctionType, depth: int) -> None:
        # Tools that rewrite code, such as pytest, give their own names signs that no identifier has.
        names = {name for name in _names(function.__code__) if name.isidentifier()}
        every = function.__globals__
        for name in names & every.keys():
            held = every[name]
            if isinstance(held, ModuleType):
                if _own(held):  # a helper file: of it too, what goes by a name in the code
                    for own in names & vars(held).keys():
                        self._variable(vars(held), own, depth)
            else:
                self._variable(every, name, depth)

    def _variable(self, every: dict[str, Any], name: str, depth: int) -> None:
        held = every[name]

        def undo() -> None:
            if every.get(name) is not held:
                every[name] = held

        self.undo.append(undo)
        if not isinstance(held, ModuleType):
            self._look(held, depth + 1)

    def _cell(self, cell: CellType, depth: int) -> None:
        try:
            held = cell.cell_contents
        except ValueError:  # a name that nothing was given to yet
            return

        def undo() -> None:
            cell.cell_contents = held

        self.undo.append(undo)
        self._look(held, depth + 1)


def put_back(tensor: Tensor, value: Tensor) -> None:
    """Give a tensor its numbers back, if they are others now: what is only compared may still be part of a gradient's history."""
    with torch.no_grad():
        if not _same(tensor, value):
            tensor.copy_(value)


def _same(one: Tensor, other: Tensor) -> bool:
    """Bit by bit, for NaN, and for kinds that cannot be compared as numbers."""
    if one.layout != torch.strided or one.is_quantized or one.shape != other.shape:
        return False
    first, second = (x.detach().resolve_conj().resolve_neg().contiguous().reshape(-1) for x in (one, other))
    return torch.equal(first.view(torch.uint8), second.view(torch.uint8))


def _own(value: Any) -> bool:
    """Whether a class, a function or a module of Python's may be the network's own."""
    name = value.__name__ if isinstance(value, ModuleType) else value.__module__
    return str(name).partition(".")[0] not in _OTHERS


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


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
