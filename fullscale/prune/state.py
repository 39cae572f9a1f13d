"""What an optimizer remembers, cut as the network was, so that training goes on where it stood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.door import checked
from dynamics.errors import InputError
from fullscale.prune.removal import Removal

EXTRA = "optimizer/"


@checked
def prune_optimizer(optimizer: torch.optim.Optimizer, net: nn.Module, smaller: nn.Module, removal: Removal) -> None:
    """Turn the optimizer of `net` into that of `smaller`, in place; schedulers that hold it go on.

    Its groups then hold the parameters of `smaller`. State of a parameter's shape loses what the parameter lost, numbers
    stay. A bias that the removal added joins the group of its layer's weights, with no state yet; where parameters have
    names (`param_names`), it is called as the weights are. `dynamics.optimizer`
    and torch.optim are alike here. Raises InputError for a parameter that is not the network's and for state of any other
    shape (Adafactor's rows, LBFGS's history); the optimizer is then left as it was.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in net.named_parameters()}
    new = dict(smaller.named_parameters(remove_duplicate=False))
    added = {name.removesuffix("bias") + "weight": name for name in new.keys() - removal.cut.shapes.keys()}
    groups = []
    for group in optimizer.param_groups:
        own = [_name(names, parameter) for parameter in group["params"]]
        joining = [name for name in own if name in added]
        changed: dict[str, list[Any]] = {"params": [new[name] for name in (*own, *(added[name] for name in joining))]}
        if "param_names" in group:
            called = dict(zip(own, group["param_names"], strict=False))
            changed["param_names"] = [*group["param_names"], *(_beside(called, name, added[name]) for name in joining)]
        groups.append(changed)
    state: dict[Tensor, dict[str, Any]] = {}
    for parameter, fields in optimizer.state.items():
        name = _name(names, parameter)
        state[new[name]] = {field: _narrowed(removal, name, field, value) for field, value in fields.items()}
    for group, changed in zip(optimizer.param_groups, groups, strict=True):
        group["params"][:] = changed.pop("params")  # the same list: LBFGS holds it, too
        group.update(changed)
    optimizer.state.clear()
    optimizer.state.update(state)


@checked
def narrow_extra(extra: Mapping[str, Tensor], removal: Removal) -> dict[str, Tensor]:
    """A checkpoint's further tensors: those of "optimizer/PARAMETER/FIELD" cut as the parameter was, the others as they are.

    InputError for a tensor of an optimizer that is neither one number nor of its parameter's shape.
    """
    result = {}
    for key, tensor in extra.items():
        name, _, field = key.removeprefix(EXTRA).rpartition("/")
        of_parameter = key.startswith(EXTRA) and name in removal.cut.shapes
        result[key] = _narrowed(removal, name, field, tensor) if of_parameter else tensor
    return result


def _name(names: Mapping[Tensor, str], parameter: Tensor) -> str:
    if parameter not in names:
        raise InputError(f"optimizer of a parameter of shape {tuple(parameter.shape)} that is not the network's")
    return names[parameter]


def _beside(called: Mapping[str, str], name: str, added: str) -> str:
    """What a bias is called in the optimizer: as the weights of its layer are there, else as in the network."""
    known = called.get(name, "")
    return known.removesuffix("weight") + "bias" if known.endswith("weight") else added


def _narrowed(removal: Removal, name: str, field: str, value: Any) -> Any:
    full = removal.cut.shapes[name]
    if torch.is_tensor(value) and value.shape == full:
        return removal.narrow(name, value)
    if value is None or isinstance(value, bool | int | float) or (torch.is_tensor(value) and value.numel() == 1):
        return value
    what = f"of shape {tuple(value.shape)}" if torch.is_tensor(value) else type(value).__name__
    raise InputError(
        f"optimizer's {field} of {name} is {what}: numbers and tensors of the parameter's shape, {tuple(full)}, are accepted"
    )
