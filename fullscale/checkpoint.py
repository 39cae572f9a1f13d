"""A network in one file: its weights and the configuration to rebuild it, in safetensors, which runs no code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dynamics.errors import InputError
from fullscale.files import write_whole
from fullscale.models import Chain, NetConfig

CONFIG = "network"


def save(net: Chain, path: str | os.PathLike[str]) -> None:
    """Write the network to `path`; a file that is there is replaced in one step, never left half written.

    Neither the training flag nor requires_grad is stored. Raises InputError where the file cannot be written.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    content = safetensors.torch.save(tensors, metadata={CONFIG: json.dumps(net.config.as_dict())})
    write_whole(path, content)


def load_network(path: str | os.PathLike[str]) -> Chain:
    """The network that `save` wrote, on the CPU, in its own precision, in evaluation mode.

    Raises InputError for a file that is missing, damaged, of another kind, or whose weights do not fit its
    configuration.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} is no file: a network's safetensors file is accepted")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copied, since what safetensors gives may be a view of the file, which others can change.
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118, not a mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file") from error
    try:
        stored = json.loads(metadata[CONFIG])
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        return rebuild(NetConfig(**fields), state).eval()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: holds no network's configuration") from error


def rebuild(config: NetConfig, state: Mapping[str, Tensor]) -> Chain:
    """The network of this configuration that holds the tensors of `state` themselves, not copies.

    Draws no random numbers. Raises InputError where names, shapes or types differ from the configuration's.
    """
    try:
        # On the meta device no memory is taken and no first weights are drawn, whatever the configuration claims.
        with torch.device("meta"):
            net = Chain(config)
    except (RuntimeError, TypeError) as error:
        raise InputError("the configuration asks for a network too large for any machine") from error
    expected = net.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        if name not in expected or name not in state:
            raise InputError(f"{name} is in the weights or in the configuration, but not in both")
        have, want = state[name], expected[name]
        if have.shape != want.shape or have.is_floating_point() != want.is_floating_point():
            raise InputError(f"{name} is {have.dtype} {tuple(have.shape)}, in the configuration {tuple(want.shape)}")
    net.load_state_dict(state, assign=True)
    return net
