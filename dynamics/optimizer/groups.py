"""Which parameters of a network a regularizer takes: `parameter_groups`, and why it puts each where it does."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import ParametrizationList

from dynamics.errors import InputError
from dynamics.given import flag, kind, number, several, shown

# _NormBase: BatchNorm and InstanceNorm of every dimension, SyncBatchNorm and the lazy ones.
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_LISTS = (nn.ParameterList, nn.ParameterDict)
_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict, *_LISTS)
# RmsNorm2d, layernorm, Normalization; not Normal, and no reparametrization of weights, whose matrices are weights.
_NORM = re.compile(r"(?<!weight)(?<!weight_)(?<!spectral)(?<!spectral_)norm(?!al(?!i[sz]))", re.IGNORECASE)
_WHOLE_NORM = re.compile(_NORM.pattern + r"(ali[sz]ation)?(\d+d?)?$", re.IGNORECASE)
# FrozenBN, LN, ABN: a class that ends so; ln_1, bn: an attribute.
_SHORT_CLASS = re.compile(r"(BN|LN|GN|RMS)(\d+d?)?$")
_SHORT_NAME = re.compile(r"(ln|bn|gn|rms)(_\w+|\d*)$")


@dataclass(frozen=True)
class Decision:
    """One parameter: its name, whether the decay takes it, and the role it was taken for, with the reason."""

    name: str
    shape: tuple[int, ...]
    decays: bool
    reason: str


class Groups(list[dict[str, Any]]):
    """A list of groups for an optimizer, each {"params", "weight_decay"}; `decided` says why. Printed, it is a table of that."""

    decided: tuple[Decision, ...] = ()

    def __str__(self) -> str:
        width = max((len(d.name) for d in self.decided), default=0)
        return "\n".join(f"{d.name:{width}}  {'decay' if d.decays else 'none ':5}  {d.reason}" for d in self.decided)


def parameter_groups(
    module: nn.Module, weight_decay: float, *, norms: bool, biases: bool, skip: Collection[str] = ()
) -> Groups:
    """The parameters of a network as groups for an optimizer: with weight decay, and with none.

    torch decays everything by default, timm neither norms nor biases. A parameter that several modules share comes once
    and is decayed only if all of its roles are; one that needs no gradient is left out.

    Class, name and shape decide, never values, so that a trained network is grouped as a fresh one. A normalization is

    - one of torch's (Batch, Instance, Group, Layer, RMS), or a class derived from one;
    - a module of another class than torch's layers that has vectors only, and no modules with parameters below, and whose
      class or attribute says norm (LlamaRMSNorm, GRNorm2d, FrozenBN; `ln_1`), or that has a vector called weight, alone or
      with a bias of its shape, or gamma and beta;
    - a vector whose own name says norm (`layer_norm_weight`).

    A vector has one dimension above 1 at most; in a class whose name ends in Norm, gamma and beta may have any one shape, and
    there may be modules below. Scales that stand by themselves (gamma of LayerScale) and the embeddings of positions and
    tokens are none of these: they decay, the table says so, and `skip` leaves them out.

    Args:
        module: the network.
        weight_decay: the strength of the first group; the second has 0.
        norms: whether the decay takes gamma and beta of normalizations.
        biases: whether it takes all other biases (bias, in_proj_bias, bias_ih_l0, relative_position_bias_table).
        skip: names, as in `named_parameters`, that it leaves alone whatever they are.

    Returns:
        A list of up to two groups, each {"params": list, "weight_decay": number}; an empty one is left out. Printed, it says of
        each parameter where it is and why; its `decided` has the same as (name, shape, decays, reason).

    Raises:
        InputError: for what is no network, no strength, no flag, and for a name in skip that no parameter has.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> groups = parameter_groups(net, 1e-4, norms=False, biases=False)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.0001), (3, 0.0)]
        >>> print(groups)
        0.weight  decay  weight of Conv2d
        0.bias    none   bias of Conv2d
        1.weight  none   normalization, BatchNorm2d is one
        1.bias    none   normalization, BatchNorm2d is one
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"module {shown(module)}: a torch.nn.Module is accepted")
    strength = number("weight_decay", weight_decay, 0)
    takes = {"normalization": flag("norms", norms), "bias": flag("biases", biases)}
    left = _names(module, skip)
    found: dict[nn.Parameter, Decision] = {}
    for full, p, role, reason in _roles(module):
        if not p.requires_grad:
            continue
        decays = takes.get(role, True) and full not in left
        why = f"skipped; {reason}" if full in left else reason
        if p not in found:
            found[p] = Decision(full, () if _unmade(p) else tuple(p.shape), decays, why)
        elif found[p].decays and not decays:
            found[p] = replace(found[p], decays=False, reason=f"as {full}: {why}")
    parts = [([p for p, d in found.items() if d.decays is taken], taken) for taken in (True, False)]
    groups = Groups({"params": part, "weight_decay": strength if taken else 0.0} for part, taken in parts if part)
    groups.decided = tuple(found.values())
    return groups


