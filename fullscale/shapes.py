"""Fit a network's modules to weights of other channel counts, as the removal of filters leaves them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynamics.errors import InputError
from dynamics.given import shown

# What layers compute in; of these, a network may be given another one than its own.
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def take_state(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give the network the tensors of `state` themselves, not copies, fitting the channel counts of its modules to them.

    No layer may be wider than it is in `net`, and no kernel of another size; a convolution or linear layer may have got a
    bias. Whether the layers fit each other is not checked: run the network for that. Flags of training and requires_grad
    stay. Raises InputError where names, shapes or types differ in any other way; the network is then left as it was.
    """
    expected = net.state_dict()
    # As a bias of the layer's width would be.
    expected |= {name: layer.weight.flatten(1)[:, 0] for name, layer in _without_bias(net, state)}
    for name in sorted(expected.keys() | state.keys()):
        if name not in expected or name not in state:
            ends = ("weights", "network") if name in state else ("network", "weights")
            raise InputError(f"{shown(name).strip(chr(39))} is in the {ends[0]}, but not in the {ends[1]}")
        have, want = state[name], expected[name]
        fits = alike(have, want) and have.ndim == want.ndim
        # Only channels may be missing: the first two dimensions.
        fits = fits and all(
            a == b if axis > 1 else 0 < a <= b for axis, (a, b) in enumerate(zip(have.shape, want.shape, strict=True))
        )
        if not fits:
            raise InputError(
                f"{name} is {have.dtype} {tuple(have.shape)}, in the network {want.dtype} {tuple(want.shape)}"
            )
    for name, layer in _without_bias(net, state):
        layer.bias = nn.Parameter(state[name], layer.weight.requires_grad)
    wanting = {name: parameter.requires_grad for name, parameter in net.named_parameters(remove_duplicate=False)}
    shared: dict[int, nn.Parameter] = {}
    for name, tensor in state.items():
        path, _, own = name.rpartition(".")
        module = net.get_submodule(path)
        held = getattr(module, own)
        new: Tensor | None = tensor
        if isinstance(held, nn.Parameter):
            # What two layers share they share still.
            new = shared.get(id(held))
            if new is None or not torch.equal(new, tensor):
                new = shared[id(held)] = nn.Parameter(tensor, requires_grad=False)
        setattr(module, own, new)
    for name, parameter in net.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(wanting[name])
    for module in net.modules():
        count_channels(module)


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether a network that holds tensors of one type can take those of the other: equal, or numbers that layers compute in."""
    return one.dtype == other.dtype or (one.dtype in _FLOATS and other.dtype in _FLOATS)


def _without_bias(net: nn.Module, state: Mapping[str, Tensor]) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """The layers that `state` has a bias for and the network has none, by the name of the bias."""
    layers = {f"{path}.bias".lstrip("."): module for path, module in net.named_modules()}
    return [
        (name, module)  # type: ignore[misc]
        for name, module in layers.items()
        if name in state and isinstance(module, (*_CONVOLUTIONS, nn.Linear)) and module.bias is None
    ]


def count_channels(module: nn.Module) -> None:
    """Make the counts that a module keeps beside its weights those of its weights."""
    if isinstance(module, _BatchNorm):
        held = module.weight if module.weight is not None else module.running_mean
        module.num_features = module.num_features if held is None else len(held)
        return
    weight = getattr(module, "weight", None)
    if not torch.is_tensor(weight):
        return
    if isinstance(module, _CONVOLUTIONS):
        if module.groups > 1 and module.groups == module.in_channels:
            # One filter or several a channel: with channels go groups.
            module.groups = module.in_channels = weight.shape[0] * module.groups // module.out_channels
        else:
            module.in_channels = weight.shape[1] * module.groups
        module.out_channels = weight.shape[0]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = weight.shape[0]
