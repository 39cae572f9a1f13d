"""Cut a plan's channels out of a network, and give what they contributed to those that take it over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.graph.copied import copied
from fullscale.prune.channels import Bools, Ints, Reader
from fullscale.prune.layers import norm_behind
from fullscale.prune.plan import Plan, carrier, constants_gone
from fullscale.shapes import count_channels

# Of a parameter or buffer: the indices that stay, by dimension; of a grouped convolution, of its inputs those of each filter
# (filters, inputs).
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
        chosen = torch.from_numpy(indices).to(tensor.device)
        if chosen.ndim == 1:
            tensor = tensor.index_select(dim, chosen)
        else:
            tensor = tensor.gather(
                dim, chosen.view(*chosen.shape, *(1,) * (tensor.ndim - 2)).expand(-1, -1, *tensor.shape[2:])
            )
    return tensor


def cut(net: nn.Module, plan: Plan) -> tuple[nn.Module, Cut]:
    """The smaller network, which shares no memory with `net`, and what of each tensor stayed. `net` is left as it was."""
    smaller = copied(net)
    for parameter in smaller.parameters():
        parameter.grad = None
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    kept = _kept(plan)
    with torch.no_grad():
        for reader in plan.channels.readers:
            _fold(smaller, plan, reader)
        for name, dims in kept.items():
            module, own = _place(smaller, name)
            tensor = getattr(module, own)
            shorter = _taken(tensor.detach(), dims).clone(memory_format=_layout(tensor))
            _put(
                smaller,
                tensor,
                nn.Parameter(shorter, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else shorter,
            )
        for holder in {_place(smaller, name)[0] for name in kept}:
            count_channels(holder)
        for reader in plan.channels.readers:
            layer: Any = _place(smaller, reader.name)[0]
            if reader.groups > 1 and isinstance(getattr(layer, "groups", None), int):
                layer.groups = int(_groups(plan, reader).sum())
                count_channels(layer)
    return smaller, Cut(_by_every_name(net, kept), shapes)


def _place(net: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, own = name.rpartition(".")
    return net.get_submodule(path), own


def _put(net: nn.Module, old: Tensor, new: Tensor) -> None:
    """Under every name that a tensor has."""
    for module in net.modules():
        for held in (module._parameters, module._buffers):
            for own, tensor in held.items():
                if tensor is old:
                    held[own] = new  # type: ignore[assignment]


def _groups(plan: Plan, reader: Reader) -> Bools:
    """Which groups of a grouped convolution stay."""
    both = (plan.keeps(atoms.reshape(reader.groups, -1)).any(axis=1) for atoms in (reader.reads, reader.gives))
    return np.asarray(next(both) | next(both))


def _kept(plan: Plan) -> Kept:
    kept: Kept = {}
    for (name, dim), atoms in plan.channels.axes.items():
        stays = np.flatnonzero(plan.keeps(atoms))
        if len(stays) < len(atoms):
            kept.setdefault(name, {})[dim] = stays
    for reader in plan.channels.readers:
        reads = plan.keeps(reader.reads)
        if reader.groups == 1 or reads.all():
            continue
        # Of each filter that stays, the inputs of its group that stay.
        own = reads.reshape(reader.groups, -1)
        rows = np.flatnonzero(plan.keeps(reader.gives)) // (len(reader.gives) // reader.groups)
        columns = {int(g): np.flatnonzero(own[g]) for g in np.unique(rows)}
        kept.setdefault(reader.name, {})[1] = np.stack([columns[int(g)] for g in rows])
    return {name: dict(sorted(dims.items())) for name, dims in kept.items()}


def _layout(tensor: Tensor) -> torch.memory_format:
    last = tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _by_every_name(net: nn.Module, kept: Kept) -> Kept:
    """The same, also under the other names that a tensor has in the network's state_dict."""
    every: list[tuple[str, Any]] = [
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    ]
    first = {id(tensor): kept[name] for name, tensor in every if name in kept}
    return {name: first[id(tensor)] for name, tensor in every if id(tensor) in first}


def _fold(smaller: nn.Module, plan: Plan, reader: Reader) -> None:
    """Account for the constants that a reader loses. Summed in float64, rounded once."""
    kept, value = plan.keeps(reader.reads), reader.value
    lost = constants_gone(reader, kept, plan.keeps(reader.gives))
    if not lost.any():
        return
    module, own = _place(smaller, reader.name)
    weight: Tensor = getattr(module, own)
    if reader.carries:
        for members in np.split(np.arange(len(value)), reader.groups):
            inside = np.isin(np.arange(len(value)), members)
            if (lost & inside).any():
                by = carrier(value, kept & inside)
                assert by is not None
                more = np.einsum("oip,i->op", reader.columns(lost & inside), value[lost & inside] / value[by])
                sum_ = reader.columns(np.arange(len(value)) == by)[:, 0] + more
                rows, channels = len(reader.gives) // reader.groups, len(value) // reader.groups
                group = slice(by // channels * rows, (by // channels + 1) * rows)
                column = weight.movedim(reader.order, (0, 1))[group, by % channels]
                column.copy_(torch.from_numpy(sum_[group]).view_as(column).to(weight))
        return
    share = torch.from_numpy(np.einsum("oip,i->o", reader.columns(lost), value[lost]))
    norm = norm_behind(plan.channels, reader.node)
    if norm is not None:
        # Training subtracts the batch's own mean; only the running one, which stands for it, knows of the constants.
        name = plan.channels.flows[norm.args[3]].parameter  # type: ignore[index]
        assert name is not None
        holder, last = _place(smaller, name)
        mean: Tensor = getattr(holder, last)
        mean.copy_((mean.double().cpu() - share).to(mean))
        return
    assert reader.bias is not None
    holder, last = _place(smaller, reader.bias)
    bias: Tensor | None = getattr(holder, last)
    if bias is None:
        setattr(holder, last, nn.Parameter(share[plan.keeps(reader.gives)].to(weight), weight.requires_grad))
    else:
        bias.copy_((bias.double().cpu() + share.view_as(bias)).to(bias))
