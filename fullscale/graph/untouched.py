"""The network's own code run so that nothing of the user's is different afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from dynamics.given import flag, kind
from fullscale.graph.memory import Memory, put_back


@contextmanager
def evaluation(net: nn.Module) -> Iterator[None]:
    """Within it the network is in evaluation mode and no gradient is kept; each module's own mode comes back after.

    The flags alone are set: a `train` of the network's own, which may merge weights, is not called.
    """
    kind("net", net, nn.Module, "a torch.nn.Module")
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

    That is: parameters and buffers and whether they want gradients; attributes of modules and classes, and what containers,
    objects, smaller tensors and sources of random numbers hold that its code, hooks and helpers reach through
    attributes, closures, defaults and global names; the random numbers of torch, NumPy and Python. Files, caches of
    functools and larger tensors elsewhere are not brought back.
    """
    kind("net", net, nn.Module, "a torch.nn.Module")
    flag("training", training)
    tensors = [tensor for tensor in (*net.parameters(), *net.buffers()) if not tensor.is_meta]
    before = [(tensor, tensor.detach().clone(), tensor.requires_grad) for tensor in tensors]
    devices = sorted({tensor.device.index or 0 for tensor in tensors if tensor.is_cuda})
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's own code may draw from it
    memory = Memory(net.modules(), tensors)
    try:
        with torch.random.fork_rng(devices), torch.no_grad() if training else evaluation(net):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        memory.restore()
        for tensor, value, wanted in before:
            put_back(tensor, value)
            if tensor.is_leaf and tensor.requires_grad is not wanted:
                tensor.requires_grad_(wanted)
