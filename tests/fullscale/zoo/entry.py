"""What an entry of the zoo is: how to build it, what it takes, which of its units are made dead, and how many of them can go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

# What a network is called with: one tensor, several in order, or several by name.
Example = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
# Of layers, by name in the network: which units.
Units = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Holder:
    """The tensor that decides over a layer's units: unit i is dead where weight's slice i along dim is 0 and shift[i] <= 0."""

    weight: Tensor
    dim: int
    shift: Tensor | None

    @property
    def units(self) -> int:
        return self.weight.shape[self.dim]


@dataclass(frozen=True)
class Network:
    """A small network with units that are dead, or constant, by its weights.

    dead: units of scale 0 (or with weights 0) and a shift below 0, for layers with a ReLU behind them; zero: of shift 0;
    constant: of a shift above 0. ceiling: how many of these the architecture lets go at most.
    """

    name: str
    build: Callable[[], nn.Module]
    example: Callable[[], Example]
    ceiling: int
    dead: Units = field(default_factory=dict)
    zero: Units = field(default_factory=dict)
    constant: Units = field(default_factory=dict)

    @property
    def planted(self) -> dict[str, tuple[int, ...]]:
        """All of them, by layer."""
        every: dict[str, tuple[int, ...]] = {}
        for kind in (self.dead, self.zero, self.constant):
            for name, units in kind.items():
                every[name] = every.get(name, ()) + units
        return every

    def plant(self, net: nn.Module, generator: torch.Generator) -> int:
        """Make the units so; how many they are."""
        for units_of, sign in ((self.dead, -1.0), (self.zero, 0.0), (self.constant, 1.0)):
            for name, units in units_of.items():
                silence(holder(net, name), units, sign, generator)
        return sum(map(len, self.planted.values()))

    def removed(self, net: nn.Module, smaller: nn.Module) -> int:
        """How many units fewer the layers have in which some were planted; of each layer, no more than were planted."""
        return sum(
            min(holder(net, name).units - holder(smaller, name).units, len(units))
            for name, units in self.planted.items()
        )


def holder(net: nn.Module, name: str) -> Holder:
    """Of a layer, or of a matrix (inputs, units) on its own, W_name, with its shift, b_name."""
    path, _, own = name.rpartition(".")
    parent: Any = net.get_submodule(path)
    found: Any = getattr(parent, own)
    if isinstance(found, Tensor):
        return Holder(found, 1, getattr(parent, own.replace("W_", "b_")))
    if parametrize.is_parametrized(found, "weight"):
        return Holder(found.parametrizations.weight.original0, 0, found.bias)
    weight = found.weight_orig if hasattr(found, "weight_orig") else found.weight
    # A transposed convolution's weight is (inputs, units, ...).
    transposed = isinstance(found, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    return Holder(weight, int(transposed), found.bias)


def silence(held: Holder, units: tuple[int, ...], sign: float, generator: torch.Generator) -> None:
    """Scale or weights 0, and a shift of this sign, between 0.1 and 1.1 in size."""
    index = torch.tensor(units, dtype=torch.long)
    with torch.no_grad():
        held.weight.index_fill_(held.dim, index, 0.0)
        if held.shift is not None:
            size = torch.rand(len(units), generator=generator, dtype=torch.float64) + 0.1
            held.shift[index] = (sign * size).to(held.shift)


def settled(net: nn.Module, generator: torch.Generator) -> nn.Module:
    """The network in float64 with random numbers of a sensible size in all that it holds: weights that keep the size of what
    goes through, scales around 1, shifts and running means around 0, running variances around 1."""

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * (high - low) + low)

    def normal(tensor: Tensor, size: float) -> None:
        tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * size)

    net.double()
    slopes = {id(module.weight) for module in net.modules() if isinstance(module, nn.PReLU)}
    with torch.no_grad():
        for name, tensor in (*net.named_parameters(), *net.named_buffers()):
            own = name.rpartition(".")[2]
            if not tensor.is_floating_point() or own.endswith("mask"):
                continue
            if id(tensor) in slopes:
                uniform(tensor, 0.1, 0.4)
            elif own in ("running_var", "original0") or (own == "weight" and tensor.ndim == 1):
                uniform(tensor, 0.5, 1.5)
            elif own == "running_mean":
                normal(tensor, 0.1)
            elif tensor.ndim < 2:
                normal(tensor, 0.3)
            else:
                inputs = tensor[0].numel() if tensor.ndim > 2 else tensor.shape[1]
                normal(tensor, (2 / inputs) ** 0.5)
    return net


def planted(entry: Network, seed: int = 0) -> nn.Module:
    """The entry's network, settled and with its dead units, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    net = settled(entry.build(), generator)
    entry.plant(net, generator)
    return net.eval()


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(channels: int = 3, size: int = 12) -> Callable[[], Tensor]:
    return lambda: noise(7, 3, channels, size, size)


def another(example: Example, seed: int) -> Example:
    """Noise of the same shapes; whole numbers and masks are drawn anew from those that are there."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return 2 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        return tensor.flatten()[torch.randint(tensor.numel(), tensor.shape, generator=generator)]

    if isinstance(example, Tensor):
        return drawn(example)
    if isinstance(example, tuple):
        return tuple(drawn(tensor) for tensor in example)
    return {name: drawn(tensor) for name, tensor in example.items()}


def call(net: nn.Module, example: Example) -> Any:
    """What the network puts out for copies of these: it may write into its inputs."""
    if isinstance(example, Tensor):
        return net(example.clone())
    if isinstance(example, tuple):
        return net(*(tensor.clone() for tensor in example))
    return net(**{name: tensor.clone() for name, tensor in example.items()})


def leaves(output: Any) -> Iterator[Tensor]:
    """The tensors of an output, whatever they are in."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for key in output:
            yield from leaves(output[key])
    elif is_dataclass(output):
        for part in fields(output):
            yield from leaves(getattr(output, part.name))
    elif output is not None:
        for part in output:
            yield from leaves(part)


def difference(net: nn.Module, smaller: nn.Module, example: Example) -> float:
    """The largest of any output, by the largest of that output where it is above 1; evaluation mode."""
    with torch.no_grad():
        before, after = (list(leaves(call(each.eval(), example))) for each in (net, smaller))
    assert [x.shape for x in before] == [x.shape for x in after]
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1)) for a, b in zip(before, after, strict=True))


def bits(net: nn.Module) -> dict[str, Any]:
    """All that must not change in a network that is looked at: its numbers, modes, flags and hooks."""
    return {
        "numbers": {name: tensor.detach().clone() for name, tensor in net.state_dict().items()},
        "modes": [module.training for module in net.modules()],
        "flags": [parameter.requires_grad for parameter in net.parameters()],
        "gradients": [parameter.grad is None for parameter in net.parameters()],
        "hooks": [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in net.modules()],
    }


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two of `bits` are equal to the last bit."""
    one, other = before["numbers"], after["numbers"]
    return (
        one.keys() == other.keys()
        and all(one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one)
        and all(before[key] == after[key] for key in before if key != "numbers")
    )
