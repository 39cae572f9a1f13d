"""How channels go through layers with weights: convolutions, linear layers, BatchNorm, PReLU."""

from __future__ import annotations

import numpy as np
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fullscale.prune.channels import ZERO_SCALE, Channels, Floats, Flow, Reader, mapped, shape

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def through(found: Channels, node: fx.Node, module: nn.Module, flow: Flow) -> Flow | None:
    """The flow behind a layer that is understood, else None."""
    name = str(node.target)
    if isinstance(module, _BatchNorm):
        return _normalized(found, node, module, flow)
    # Weights that are computed from others (weight_norm, masks) could not be cut.
    if not isinstance(module._parameters.get("weight"), nn.Parameter):
        return None
    if type(module) is nn.Linear:
        return _mixed(found, node, module, flow, padded=False) if len(shape(node)) == 2 else None
    if isinstance(module, _CONVOLUTIONS) and type(module) in _CONVOLUTIONS:
        if module.groups == 1:
            return _mixed(found, node, module, flow, _zero_padded(module))
        return _depthwise(found, name, module, flow) if module.groups == module.in_channels else None
    if type(module) is nn.PReLU:
        slope = module.weight.detach().double().cpu().numpy()
        if len(slope) > 1:
            found.along[name] = flow.atoms
        return Flow(flow.atoms, np.where(flow.value < 0, slope * flow.value, flow.value))
    return None


def _zero_padded(conv: nn.Module) -> bool:
    padding, kernel = conv.padding, conv.kernel_size
    if conv.padding_mode != "zeros" or padding == "valid":
        return False
    return any(k > 1 for k in kernel) if padding == "same" else any(p > 0 for p in padding)  # type: ignore[union-attr]


def _numbers(tensor: Tensor | None, count: int, default: float) -> Floats:
    return np.full(count, default) if tensor is None else tensor.detach().double().cpu().numpy()


def _normalized(found: Channels, node: fx.Node, norm: _BatchNorm, flow: Flow) -> Flow | None:
    if "weight" not in norm._parameters:  # computed from others
        return None
    own = getattr(norm, "act", None)
    inside = own if isinstance(own, nn.Module) and not isinstance(own, nn.Identity) else None
    if inside is None and type(norm).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward):
        return None
    count = len(flow.atoms)
    gamma, beta = _numbers(norm.weight, count, 1.0), _numbers(norm.bias, count, 0.0)
    flat = np.abs(gamma) <= ZERO_SCALE
    value = np.full(count, np.nan)
    if norm.running_mean is not None and norm.running_var is not None:  # else the batch's own: no constant gets through
        mean, var = _numbers(norm.running_mean, count, 0.0), _numbers(norm.running_var, count, 1.0)
        value = (flow.value - mean) * gamma / np.sqrt(var + norm.eps) + beta
    # What a scale that is not quite 0 leaves of an input lies around the shift.
    value = np.where(flat & np.isnan(value), beta, value)
    found.along[str(node.target)] = flow.atoms
    found.norms.add(node)
    if inside is not None:
        value = mapped(lambda x: inside(x.clone()), value)
    return Flow(flow.atoms, value)


def _mixed(found: Channels, node: fx.Node, module: nn.Module, flow: Flow, padded: bool) -> Flow:
    """A convolution or linear layer: each output reads every input."""
    own: Tensor = module.weight  # type: ignore[assignment]
    weight = own.detach().reshape(len(own), len(flow.atoms), -1)
    nonzero = (weight != 0).any(dim=2).cpu().numpy()
    gives = found.fresh(len(weight))
    reader = Reader(str(node.target), node, weight, nonzero, padded, flow, gives)
    found.readers.append(reader)
    known = (flow.value == 0) | (np.isfinite(flow.value) & (not padded))
    constant = ~(nonzero & ~known).any(axis=1)
    bearing = known & (flow.value != 0)
    value = _numbers(module.bias, len(weight), 0.0) + reader.columns(bearing).sum(axis=2) @ flow.value[bearing]  # type: ignore[arg-type]
    return Flow(gives, np.where(constant, value, np.nan))


def _depthwise(found: Channels, name: str, conv: nn.Module, flow: Flow) -> Flow:
    """One filter or several a channel: they come and go with it."""
    own: Tensor = conv.weight  # type: ignore[assignment]
    weight = own.detach().double().cpu().flatten(1).numpy()
    copies = len(weight) // len(flow.atoms)
    atoms, value = np.repeat(flow.atoms, copies), np.repeat(flow.value, copies)
    known = (value == 0) | (np.isfinite(value) & (not _zero_padded(conv))) | ~(weight != 0).any(axis=1)
    result = _numbers(conv.bias, len(weight), 0.0) + weight.sum(axis=1) * np.where(known, np.nan_to_num(value), 0.0)  # type: ignore[arg-type]
    found.along[name] = atoms
    return Flow(atoms, np.where(known, result, np.nan))
