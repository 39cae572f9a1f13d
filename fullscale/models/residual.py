"""ResNets: blocks whose outputs are added to their inputs.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385): ResNet-20 and ResNet-56 for
CIFAR, ResNet-18 and ResNet-50 for ImageNet. As in torchvision, the stride of a bottleneck is at its 3x3 convolution. Chosen
here: where the shape changes, the shortcut is a 1x1 convolution with BatchNorm (the paper's option B) in CIFAR's networks too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import relu

if TYPE_CHECKING:
    from fullscale.models import Architecture

# Blocks of each stage, and filters of the first.
LAYERS: dict[str, tuple[tuple[int, ...], int]] = {
    "resnet20": ((3, 3, 3), 16),
    "resnet56": ((9, 9, 9), 16),
    "resnet18": ((2, 2, 2, 2), 64),
    "resnet50": ((3, 4, 6, 3), 64),
}
EXPANSION = 4  # of a bottleneck's output over its inner filters


class Basic(nn.Module):
    """Two 3x3 convolutions: (N, inputs, H, W) -> (N, filters, H/stride, W/stride)."""

    def __init__(self, inputs: int, filters: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The rectified sum of the two ways."""
        straight = x if self.downsample is None else self.downsample(x)
        x = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(x)) + straight)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions: (N, inputs, H, W) -> (N, 4 filters, H/stride, W/stride)."""

    def __init__(self, inputs: int, filters: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.conv3 = nn.Conv2d(filters, EXPANSION * filters, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(EXPANSION * filters)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The rectified sum of the two ways."""
        straight = x if self.downsample is None else self.downsample(x)
        x = relu(self.bn1(self.conv1(x)))
        x = relu(self.bn2(self.conv2(x)))
        return relu(self.bn3(self.conv3(x)) + straight)


class ResNet(nn.Module):
    """Stages of blocks, global average pooling, one linear layer.

    forward: images (N, C, H, W) -> logits (N, classes).
    """

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.config = config
        counts, first = LAYERS[config.model]
        filters = max(1, round(config.width * first))
        large = config.head == "imagenet"
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv1 = nn.Conv2d(config.in_channels, filters, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        bottleneck = config.model == "resnet50"
        reads = filters
        for stage, count in enumerate(counts):
            filters = max(1, round(config.width * first * 2**stage))
            blocks = []
            for i in range(count):
                stride = 2 if stage and i == 0 else 1
                gives = EXPANSION * filters if bottleneck else filters
                straight = None
                if stride > 1 or reads != gives:
                    straight = nn.Sequential(nn.Conv2d(reads, gives, 1, stride, bias=False), nn.BatchNorm2d(gives))
                blocks.append((Bottleneck if bottleneck else Basic)(reads, filters, stride, straight))
                reads = gives
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stages = len(counts)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(reads, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = self.maxpool(relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        logits: torch.Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits
