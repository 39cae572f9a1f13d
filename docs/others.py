"""Optimizers of packages that the suite does not need: those that do what they say, and those that do not.

They are probed where they are installed: `pip install --no-deps timm bitsandbytes torch_optimizer lion-pytorch
adabelief-pytorch heavyball tabulate`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

PACKAGES = ("timm", "bitsandbytes", "torch_optimizer", "lion_pytorch", "adabelief_pytorch", "heavyball")
_DECAY = {"weight_decay": 0.05}


@dataclass(frozen=True)
class Other:
    """kind: the class, as package.Class; module: where it is; settings: its arguments; rule, coupling: what it claims to be."""

    kind: str
    module: str
    settings: Mapping[str, Any]
    rule: str
    coupling: str

    def make(self) -> Callable[..., Any]:
        """A factory, of parameters."""
        kind = getattr(_module(self.module), self.kind.partition("(")[0].rpartition(".")[2])
        return lambda parameters: kind(parameters, **self.settings)


@dataclass(frozen=True)
class Differing(Other):
    """documented: what its own documentation says, and where that stands; says: words of the probe's line."""

    documented: str
    says: str


RIGHT = (
    Other("timm.AdamWLegacy", "timm.optim.adamw", _DECAY, "adam", "decoupled_lr"),
    Other("timm.Lion", "timm.optim.lion", _DECAY, "lion", "decoupled_lr"),
    Other("timm.NAdamLegacy", "timm.optim.nadam", _DECAY, "nadam", "l2"),
    Other("timm.SGDW", "timm.optim.sgdw", {"lr": 0.1, **_DECAY}, "sgd", "decoupled_lr"),
    Other("timm.SGDW(momentum=)", "timm.optim.sgdw", {"lr": 0.1, "momentum": 0.9, **_DECAY}, "momentum", "decoupled_lr"),
    Other("bitsandbytes.AdamW", "bitsandbytes.optim", _DECAY, "adam", "decoupled_lr"),
    Other("bitsandbytes.Lion", "bitsandbytes.optim", _DECAY, "lion", "decoupled_lr"),
    Other("bitsandbytes.SGD", "bitsandbytes.optim", {"lr": 0.1, "momentum": 0.9, **_DECAY}, "momentum", "l2"),
    Other("bitsandbytes.RMSprop", "bitsandbytes.optim", {"alpha": 0.9, **_DECAY}, "rmsprop", "l2"),
    Other("bitsandbytes.Adagrad", "bitsandbytes.optim", _DECAY, "adagrad", "l2"),
    Other("torch_optimizer.AdaBelief", "torch_optimizer", _DECAY, "adabelief", "l2"),
    Other("torch_optimizer.QHAdam", "torch_optimizer", _DECAY, "adam", "l2"),
    Other("lion_pytorch.Lion", "lion_pytorch", _DECAY, "lion", "decoupled_lr"),
    Other(
        "adabelief_pytorch.AdaBelief", "adabelief_pytorch",
        {"weight_decouple": True, "rectify": False, "print_change_log": False, **_DECAY}, "adabelief", "decoupled_lr",
    ),
    Other(
        "adabelief_pytorch.AdaBelief(weight_decouple=False)", "adabelief_pytorch",
        {"weight_decouple": False, "rectify": False, "print_change_log": False, **_DECAY}, "adabelief", "l2",
    ),
)  # fmt: skip

DIFFERING = (
    Differing(
        "torch_optimizer.SGDW", "torch_optimizer", {"lr": 0.1, "momentum": 0.9, **_DECAY}, "momentum", "decoupled_lr",
        "SGDW of Decoupled Weight Decay Regularization (docstring): every weight shrinks by the factor 1 - lr x decay",
        "a constant x lr taken from every weight",
    ),
    Differing(
        "torch_optimizer.RAdam", "torch_optimizer", _DECAY, "radam", "l2",
        "weight_decay: weight decay (L2 penalty) (docstring)", "what acts is weight decay x lr",
    ),
    Differing(
        "bitsandbytes.Adam", "bitsandbytes.optim", _DECAY, "adam", "l2",
        "Adam beside an AdamW, weight_decay: the weight decay value for the optimizer (docstring)",
        "what acts is weight decay x lr",
    ),
    Differing(
        "heavyball.SGD", "heavyball", {"lr": 0.1, "compile_step": False, **_DECAY}, "momentum", "l2",
        "SGD with heavy-ball momentum (docstring)", "what acts is weight decay x lr",
    ),
)  # fmt: skip


def installed(several: tuple[Any, ...]) -> Iterator[Any]:
    """Those whose package is here."""
    for other in several:
        if importlib.util.find_spec(other.module.partition(".")[0]) is not None:
            yield other


def silent(other: Differing) -> tuple[list[float], list[float]]:
    """(as it claims to be, as it acts): where weights of 1 and -1 are after 100 steps with gradients of 0."""
    from dynamics.optimizer import Optimizer

    def claimed(parameters: Any) -> Optimizer:
        settings = {name: value for name, value in other.settings.items() if name in ("lr", "momentum", "weight_decay")}
        return Optimizer(parameters, other.rule, other.coupling, **settings)

    return _led(claimed), _led(other.make())


def _led(make: Callable[..., Any]) -> list[float]:
    import torch

    weights = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    optimizer = make([weights])
    for _ in range(100):
        weights.grad = torch.zeros(2)
        optimizer.step()
    found: list[float] = weights.detach().tolist()
    return found


def _module(name: str) -> ModuleType:
    """A module. Of timm its optimizers alone: its networks need torchvision."""
    if name.startswith("timm."):
        for package in ("timm", "timm.optim"):
            if package not in sys.modules:
                spec = importlib.util.find_spec(package)
                assert spec is not None
                sys.modules[package] = importlib.util.module_from_spec(spec)
    return importlib.import_module(name)