def _names(module: nn.Module, skip: Collection[str]) -> set[str]:
    """What `skip` names, checked."""
    kind("skip", several("skip", skip, "a collection of names"), Collection, "a collection of names")
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name in skip:
        if not isinstance(name, str) or name not in names:
            raise InputError(
                f"skip {shown(name)}: no parameter has that name; accepted are names like {min(names, default='')!r}"
            )
    return set(skip)


def _roles(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, str, str]]:
    """(name, parameter, role, reason) for each place where a parameter stands."""
    modules = dict(module.named_modules(remove_duplicate=False))
    for path, owner in modules.items():
        for name, p in owner.named_parameters(recurse=False, remove_duplicate=False):
            home, own = path, name
            # A parametrization and a list hold the parameters of the module above, under a name of their own.
            if isinstance(owner, ParametrizationList) and path:
                home, _, own = path.rpartition(".")
                home = home.removesuffix("parametrizations").removesuffix(".")
            elif isinstance(owner, _LISTS) and path:
                home, _, attribute = path.rpartition(".")
                own = f"{attribute}_{name}"
            role, reason = _role(modules[home], home.rpartition(".")[2], own, p)
            yield (f"{path}.{name}" if path else name), p, role, reason


def _role(owner: nn.Module, attribute: str, name: str, p: nn.Parameter) -> tuple[str, str]:
    kind = type(owner).__name__
    if isinstance(owner, _NORMS):
        return "normalization", f"normalization, {kind} is one"
    layer = any(c.__module__.startswith(("torch.nn.modules.", "torch.ao.")) for c in _classes(owner))
    if not layer and (why := _normalization(owner, kind, attribute)):
        return "normalization", f"normalization, {why}"
    if not layer and _NORM.search(name) and _vector(p):
        return "normalization", f"normalization, {name} says so"
    if {"bias", "biases"} & set(re.split(r"[_\d]+", name)):
        return "bias", f"bias of {kind}"
    if not layer and _vector(p):
        return "vector", f"vector of {kind}, which no name or class calls a normalization"
    return "weight", f"weight of {kind}"


def _normalization(owner: nn.Module, kind: str, attribute: str) -> str:
    """Why a module of a class that is not torch's is a normalization; "" if it is none."""
    own = dict(owner.named_parameters(recurse=False))
    if any(_unmade(p) for p in own.values()):
        return ""
    said = next((name for c in _classes(owner) if _NORM.search(name := c.__name__) or _SHORT_CLASS.search(name)), "")
    whole = bool(_WHOLE_NORM.search(said))
    if not all(map(_vector, own.values())):
        # gamma and beta of a whole image, not the one matrix of a layer
        image = len({p.shape for p in own.values()}) == 1 and (len(own) > 1 or "rms" in said.lower())
        return f"{said} says so" if whole and image else ""
    below = any(True for child in owner.children() for _ in child.parameters())
    if said and (whole or not below):
        return f"{said} says so"
    if below:
        return ""
    if _NORM.search(attribute) or _SHORT_NAME.match(attribute):
        return f"{attribute} says so"
    weight = own.get("weight")
    if {"gamma", "beta"} <= own.keys() or (weight is not None and own.get("bias", weight).shape == weight.shape):
        return f"{kind} has nothing but vectors, {' and '.join(own)}"
    return ""


def _classes(module: nn.Module) -> list[type[nn.Module]]:
    """The module's class and those it derives from, without what only holds others."""
    return [c for c in type(module).__mro__ if issubclass(c, nn.Module) and c not in _CONTAINERS]


def _vector(p: nn.Parameter) -> bool:
    return not _unmade(p) and sum(size > 1 for size in p.shape) <= 1


def _unmade(p: nn.Parameter) -> bool:
    """A lazy module's parameter has no shape before the first pass."""
    return isinstance(p, nn.UninitializedParameter)
