"""What a network takes and what it gives: tensors, alone, several, by keyword, in tuples, dictionaries and dataclasses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from dynamics.errors import InputError
from dynamics.given import kind

# One tensor; several, in their order; or several by keyword.
Example = Tensor | tuple[Any, ...] | Mapping[str, Any]
# So many objects of other classes, one in the other, may hold a tensor of the outputs.
OBJECTS = 3


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of one call of a network."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None

    @property
    def named(self) -> dict[str, Any]:
        """Those given by keyword."""
        return dict(self.kwargs or {})

    def tensors(self) -> list[Tensor]:
        """Every tensor among them, in order."""
        return [tensor for _, tensor in _leaves((self.args, self.named), "")]

    def __len__(self) -> int:
        """How many images, sequences, ... : the first dimension of the first tensor."""
        return len(self.tensors()[0])

    def map(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """The same arguments with every tensor changed."""
        return Inputs(_mapped(self.args, change), _mapped(self.named, change))

    def to(self, net: nn.Module) -> Inputs:
        """Copies on the network's device; floating point numbers in the precision of most of its parameters."""
        sizes: Counter[tuple[torch.device, torch.dtype]] = Counter()
        for p in net.parameters():
            if p.is_floating_point():
                sizes[p.device, p.dtype] += p.numel()
        if not sizes:
            return self.map(lambda t: t.detach().clone())
        device, dtype = sizes.most_common(1)[0][0]
        return self.map(lambda t: t.detach().to(device, dtype if t.is_floating_point() else t.dtype, copy=True))

    def rows(self, start: int, stop: int) -> Inputs:
        """Part of the images: of each tensor that has as many, these rows."""
        count = len(self)
        return self.map(lambda t: t[start:stop] if t.ndim and len(t) == count else t)

    def noise(self, generator: torch.Generator) -> Inputs:
        """The same shapes with standard normal noise instead of floating point numbers; whole numbers stay."""

        def drawn(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)

        return self.map(drawn)

    def shapes(self) -> str:
        """In words, for messages."""
        named = [f"{name}={_shape(value)}" for name, value in self.named.items()]
        return ", ".join([*(_shape(value) for value in self.args), *named])


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def taken(example: Any, numbers: bool = True) -> Inputs:
    """The arguments that an example stands for: one tensor, a tuple of arguments, or a dictionary of keyword arguments.

    Raises InputError for an example without tensors, for tensors without a single image, and, if they must have numbers, for
    those on the meta device.
    """
    if isinstance(example, Inputs):
        inputs = example
    elif isinstance(example, Mapping):
        inputs = Inputs((), dict(example))
    else:
        inputs = Inputs(example if isinstance(example, tuple) else (example,))
    tensors = inputs.tensors()
    if not tensors or tensors[0].ndim == 0:
        raise InputError(
            f"an example of type {type(example).__name__}: a tensor (N, ...), a tuple of the arguments of forward or a "
            "dictionary of its keyword arguments is accepted"
        )
    if numbers and any(tensor.is_meta for tensor in tensors):
        raise InputError(f"inputs of shape {inputs.shapes()} on the meta device: tensors with numbers are accepted")
    if "sparse" in str(tensors[0].layout):
        raise InputError(f"inputs of {tensors[0].layout}: dense tensors are accepted")
    if any(tensor.numel() == 0 for tensor in tensors):
        raise InputError(f"inputs of shape {inputs.shapes()}: one image or more is accepted")
    return inputs


def outputs(result: Any) -> dict[str, Tensor]:
    """Every tensor of what a network gives, by its place there: "" for a lone one, ".logits", "[1]", "['out']".

    Objects of any class are looked into, as far as their attributes go.
    """
    return dict(_leaves(result, "", objects=OBJECTS))


def _leaves(value: Any, place: str, objects: int = 0) -> Iterator[tuple[str, Tensor]]:
    """objects: how many objects that are no containers may stand around a tensor."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{place}[{key!r}]", objects)
    elif is_dataclass(value) and not isinstance(value, type):
        for own in fields(value):
            yield from _leaves(getattr(value, own.name), f"{place}.{own.name}", objects)
    elif isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from _leaves(part, f"{place}[{i}]", objects)
    elif objects and not isinstance(value, type | nn.Module) and type(getattr(value, "__dict__", None)) is dict:
        for name, part in vars(value).items():
            yield from _leaves(part, f"{place}.{name}", objects - 1)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def plain(net: nn.Module) -> nn.Module:
    """The network itself, out of what torch.compile, the parallel containers and averaging wrap around it."""
    kind("net", net, nn.Module, "a torch.nn.Module")
    while True:
        inner = getattr(net, "_orig_mod", None)
        if inner is None and isinstance(net, DataParallel | DistributedDataParallel | AveragedModel):
            inner = net.module
        if not isinstance(inner, nn.Module):
            return net
        net = inner
