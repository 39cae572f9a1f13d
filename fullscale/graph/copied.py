"""A deep copy of any network, whatever state its last training pass left it in."""

from __future__ import annotations

import copy
import dis
from collections.abc import Callable, Mapping
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dynamics.errors import InputError

Net = TypeVar("Net", bound=nn.Module)


class _Detaching(TorchFunctionMode):
    """Deep copies of tensors that are part of a gradient's history, which torch refuses to copy, are taken detached."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def copied(net: Net) -> Net:
    """A deep copy of a network; tensors that its forward computed with a gradient and kept come without the gradient.

    Such tensors are the weights that torch.nn.utils.prune, weight_norm and spectral_norm derive from others, or features
    that forward stores in an attribute. Functions that it holds, such as hooks or a forward put in the place of a module's
    own, reach the copy's modules and tensors through their closures and defaults where they reached the network's.

    Raises:
        InputError: for a network that Python cannot copy, and for a function that reaches its modules by a global name.

    Example:
        >>> net = torch.nn.utils.weight_norm(nn.Linear(2, 2))
        >>> bool((copied(net)(torch.ones(1, 2)) == net(torch.ones(1, 2))).all())
        True
    """
    memo: dict[int, Any] = {}
    try:
        with _Detaching():
            twin = copy.deepcopy(net, memo)
    except Exception as error:  # whatever an object of the user's raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"{type(net).__name__} cannot be copied ({reason}): a network that copy.deepcopy takes is accepted"
        ) from error
    for module in twin.modules():
        for held in (module.__dict__, *(part for part in module.__dict__.values() if isinstance(part, dict))):
            for key, value in held.items():
                if isinstance(value, FunctionType):
                    held[key] = _own(value, memo)
    return twin


def _own(value: Any, memo: dict[int, Any]) -> Any:
    """What a copy reaches in a value's place; memo: copies by the id of what they are of. Python copies no function."""
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, MethodType):
        owner = memo.get(id(value.__self__))
        return value if owner is None else MethodType(value.__func__, owner)
    if not isinstance(value, FunctionType):
        return value
    memo[id(value)] = value  # it may reach itself
    for one in dis.get_instructions(value):
        if one.opname == "LOAD_GLOBAL" and _own(reached := value.__globals__.get(one.argval), memo) is not reached:
            raise InputError(
                f"{value.__qualname__} reaches the network by the global name {one.argval}, as a copy would: a closure or a "
                "default argument is accepted"
            )
    cells = tuple(_own_cell(cell, memo) for cell in value.__closure__ or ())
    defaults = tuple(_own(part, memo) for part in value.__defaults__ or ())
    named = {name: _own(part, memo) for name, part in (value.__kwdefaults__ or {}).items()}
    was = (*(value.__closure__ or ()), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    if any(new is not old for new, old in zip((*cells, *defaults, *named.values()), was, strict=True)):
        twin = FunctionType(value.__code__, value.__globals__, value.__name__, defaults or None, cells or None)
        twin.__kwdefaults__, twin.__qualname__ = named or None, value.__qualname__
        twin.__dict__.update(value.__dict__)
        memo[id(value)] = twin
    return memo[id(value)]


def _own_cell(cell: CellType, memo: dict[int, Any]) -> CellType:
    try:
        held = cell.cell_contents
    except ValueError:  # a name that nothing was given to yet
        return cell
    own = _own(held, memo)
    return cell if own is held else CellType(own)
