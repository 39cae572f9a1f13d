"""Several networks of one shape trained side by side, as one network.

- layers.py      a layer of all networks: grouped convolutions, BatchNorm by channel, batched linear layers
- kernels.py     on a processor: convolution and BatchNorm with the images innermost; blocks.py: their innermost loops
- optimizers.py  one optimizer for each rule and coupling, over the networks' rows of one flat matrix of weights

No replica sees another. What was tried, for BasicNet at width 1/8, 40 images of 16x16, 8 replicas, one core with AVX-512, in
milliseconds of forward and backward for each: the network alone 5.1; torch.func.vmap 5.0; grouped convolutions 4.3, with
channels last 3.2; these in bfloat16 2.7; the matrix products alone of unfolded convolutions, on copied patches, 2.7; the
kernels here 2.2. torch.compile was left out, since it needs a C++ compiler where it runs. One flat row takes Adam 0.15 ms, its
23 tensors 0.5.

Batches that are no whole number of vectors and CUDA go through grouped convolutions, bfloat16 on a processor through one
convolution after another, since there a network that diverges spoils its company in grouped ones. By the kernels a network
comes out the same to the last bit in any company; by grouped convolutions it does to rounding.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import items, shown
from fullscale.models import Block
from fullscale.replicas.layers import Convolutions, Linears, Norms, by_kernels


class Replicas(nn.Module):
    """R networks of one configuration as one network, with copies of their weights, on their device.

    forward: images (N, R x C, H, W), the replicas' channels one after the other -> logits (R, N, classes).
    flat: the one parameter, (R, weights). rows: R parameters that are its rows, in the same memory, gradients too: for
    optimizers. Clear gradients by `zero_grad` of this module, which leaves them in place.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        kinds = [(getattr(net, "config", Replicas), _shapes(net)) for net in items("nets", nets, "networks")]
        if not kinds or kinds[0][0] is Replicas or any(kind != kinds[0] for kind in kinds):
            raise InputError(f"nets {shown(nets)}: one network or more of one configuration are accepted")
        self.count, self.config = len(nets), nets[0].config
        self._one = [nets[0]]  # in a list, since it is no part of this network
        self._shapes = kinds[0][1]
        like = next(nets[0].parameters())
        sizes = [shape.numel() for shape in self._shapes.values()]
        self.flat = nn.Parameter(like.new_zeros(self.count, sum(sizes)))
        self.flat.grad = torch.zeros_like(self.flat)
        with torch.no_grad():
            for name, weight in self.weights().items():
                for row, net in zip(weight, nets, strict=True):
                    row.copy_(net.get_parameter(name))
        self.rows = [nn.Parameter(row) for row in self.flat.data]
        for row, gradient in zip(self.rows, self.flat.grad, strict=True):
            row.grad = gradient
        self.net = _joined("", nets)

    def weights(self) -> dict[str, Tensor]:
        """The weights by the names that they have in one network, (R, its shape) each; views of `flat`."""
        parts = self.flat.split([shape.numel() for shape in self._shapes.values()], dim=1)
        return {name: _shaped(part, shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}

    def places(self) -> dict[str, Tensor]:
        """Where in a row the numbers of each weight lie, by the names that they have in one network, in its shape."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        parts = torch.arange(sum(sizes))[None].split(sizes, dim=1)
        return {name: _shaped(part, shape)[0] for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}

    def forward(self, x: Tensor) -> Tensor:
        """(N, R x C, H, W) -> (R, N, classes)."""
        if not by_kernels(x):
            x = x.contiguous(memory_format=torch.channels_last)
        weights = self.weights()
        for name, weight in weights.items():
            path, _, own = name.rpartition(".")
            setattr(self.net.get_submodule(path), own, weight)
        logits: Tensor = self.net(x)
        for name in weights:
            # A view that stays keeps the graph behind it, with the node that adds up gradients on the stream of this pass: a
            # CUDA graph is recorded on another one.
            path, _, own = name.rpartition(".")
            delattr(self.net.get_submodule(path), own)
        each: Tensor = logits.unflatten(1, (self.count, -1)).transpose(0, 1)
        return each

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Put all gradients to 0, in place whatever is asked for."""
        if self.flat.grad is not None:
            self.flat.grad.zero_()

    @torch.no_grad()
    def take(self, replica: int) -> nn.Module:
        """A copy of one replica as a network of its own, in the mode this one is in."""
        net = copy.deepcopy(self._one[0])
        for name, weight in self.weights().items():
            net.get_parameter(name).copy_(weight[replica])
        for name, buffer in net.named_buffers():
            whole = self.net.get_buffer(name)
            buffer.copy_(whole[replica] if whole.ndim else whole)
        return net.train(self.training)


def _shapes(net: Any) -> dict[str, torch.Size]:
    return {name: p.shape for name, p in net.named_parameters()} if isinstance(net, nn.Module) else {}


def _shaped(part: Tensor, shape: torch.Size) -> Tensor:
    """A part of all rows as weights of one layer; those of a convolution have the channels that it reads innermost."""
    convolution = len(shape) == 4
    shaped: Tensor = part.unflatten(1, (shape[0], *shape[2:], shape[1]) if convolution else shape)
    return shaped.permute(0, 1, 4, 2, 3) if convolution else shaped


def _joined(path: str, nets: Sequence[nn.Module]) -> nn.Module:
    """The modules at `path` of all networks as one, yet without weights. TypeError for a layer that is not known here."""
    one: Any = nets[0]
    if isinstance(one, nn.Conv2d):
        return Convolutions(one)
    if isinstance(one, nn.BatchNorm2d):
        return Norms(nets)
    if isinstance(one, nn.Linear):
        return Linears()
    if next(one.parameters(recurse=False), None) is not None:
        raise TypeError(f"{path}, a {type(one).__name__}, cannot be trained side by side")
    children = {
        name: _joined(f"{path}.{name}".lstrip("."), [net.get_submodule(name) for net in nets])
        for name, _ in one.named_children()
    }
    if isinstance(one, Block):
        _rectify(children["norm"])
        return nn.Sequential(OrderedDict(children))
    if isinstance(one, nn.Sequential):
        for (_, before), (name, after) in pairwise(children.items()):
            if isinstance(before, Norms) and isinstance(after, nn.ReLU):
                children[name] = nn.Identity()
                _rectify(before)
    net: nn.Module = copy.deepcopy(one)
    for name, child in children.items():
        setattr(net, name, child)
    return net


def _rectify(norm: nn.Module) -> None:
    """Let a norm do the ReLU behind it, in the same pass over memory."""
    assert isinstance(norm, Norms)
    norm.rectify = True
