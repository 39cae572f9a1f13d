"""Images as they are given, in memory or batch by batch, as what a network takes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dynamics.errors import InputError
from dynamics.given import kind, whole
from fullscale.graph import Inputs, taken
from fullscale.graph.network import network

# In memory: a tensor, a tuple of the tensors that forward takes, or a dictionary of its keyword arguments, each (N, ...). Or
# batches of these, any iterable but a tuple; alone, or first of a pair with labels.
Source = Tensor | tuple[Any, ...] | Mapping[str, Any] | Iterable[Any]


def parts(images: Source, batch: int) -> Iterator[Inputs]:
    """The inputs batch by batch: of at most `batch` images where they are in memory, else as they come.

    Raises InputError for a batch below 1 and for what holds no images, the latter when it comes to it.
    """
    batch = whole("batch", batch, 1)
    if isinstance(images, Tensor | tuple | Mapping | Inputs):
        every = _checked(images)
        return (every.rows(start, start + batch) for start in range(0, len(every), batch))
    if not isinstance(images, Iterable) or isinstance(images, str | bytes) or getattr(images, "ndim", 1) == 0:
        raise _unknown(images)
    return (_checked(part[0] if isinstance(part, tuple | list) and part else part) for part in images)


@contextmanager
def undrawn(images: Any) -> Iterator[None]:
    """After it, random numbers go on as if a DataLoader had not been gone through: those of torch, NumPy, Python and its own.

    A generator of the user's has no second time, so that what it drew stays drawn.
    """
    if not isinstance(images, DataLoader):
        yield
        return
    drawing = (getattr(part, "generator", None) for part in (images, images.sampler, images.batch_sampler))
    own = [(one, one.get_state()) for one in drawing if isinstance(one, torch.Generator)]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a data set may draw from it
    try:
        with torch.random.fork_rng([]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        for one, state in own:
            one.set_state(state)


def batches(net: nn.Module, images: Tensor, size: int = 1024) -> Iterator[Tensor]:
    """`images` (N, ...) in slices of `size`, moved to the network's device and precision.

    Raises InputError for a size below 1, for no images, and for whole numbers of 8 bits.
    """
    kind("images", images, Tensor, "a tensor (N, ...)")
    return (part.to(network(net)).args[0] for part in parts(images, size))


def _unknown(images: Any) -> InputError:
    return InputError(f"images of type {type(images).__name__}: a tensor (N, ...) or batches of them are accepted")


def _checked(images: Any) -> Inputs:
    if not isinstance(images, Tensor | tuple | Mapping | Inputs):
        raise _unknown(images)
    inputs = taken(images)
    first = inputs.tensors()[0]
    if first.dtype == torch.uint8:
        raise InputError(f"images of type {first.dtype}: normalized floating point images are accepted")
    return inputs
