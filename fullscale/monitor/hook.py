"""Hooks that stay with the module that they were put on, and the passes that no hook may look at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor


class Hook:
    """A hook on one module: a copy of the module, or what is loaded from its file, has one in its place that does nothing.

    That one is of Python's own library, so that a saved network is loaded where this package is not installed.

    Args:
        module: that it is put on.
        act: what it does with what torch gives a hook of that kind.

    Example:
        >>> from copy import deepcopy
        >>> net, calls = nn.Identity(), []
        >>> handle = net.register_forward_hook(Hook(net, lambda *given: calls.append(given)))
        >>> for module in (net, deepcopy(net)):
        ...     _ = module(torch.ones(1))
        >>> len(calls)
        1
    """

    def __init__(self, module: nn.Module, act: Callable[..., None]) -> None:
        self.module, self.act = module, act

    def __call__(self, module: nn.Module, *given: Any) -> None:
        """Act, on the module itself and on DataParallel's replicas of it: a shallow copy shares the hooks, too."""
        if module is self.module or getattr(module, "_is_replica", False):
            self.act(module, *given)

    def __deepcopy__(self, memo: Any) -> Any:
        return nullcontext().__exit__

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")


def unseen(value: Any) -> bool:
    """Whether a tensor is none of a pass of training: no tensor, a stand-in for one, or part of a transformation."""
    return (
        not isinstance(value, Tensor)
        or isinstance(value, FakeTensor)
        or torch.jit.is_tracing()  # type: ignore[attr-defined]
        or torch._C._functorch.peek_interpreter_stack() is not None
    )
