"""How large the gradients of a network are and how often they come: what `convert` asks for."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dynamics.answers.pull_rate import Gradients
from dynamics.errors import InputError
from dynamics.given import function, kind, several, shown, whole

# Elements of a gradient that are squared at a time, in float64.
_CHUNK = 2**20


def gradient_scale(
    net: nn.Module, loss: Callable[..., Any], loader: Iterable[Any], batches: int = 20
) -> dict[str, Gradients | None]:
    """The size of a network's gradients, tensor by tensor, as `convert` takes them.

    Nothing of the network changes: not its weights, its grads, its buffers or its mode, and no random number of torch, NumPy
    or Python is used up. It is measured in the mode that it is in: train() for gradients as in training.

    Args:
        net: the network.
        loss: loss(net(inputs), labels), one number, as of torch.nn.functional.cross_entropy.
        loader: batches (inputs, labels), of the size that training uses: smaller ones have larger gradients.
        batches: how many are looked at, from 1; fewer if the loader ends before.

    Returns:
        For each parameter that is trained, by its name, Gradients(rms, arrival). arrival: the share of its elements, over all
        batches, whose gradient is not exactly 0. rms: the root mean square of these, in units of the gradient. None: all are 0.

    Raises:
        InputError: for what is none of these, for a network without a trained parameter, and for a gradient that is not finite.

    Example:
        >>> import torch
        >>> from undertow import gradient_scale
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> batch = torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0]])
        >>> gradient_scale(net, lambda found, wanted: (found - found.detach() + wanted).sum(), [batch])
        {'weight': Gradients(rms=3.0, arrival=0.5)}
    """
    kind("net", net, nn.Module, "a torch.nn.Module")
    function("loss", loss)
    several("loader", loader, "an iterable of batches (inputs, labels)")
    whole("batches", batches, 1)
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if not trained:
        raise InputError(f"net {type(net).__name__} has no parameter that is trained: one or more are accepted")
    squares, came, seen = dict.fromkeys(trained, 0.0), dict.fromkeys(trained, 0), 0
    with _as_it_was(net):
        for batch in islice(loader, batches):
            seen += 1
            for (name, p), g in zip(trained.items(), _gradients(net, loss, batch, list(trained.values())), strict=True):
                for part in () if g is None else g.detach().reshape(-1).split(_CHUNK):
                    squares[name] += float(part.double().square().sum())
                    came[name] += int(part.count_nonzero())
                if not math.isfinite(squares[name]):
                    raise InputError(
                        f"gradient of {name}, of shape {tuple(p.shape)}, is not finite: a finite one is accepted"
                    )
    if not seen:
        raise InputError("loader has no batch: one or more are accepted")
    return {
        name: Gradients(math.sqrt(squares[name] / came[name]), came[name] / (seen * p.numel()))
        if squares[name]
        else None
        for name, p in trained.items()
    }


def _gradients(
    net: nn.Module, loss: Callable[..., Any], batch: Any, trained: list[Tensor]
) -> tuple[Tensor | None, ...]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(f"batch {shown(batch)}: a pair (inputs, labels) is accepted")
    inputs, labels = (part.to(trained[0].device) if isinstance(part, Tensor) else part for part in batch)
    with torch.enable_grad():
        value = loss(net(inputs), labels)
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
            raise InputError(
                f"loss gave {shown(value)}: a tensor of one number that depends on the network is accepted"
            )
        # Not backward(): that adds to the grads of the network.
        return torch.autograd.grad(value.reshape(()), trained, allow_unused=True)


@contextmanager
def _as_it_was(net: nn.Module) -> Iterator[None]:
    """Buffers and random numbers are afterwards what they were before."""
    held = [(buffer, buffer.clone()) for buffer in net.buffers()]
    places = {tensor.device for tensor in (*net.parameters(), *net.buffers()) if tensor.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002, what transforms of others draw from
    try:
        with torch.random.fork_rng(list(places)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        with torch.no_grad():
            for buffer, before in held:
                buffer.copy_(before)
