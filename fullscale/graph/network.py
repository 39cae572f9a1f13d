"""What is taken for a network, checked before the work."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import torch
from torch import nn

from dynamics.errors import InputError
from fullscale.graph.inputs import plain


def network(net: Any, numbers: bool = True) -> nn.Module:
    """The network itself, out of what is wrapped around it (`fullscale.graph.plain`).

    Args:
        net: what was given as a network.
        numbers: that all of its weights must have numbers already.

    Returns:
        The network inside.

    Raises:
        InputError: for what is no network, for TorchScript, and for weights without numbers.

    Example:
        >>> network(nn.DataParallel(nn.Identity()))
        Identity()
    """
    if not isinstance(net, nn.Module):
        said = f"the class {net.__name__}" if isinstance(net, type) else f"a network of type {type(net).__name__}"
        raise InputError(f"{said}: a torch.nn.Module is accepted")
    inner: nn.Module = plain(net)
    for name, module in inner.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{name or 'the network'} is TorchScript: the network that it was made from is accepted")
    if numbers and torch.get_default_device().type == "meta":
        raise InputError("the default device is meta, where tensors have no numbers: another one is accepted")
    for name, tensor in (*inner.named_parameters(), *inner.named_buffers()) if numbers else ():
        if nn.parameter.is_lazy(tensor):
            raise InputError(f"{name} has no shape yet: a network that has run once is accepted")
        if tensor.is_meta:
            raise InputError(
                f"{name} is on the meta device, without numbers: a network that has its weights is accepted"
            )
    return inner


def positive(value: Any) -> bool:
    """Whether something is a whole number from 1 on, of Python or of NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
