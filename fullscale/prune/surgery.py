"""Cut a plan's channels out of a network, and give what they contributed to those that take it over."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynamics.errors import InputError
from fullscale.prune.channels import Ints, Reader
from fullscale.prune.plan import Plan, carrier, constants_gone
from fullscale.shapes import count_channels

# Of a parameter or buffer: the indices that stay, by dimension.
Kept = dict[str, dict[int, Ints]]


@dataclass(frozen=True, eq=False)
class Cut:
    """Which indices of every parameter and buffer stay, by dimension; those not in `kept` are whole. shapes: as they were."""

    kept: Kept
    shapes: dict[str, torch.Size]

    def narrow(self, name: str, tensor: Tensor) -> Tensor:
        """What is left of a tensor that goes with the parameter or buffer `name`, element by element.

        InputError for a name that the network does not have and for a tensor of another shape.
        """
        if name not in self.shapes:
            raise InputError(f"{name!r} is no tensor of the network: the names of its state_dict are accepted")
        if tensor.shape != self.shapes[name]:
            shape, full = tuple(tensor.shape), tuple(self.shapes[name])
            raise InputError(f"{name}: a tensor of shape {shape}: that of the parameter, {full}, is accepted")
        return _taken(tensor, self.kept.get(name, {}))


def _taken(tensor: Tensor, kept: dict[int, Ints]) -> Tensor:
    for dim, indices in kept.items():
        tensor = tensor.index_select(dim, torch.from_numpy(indices).to(tensor.device))
    return tensor


def cut(net: nn.Module, graph: fx.GraphModule, plan: Plan) -> tuple[nn.Module, Cut]:
    """The smaller network, which shares no memory with `net`, and what of each tensor stayed. `net` is left as it was."""
    smaller = copy.deepcopy(net)
    for parameter in smaller.parameters():
        parameter.grad = None
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    kept = _kept(plan)
    with torch.no_grad():
        for reader in plan.channels.readers:
            _fold(smaller, graph, plan, reader)
        for name, dims in kept.items():
            path, _, own = name.rpartition(".")
            module = smaller.get_submodule(path)
            tensor = getattr(module, own, None)
            if tensor is not None:
                shorter = _taken(tensor.detach(), dims).clone(memory_format=_layout(tensor))
                new = nn.Parameter(shorter, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else shorter
                setattr(module, own, new)
                count_channels(module)
    return smaller, Cut(_by_every_name(net, kept), shapes)


def _kept(plan: Plan) -> Kept:
    kept: Kept = {}
    for reader in plan.channels.readers:
        outs, ins = (np.flatnonzero(plan.keeps(atoms)) for atoms in (reader.gives, reader.reads.atoms))
        dims = {}
        if len(outs) < len(reader.gives):
            dims[0] = outs
            kept[f"{reader.module}.bias"] = {0: outs}
        if len(ins) < len(reader.reads.atoms):
            dims[1] = ins
        if dims:
            kept[f"{reader.module}.weight"] = dims
    for name, atoms in plan.channels.along.items():
        stays = np.flatnonzero(plan.keeps(atoms))
        if len(stays) < len(atoms):
            for own in ("weight", "bias", "running_mean", "running_var"):
                kept[f"{name}.{own}"] = {0: stays}
    return kept


def _layout(tensor: Tensor) -> torch.memory_format:
    last = tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _by_every_name(net: nn.Module, kept: Kept) -> Kept:
    """The same, also under the other names that a module has in the network's state_dict."""
    first = {module: name for name, module in net.named_modules()}
    result = {}
    for path, module in net.named_modules(remove_duplicate=False):
        for own in (*module._parameters, *module._buffers, "bias"):
            name = f"{first[module]}.{own}".lstrip(".")
            if name in kept:
                result[f"{path}.{own}".lstrip(".")] = kept[name]
    return result


def _fold(smaller: nn.Module, graph: fx.GraphModule, plan: Plan, reader: Reader) -> None:
    """Account for the constants that a reader loses. Summed in float64, rounded once."""
    kept, value = plan.keeps(reader.reads.atoms), reader.reads.value
    lost = constants_gone(reader, kept, plan.keeps(reader.gives))
    if not lost.any():
        return
    module = smaller.get_submodule(reader.module)
    weight: Tensor = module.weight  # type: ignore[assignment]
    if reader.padded:
        by = carrier(value, kept)
        assert by is not None
        own = np.arange(len(value)) == by
        column = reader.columns(own)[:, 0] + np.einsum("oip,i->op", reader.columns(lost), value[lost] / value[by])
        weight[:, by] = torch.from_numpy(column).view_as(weight[:, by]).to(weight)
        return
    share = torch.from_numpy(np.einsum("oip,i->o", reader.columns(lost), value[lost]))
    users = list(reader.node.users)
    alone = len(users) == 1 and users[0] in plan.channels.norms  # a BatchNorm, and used by nothing else
    norm = smaller.get_submodule(str(users[0].target)) if alone else None
    if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
        # Training subtracts the batch's own mean; only the running one, which stands for it, knows of the constants.
        mean = norm.running_mean
        mean.copy_((mean.double().cpu() - share).to(mean))
    elif module.bias is not None:
        module.bias.copy_((module.bias.double().cpu() + share).to(module.bias))  # type: ignore[operator, union-attr, arg-type]
    else:
        module.bias = nn.Parameter(share.to(weight), weight.requires_grad)
