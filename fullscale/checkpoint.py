"""A network in one file: its weights and the configuration to rebuild it, in safetensors, which runs no code.

The header's entry "undertow" is JSON: format, a number; network, the configuration; notes, plain data (`fullscale.notes`);
sha256, last, of the entry's text before it and of names, types, shapes and bytes of all tensors, so that a flipped bit
anywhere is seen. Files of format 1 say neither their format nor a sha256, and load still: of what they hold all is checked
but the numbers themselves, where a flipped bit is not seen. Numbers that are not finite are a network's own matter: what
measures it or trains it on says so.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import file as file_of
from dynamics.given import path as as_path
from dynamics.given import shown, text, whole
from evidence.files import write_whole
from fullscale.graph import evaluation
from fullscale.models import Architecture, Chain, NetConfig, build
from fullscale.notes import LONGEST, as_text, check_notes
from fullscale.shapes import take_state

# One entry: safetensors writes several in no fixed order, and equal networks shall be equal files.
HEADER = "undertow"
EXTRA = "extra/"
FORMAT = 2  # 2: with a checksum
_KNOWN = "networks of fullscale.models"
_SIGNED = ', "sha256": '
# What a layer of a chain has at least: its weights, and what BatchNorm keeps.
_A_LAYER = 6
# Images of this many pixels a side run through the network's shapes when it is loaded.
PROBE = 64


@dataclass(frozen=True, eq=False)
class Saved:
    """What a file holds: a network, and what was saved beside it.

    extra: tensors by name, such as "optimizer/NAME OF PARAMETER/FIELD"; notes: plain data.
    """

    net: nn.Module
    extra: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def save(
    net: nn.Module,
    path: str | os.PathLike[str],
    extra: Mapping[str, Tensor] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write the network to `path`; a file that is there is replaced in one step, never left half written.

    net: one of `fullscale.models`, filters removed or not. extra: further tensors; notes: plain data. Neither the training
    flag nor requires_grad is stored. Raises InputError for a network from elsewhere (save its state_dict with safetensors,
    and `load_into` fits a network to it) and where the file cannot be written.
    """
    write_whole(as_path("path", path), as_bytes(net, extra, notes))


def as_bytes(
    net: nn.Module, extra: Mapping[str, Tensor] | None = None, notes: Mapping[str, Any] | None = None
) -> bytes:
    """The content of the file that `save` writes; equal networks give equal bytes."""
    config = getattr(net, "config", None)
    if not isinstance(config, Architecture | NetConfig):
        raise InputError(f"{type(net).__name__} has no configuration to be rebuilt from: {_KNOWN} are accepted")
    for name, tensor in (extra or {}).items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"extra {shown(name)} of type {type(tensor).__name__}: a tensor is accepted")
    tensors = net.state_dict() | {EXTRA + text("extra", name): tensor for name, tensor in (extra or {}).items()}
    # Clones: safetensors refuses tensors that share memory.
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = as_text({"format": FORMAT, "network": config.as_dict(), "notes": check_notes(notes or {})})
    return safetensors.torch.save(held, metadata={HEADER: seal(header, held)})


def seal(header: str, tensors: Mapping[str, Tensor]) -> str:
    """The text of a JSON object with one more entry at its end: a checksum over what stands before it and the tensors."""
    return f'{header[:-1]}{_SIGNED}"{_digest(header[:-1], tensors)}"}}'


def check_seal(entry: str, tensors: Mapping[str, Tensor]) -> None:
    """InputError unless the checksum that `seal` put into a text is that of the text and the tensors."""
    before, _, digest = entry.rpartition(_SIGNED)
    if digest != f'"{_digest(before, tensors)}"}}':
        raise InputError("damaged (its checksum is that of other content): a file as it was written is accepted")


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # Of an empty one the strides are anything, and there is nothing to see.
        if tensor.numel():
            found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def load(path: str | os.PathLike[str]) -> Saved:
    """What `save` wrote: the network on the CPU, in its own precision, in evaluation mode, and what was beside it.

    Raises InputError for a file that is missing, damaged, of another kind, or whose weights do not fit its
    configuration.
    """
    state, metadata = read(path)
    try:
        stored, notes = _header(metadata[HEADER], state)
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        config = Architecture(**fields) if "model" in fields else NetConfig(**fields)
        extra = {name.removeprefix(EXTRA): state.pop(name) for name in list(state) if name.startswith(EXTRA)}
        return Saved(rebuild(config, state).eval(), extra, check_notes(notes))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: holds no network's configuration") from error


def _header(entry: str, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Any]:
    """What the header's entry says, whole and of these tensors: the configuration and the notes."""
    if len(entry) > LONGEST:
        raise InputError(f"a header of {len(entry):,} characters: up to {LONGEST:,} are accepted")
    header = json.loads(entry)
    made = header.get("format", 1)
    if whole("format", made, 1) > FORMAT:
        raise InputError(f"written by a newer version (format {shown(made)}): up to {FORMAT} is accepted")
    if header.keys() != {"network", "notes"} | ({"format", "sha256"} if made > 1 else set()):
        raise InputError("holds no network's configuration")
    if made > 1:
        check_seal(entry, tensors)
    return header["network"], header["notes"]


def load_network(path: str | os.PathLike[str]) -> nn.Module:
    """The network that `save` wrote to a file: on the CPU, in its own precision, in evaluation mode.

    Args:
        path: a safetensors file; nothing in it is executed.

    Returns:
        The network.

    Raises:
        InputError: for a file that is missing, damaged, of another kind, or whose weights do not fit its configuration.

    Example:
        >>> save(build(Architecture("basicnet", width=0.0625)), "net.safetensors")
        >>> load_network("net.safetensors").config.classes
        10
    """
    return load(path).net


def load_into(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Give any network the weights of a safetensors file, its layers becoming as narrow as those of the file.

    For networks from elsewhere whose filters were removed. Raises InputError for a file that is missing or damaged, and
    for weights that differ from the network's in more than their numbers of channels; the network is then left as it was.
    """
    weights = weights_of(path)
    try:
        take_state(net, weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def weights_of(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights in a safetensors file, without what was saved beside them."""
    return {name: tensor for name, tensor in read(path)[0].items() if not name.startswith(EXTRA)}


def rebuild(config: Architecture | NetConfig, state: Mapping[str, Tensor]) -> nn.Module:
    """The network of this configuration that holds the tensors of `state` themselves, not copies.

    Layers are as narrow as the tensors. Draws no random numbers. Raises InputError where names, shapes or types differ
    from the configuration's, or from each other's.
    """
    if isinstance(config, NetConfig) and _A_LAYER * len(config.channels) > len(state):
        raise InputError(f"a configuration of {len(config.channels):,} layers for {len(state):,} tensors")
    # On the meta device no memory is taken and no first weights are drawn, whatever the configuration claims.
    with torch.device("meta"):
        net: nn.Module = Chain(config) if isinstance(config, NetConfig) else build(config)
    shell = copy.deepcopy(net)
    take_state(net, state)
    take_state(shell, {name: tensor.to("meta") for name, tensor in state.items()})
    dtype = next(net.parameters()).dtype
    with evaluation(shell):
        try:
            shell(torch.empty(1, config.in_channels, PROBE, PROBE, dtype=dtype, device="meta"))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"the weights do not fit each other ({reason})") from error
    return net


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; InputError for a file that is missing or damaged."""
    file_of(path, "a network's safetensors file is accepted")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copied, since what safetensors gives may be a view of the file, which others can change.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, metadata  # noqa: SIM118, not a mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file") from error
