"""Which parameters a regularizer takes: said in words, since libraries disagree about what is left out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from dynamics.errors import InputError

# _NormBase: BatchNorm and InstanceNorm of every dimension, SyncBatchNorm and the lazy ones.
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def parameter_groups(
    module: nn.Module, weight_decay: float, *, norms: bool, biases: bool, skip: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The parameters of `module` as groups for an optimizer: with `weight_decay`, and with none; an empty one is left out.

    norms: whether the decay takes gamma and beta of normalization layers (Batch, Instance, Group, Layer, RMS). biases:
    whether it takes the biases of all other modules (bias, in_proj_bias, bias_ih_l0 and their like). skip: names, as in
    `named_parameters`, that it leaves alone whatever they are. torch decays everything by default, timm neither norms nor
    biases. A parameter that several modules share comes once and is decayed only if all of its roles are; one that
    needs no gradient is left out.

    InputError for a name in skip that no parameter has.
    """
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name in skip:
        if name not in names:
            raise InputError(
                f"skip {name!r}: no parameter has that name; accepted are names like {min(names, default='')!r}"
            )
    decays: dict[nn.Parameter, bool] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for name, p in owner.named_parameters(recurse=False, remove_duplicate=False):
            if not p.requires_grad:
                continue
            bias = "bias" in name.split("_")
            taken = norms if isinstance(owner, _NORMS) else biases or not bias
            full = f"{path}.{name}" if path else name
            decays[p] = decays.get(p, True) and taken and full not in skip
    strengths = ((weight_decay, True), (0.0, False))
    groups = [{"params": [p for p in decays if decays[p] is taken], "weight_decay": x} for x, taken in strengths]
    return [group for group in groups if group["params"]]
