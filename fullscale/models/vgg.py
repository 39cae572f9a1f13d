"""VGG with BatchNorm after every convolution.

Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv 1409.1556), its
configurations A, D and E. The CIFAR head is the usual one since Li et al. (arXiv 1608.08710): one linear layer on the last
convolution's 512 filters. Chosen here: pools take in what is left at an odd border (ceil_mode), so that images smaller than 32
pixels fit; at 32 and 224 pixels nothing changes by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from fullscale.models import Architecture

# Filters of each convolution; "M": 2x2 max pooling.
PLANS: dict[str, tuple[int | str, ...]] = {
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "vgg19": (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M"),
}
HIDDEN = 4096


class VGG(nn.Module):
    """Convolutions with BatchNorm and ReLU, max pooling between them, a head.

    forward: images (N, C, H, W) -> logits (N, classes).
    """

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        reads = config.in_channels
        for step in PLANS[config.model]:
            if isinstance(step, str):
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            else:
                filters = max(1, round(config.width * step))
                conv = nn.Conv2d(reads, filters, 3, padding=1)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(torch.as_tensor(conv.bias))
                layers += [conv, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
                reads = filters
        self.features = nn.Sequential(*layers)
        if config.head == "imagenet":
            hidden = max(1, round(config.width * HIDDEN))
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier: nn.Module = nn.Sequential(
                nn.Linear(reads * 49, hidden), nn.ReLU(inplace=True), nn.Dropout(),
                nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(),
                nn.Linear(hidden, config.classes),
            )  # fmt: skip
        else:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Linear(reads, config.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        logits: torch.Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits
