"""The networks: convolution, BatchNorm and ReLU as chains and with residual sums, each rebuilt from a short configuration.

- chain.py     BasicNet, a plain chain
- vgg.py       VGG-11, VGG-16, VGG-19 with BatchNorm
- residual.py  ResNet-20, ResNet-56 (CIFAR), ResNet-18, ResNet-50

`build` makes any of them from an `Architecture`. Names of parameters and shapes are torchvision's where torchvision has
the network with its ImageNet head, so that its weights load. Networks from elsewhere need no configuration: what
measures and removes filters takes any module that torch.export can follow (`fullscale.graph`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import nn

from dynamics.given import kind, number, text, whole
from fullscale.models.chain import LARGEST, Block, Chain, NetConfig, basicnet
from fullscale.models.residual import LAYERS as RESNETS
from fullscale.models.residual import ResNet
from fullscale.models.vgg import PLANS as VGGS
from fullscale.models.vgg import VGG
from fullscale.spec import MODELS, check_model, check_width

__all__ = ["MODELS", "VGG", "Architecture", "Block", "Chain", "NetConfig", "ResNet", "basicnet", "build"]


@dataclass(frozen=True)
class Architecture:
    """One of the known networks. What was removed from it is not told here but by the shapes of its weights.

    model: one of MODELS. width: its numbers of filters are multiplied by this (rounded, at least one).
    in_channels: of the images; classes: number of outputs.
    head: "cifar", for images of some 32 pixels: one linear layer after global average pooling, and ResNets begin with a
    3x3 convolution; "imagenet", for some 224 pixels: VGG's three linear layers, and ResNets begin with 7x7, stride 2, pooling.
    Raises InputError for what is unknown or out of range, and for a head that a model does not have.
    """

    model: str
    width: float = 1.0
    in_channels: int = 3
    classes: int = 10
    head: Literal["cifar", "imagenet"] = "cifar"

    def __post_init__(self) -> None:
        check_model(text("model", self.model), text("head", self.head))
        check_width(number("width", self.width))
        for name in ("in_channels", "classes"):
            whole(name, getattr(self, name), 1, LARGEST)

    def as_dict(self) -> dict[str, Any]:
        """The configuration as plain data, ready for JSON."""
        return asdict(self)


def build(architecture: Architecture) -> nn.Module:
    """The network, with first weights drawn from torch's global generator; its `config` rebuilds it."""
    a = kind("architecture", architecture, Architecture, "an Architecture")
    if a.model == "basicnet":
        return basicnet(a.width, a.in_channels, a.classes)
    net: nn.Module = VGG(a) if a.model in VGGS else ResNet(a)
    return net


assert set(VGGS) | set(RESNETS) | {"basicnet"} == set(MODELS)
