"""A deep copy of any network, whatever state its last training pass left it in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
    that forward stores in an attribute.

    Example:
        >>> net = torch.nn.utils.weight_norm(nn.Linear(2, 2))
        >>> bool((copied(net)(torch.ones(1, 2)) == net(torch.ones(1, 2))).all())
        True
    """
    with _Detaching():
        return copy.deepcopy(net)
