"""A network of the user's own: made by a function of theirs, with weights from a file of which nothing is executed."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import file, shown
from dynamics.named import called
from fullscale.checkpoint import weights_of
from fullscale.graph import Example, taken
from fullscale.graph.network import network as checked
from fullscale.graph.trace import quiet
from fullscale.prune.compare import run
from fullscale.shapes import alike, take_state

ENDINGS = (".safetensors", ".pt", ".pth")
WANTED = "weights alone are accepted, as torch.save(net.state_dict(), FILE) writes them"


def own_network(net: str, weights: Path) -> nn.Module:
    """The network that a function makes, with the weights of a file.

    Args:
        net: "module:function"; the module is imported, from the current folder too, and the function called without
            arguments.
        weights: a .safetensors file, or a .pt or .pth file with a state_dict, alone or beside other things; what wrappers put
            before all names is left out. Layers become as narrow as those of the file.

    Returns:
        The network, in the precision that the function gives it.

    Raises:
        InputError: for a module that cannot be imported, a function that makes no network, a file with more than weights,
            and weights that are not the network's.

    Example:
        >>> torch.save(nn.Identity().state_dict(), "weights.pt")
        >>> own_network("torch.nn:Identity", Path("weights.pt"))
        Identity()
    """
    state = read_weights(weights)
    network = made(net)
    try:
        fit(network, unwrapped(state, network))
    except InputError as error:
        raise InputError(f"{weights} does not fit {net}: {error}") from error
    return network


def made(net: str) -> nn.Module:
    """The network that the function "module:function" makes. Raises InputError as `own_network`."""
    network = called("--net", net)
    if not isinstance(network, nn.Module):
        raise InputError(f"--net {net}: made a {type(network).__name__}; a torch.nn.Module is accepted")
    try:
        return checked(network)
    except InputError as error:
        raise InputError(f"--net {net}: {error}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a file by name. Raises InputError as `own_network`."""
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: a file that ends in {', '.join(ENDINGS)} is accepted")
    if path.suffix == ".safetensors":
        return weights_of(path)
    state = _state(path, _unpickled(path))
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and not tensor.is_quantized and tensor.device.type == "cpu"
        # A few bytes can be told to be any number of numbers.
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{path}: {shown(name).strip(chr(39))} is no plain tensor that is stored whole; {WANTED}")
    return state


def _unpickled(path: Path) -> Any:
    """The content of a file of torch.save, by torch's reader of weights alone; tensors are views of the file."""
    file(path, "a network's weights are accepted")
    try:
        if not _stored_whole(path):
            raise pickle.UnpicklingError
        with quiet():
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is no whole file of torch.save, in its format since torch 1.6; {WANTED}") from error
    except Exception as error:  # on a damaged file torch's reader may raise anything; it runs no code of the file
        found = re.search(r"GLOBAL (\S+) (?:was not|whose)", str(error))
        why = "cannot be read" if found is None else f"holds {found[1][:100]}, for which code would have to run"
        raise InputError(f"{path} {why}; {WANTED}") from error


def _stored_whole(path: Path) -> bool:
    """Whether nothing in the file claims to be larger than it: torch.save compresses nothing, so it would fill the memory."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as file:
        return all(one.compress_type == zipfile.ZIP_STORED and one.file_size <= size for one in file.infolist())


def _state(path: Path, content: Any) -> dict[str, Tensor]:
    """The only state_dict in what a file holds."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}; {WANTED}")
    found = {"": content} | {key: part for key, part in content.items() if isinstance(part, Mapping)}
    found = {key: part for key, part in found.items() if all(map(_is_weight, part.items()))}
    found = {key: part for key, part in found.items() if part or not content}
    if len(found) != 1:
        names = " ".join(", ".join(map(str, found or content)).split())[:100]
        several = f"weights in {names}" if found else f"no weights, but {names}"
        raise InputError(f"{path} holds {several}; {WANTED}")
    [state] = found.values()
    return dict(state)


def _is_weight(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def unwrapped(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Weights by the network's own names: without what DistributedDataParallel, torch.compile, AveragedModel or a module that
    has the network as a part put before all of them."""
    own = net.state_dict().keys()
    first = {name.partition(".")[0] for name in own}
    found = {name: tensor for name, tensor in state.items() if name in own or name != "n_averaged"}
    while found and all("." in name for name in found):
        heads = {name.partition(".")[0] for name in found}
        if len(heads) > 1 or heads & first:
            break
        found = {name.partition(".")[2]: tensor for name, tensor in found.items()}
    return found


def fit(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network weights, its layers becoming as narrow as they are; InputError where they are not the network's."""
    state, own = dict(state), net.state_dict(keep_vars=True)
    by_tensor = {id(tensor): name for name, tensor in own.items() if name in state}
    # Safetensors keeps a weight that two layers share once.
    state |= {name: state[by_tensor[id(t)]] for name, t in own.items() if name not in state and id(t) in by_tensor}
    shapes = [{name: tensor.shape for name, tensor in of.items()} for of in (own, state)]
    if shapes[0] == shapes[1] and all(alike(tensor, state[name]) for name, tensor in own.items()):
        net.load_state_dict(state)
    else:
        take_state(net, {name: tensor.clone() if name in own else tensor for name, tensor in state.items()})


def smaller_bytes(net: str, smaller: nn.Module, images: Example) -> bytes:
    """The weights of a network without its dead filters, as the content of a safetensors file.

    Raises InputError where `own_network` would not read the same network out of it.
    """
    held = {name: t.detach().cpu().contiguous().clone() for name, t in smaller.state_dict().items()}
    again, inputs = made(net), taken(images)
    try:
        fit(again, held)
        found, wanted = run(again, inputs.to(again)), run(smaller, inputs.to(smaller))
        alike = found.keys() == wanted.keys() and all(
            found[place].shape == tensor.shape and torch.allclose(found[place], tensor.to(found[place]), 1e-3, 1e-5)
            for place, tensor in wanted.items()
        )
    except InputError as error:
        raise InputError(
            f"the smaller network cannot be kept as weights of {net} ({error}); keep it from Python"
        ) from error
    if not alike:
        raise InputError(
            f"the smaller network cannot be kept as weights of {net}: its outputs differ; keep it from Python"
        )
    return safetensors.torch.save(held)
