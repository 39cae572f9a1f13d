"""Networks that put out maps, several tensors, or both; and convolutions over one axis and over three."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .chains import Mean, block
from .entry import Network, images, noise


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.deep = block(3, 8), block(8, 12), block(12, 16)
        self.up2, self.up1 = nn.ConvTranspose2d(16, 12, 2, 2), nn.ConvTranspose2d(12, 8, 2, 2)
        self.back2, self.back1, self.head = block(24, 12), block(16, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.deep(F.max_pool2d(two, 2))
        x = self.back2(torch.cat([two, self.up2(x)], 1))
        result: Tensor = self.head(self.back1(torch.cat([one, self.up1(x)], 1)))
        return result


class Segmented(nn.Module):
    """Two heads on two depths, given back by name in the size of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = block(3, 8), nn.Sequential(nn.MaxPool2d(2), block(8, 12))
        self.main, self.aux = (nn.Sequential(block(c, 8), nn.Dropout(0.1), nn.Conv2d(8, 3, 1)) for c in (12, 8))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        size = x.shape[-2:]
        early = self.stem(x)
        out = F.interpolate(self.main(self.body(early)), size=size, mode="bilinear", align_corners=False)
        return {"out": out, "aux": F.interpolate(self.aux(early), size=size, mode="bilinear", align_corners=False)}


class Detection(nn.Module):
    """One head that looks at maps of two sizes: classes and boxes for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.next = block(3, 8), nn.Sequential(nn.MaxPool2d(2), block(8, 8))
        self.tower, self.classes, self.boxes = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 3, 1), nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = [self.stem(x)]
        maps.append(self.next(maps[-1]))
        classes, boxes = [], []
        for each in maps:
            seen = torch.relu(self.tower(each))
            classes.append(self.classes(seen).permute(0, 2, 3, 1).flatten(1, 2))
            boxes.append(self.boxes(seen).permute(0, 2, 3, 1).flatten(1, 2))
        return torch.cat(classes, 1), torch.cat(boxes, 1)


@dataclass
class Found:
    """What `Described` puts out."""

    logits: Tensor
    features: Tensor | None = None


class Described(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.neck, self.head = block(3, 8), nn.Linear(8, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Found:
        features = self.neck(self.body(x).mean((2, 3)))
        return Found(logits=self.head(torch.relu(features)), features=features)


class Pyramid(nn.Module):
    """A feature pyramid: each map of 8 channels is a sum with the coarser one, enlarged."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([block(3, 8), block(8, 12), block(12, 16)])
        self.laterals = nn.ModuleList([nn.Conv2d(c, 8, 1) for c in (8, 12, 16)])
        self.outs = nn.ModuleList([block(8, 6) for _ in range(3)])

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if i else x)
            maps.append(x)
        tops = [self.laterals[2](maps[2])]
        for lateral, each in zip((self.laterals[1], self.laterals[0]), (maps[1], maps[0]), strict=True):
            tops.append(lateral(each) + F.interpolate(tops[-1], scale_factor=2, mode="nearest"))
        return [out(top) for out, top in zip(self.outs, reversed(tops), strict=True)]


def enlarged() -> nn.Module:
    shuffled = [nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.PixelShuffle(2)]
    return nn.Sequential(block(3, 8), *shuffled, nn.Conv2d(4, 3, 3, padding=1))


def generator() -> nn.Module:
    up = [nn.ConvTranspose2d(8, 12, 4, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU()]
    up += [nn.ConvTranspose2d(12, 8, 3, 2, 1, output_padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 1), nn.Tanh()]
    return nn.Sequential(nn.Conv2d(6, 8, 1), nn.ReLU(), *up)


def rebuilt() -> nn.Module:
    small = [block(3, 8), nn.MaxPool2d(2), block(8, 4), nn.Upsample(scale_factor=2, mode="bilinear")]
    return nn.Sequential(*small, block(4, 8), nn.Conv2d(8, 3, 3, padding=1), nn.Sigmoid())


class Audio(nn.Module):
    """Dilated convolutions over time with a gate of tanh and sigmoid, as WaveNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, 8, 5, 2), nn.BatchNorm1d(8), nn.ReLU())
        self.seen, self.gate = (nn.Conv1d(8, 8, 3, padding=2, dilation=2) for _ in range(2))
        self.last = nn.Sequential(nn.Conv1d(8, 8, 1, bias=False), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.tanh(self.seen(x)) * torch.sigmoid(self.gate(x))
        result: Tensor = self.head(self.last(x).mean(-1))
        return result


class Simple(nn.Conv3d):
    """A convolution by another name, as torchvision's r3d_18 has it."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__(inputs, filters, 3, padding=1, bias=False)


class Video(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Simple(2, 8), nn.BatchNorm3d(8), nn.ReLU(inplace=True))
        self.a = nn.Sequential(Simple(8, 8), nn.BatchNorm3d(8), nn.ReLU(inplace=True))
        self.b = nn.Sequential(Simple(8, 8), nn.BatchNorm3d(8))
        self.pool, self.head = nn.AdaptiveAvgPool3d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(self.b(self.a(x)) + x)
        result: Tensor = self.head(self.pool(x).flatten(1))
        return result


NETWORKS = (
    Network(
        "unet",
        UNet,
        images(),
        10,
        dead={"down1.1": (0,), "down2.1": (1, 2), "deep.1": (3, 15), "back2.1": (4,), "back1.1": (7,)},
        # Nothing rectifies these: weights and shift 0.
        zero={"up2": (0, 1), "up1": (7,)},
    ),
    Network(
        "segmentation",
        Segmented,
        images(),
        6,
        dead={"stem.1": (0,), "body.1.1": (1, 11), "main.0.1": (2,), "aux.0.1": (3,)},
        constant={"main.0.1": (5,)},
    ),
    Network("detection", Detection, images(), 4, dead={"stem.1": (0,), "next.1.1": (0,), "tower": (2, 5)}),
    # What is put out stays.
    Network("dataclass", Described, images(), 2, dead={"body.1": (0, 1), "neck": (2,)}),
    Network(
        "pyramid",
        Pyramid,
        images(),
        7,
        dead={"stages.0.1": (0,), "stages.1.1": (1, 5), "stages.2.1": (2,)},
        zero={f"laterals.{i}": (3,) for i in range(3)},
    ),
    # Four channels become one: the ninth alone stays.
    Network("pixel shuffle", enlarged, images(), 5, dead={"0.1": (2,), "1": (4, 5, 6, 7, 9)}),
    # Behind a transposed convolution a constant is none.
    Network("generator", generator, images(6, 4), 5, dead={"0": (0, 1), "3": (2, 3), "5": (7,)}, constant={"0": (5,)}),
    Network("autoencoder", rebuilt, images(), 4, dead={"0.1": (0, 1), "2.1": (2,), "4.1": (3,)}),
    Network(
        "audio",
        Audio,
        lambda: noise(7, 3, 1, 40),
        5,
        dead={"stem.1": (0, 1), "last.1": (5,)},
        zero={"seen": (3,)},
        constant={"last.1": (6,)},
    ),
    Network(
        "video", Video, lambda: noise(7, 2, 2, 4, 6, 6), 7, dead={"stem.1": (0, 1), "b.1": (0, 1), "a.1": (5, 6, 7)}
    ),
    # What is put out stays.
    Network("mean head", lambda: nn.Sequential(block(3, 8), Mean()), images(), 0, dead={"0.1": (0,)}),
)
