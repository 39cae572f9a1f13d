"""Images on their way into a network: normalized, shuffled, augmented, where the network is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from dynamics.errors import InputError
from fullscale.data import Images, Split
from fullscale.spec import SHIFT

Batch = tuple[Tensor, Tensor]
# Which part of each batch a process takes, of how many.
Share = tuple[int, int]
WHOLE = (0, 1)


class Feed(Protocol):
    """Where a training run gets its images from.

    digest: of the data. classes: their names. shape: (C, H, W) of the images that come out. augment: whether those of an
    epoch are changed at random. All batches are images (n, C, H, W), float32, normalized, and labels (n,), int64, on the
    device of the feed.
    """

    digest: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    augment: bool

    def steps(self, batch: int) -> int:
        """Whole batches in one epoch."""
        ...

    def epoch(self, batch: int, generator: torch.Generator, share: Share = WHOLE) -> Iterator[Batch]:
        """The whole batches of one epoch, or the same part of each, in an order, and with an augmentation, that the generator
        alone decides."""
        ...

    def training(self, batch: int) -> Iterator[Batch]:
        """All training images in order, as they are."""
        ...

    def test(self, batch: int) -> Iterator[Batch]:
        """All test images in order, as they are."""
        ...

    def held_out(self, batch: int) -> Iterator[Batch]:
        """All images that are neither trained on nor tested on, in order, as they are; often none."""
        ...


class Resident:
    """A `Feed` whose images all lie on the device, as bytes; all work on them is done there.

    Each channel has mean 0 and variance 1 over the training images. augment: each of them is shifted by up to `shift` pixels
    to each side and, in half of the cases, mirrored. held_out: images that are neither trained on nor tested on.
    """

    def __init__(
        self,
        images: Images,
        device: torch.device | str = "cpu",
        augment: bool = False,
        shift: int = SHIFT,
        held_out: Split | None = None,
    ) -> None:
        self.digest, self.classes = images.digest, images.classes
        channels, height, width = images.train.images.shape[1:]
        self.shape = (channels, height, width)
        self.augment, self.shift = augment, shift
        self.device = torch.device(device)
        mean = images.train.images.mean(axis=(0, 2, 3), dtype=np.float64)[:, None, None]
        spread = images.train.images.std(axis=(0, 2, 3), dtype=np.float64)[:, None, None]
        scale = np.where(spread > 0, spread, 1.0)
        self._mean, self._scale = (torch.from_numpy(x.astype(np.float32)).to(device) for x in (mean, scale))
        self._train, self._test = self._on_device(images.train), self._on_device(images.test)
        self._held_out = held_out and self._on_device(held_out)

    def _on_device(self, split: Split) -> Batch:
        # torch takes neither read-only arrays nor backward ones.
        images, labels = (np.require(x, requirements=["C", "W"]) for x in (split.images, split.labels))
        return torch.from_numpy(images).to(self.device), torch.from_numpy(labels).to(self.device)

    def _normalized(self, pixels: Tensor) -> Tensor:
        return (pixels.float() - self._mean) / self._scale

    def steps(self, batch: int) -> int:
        """Whole batches in one epoch. InputError if there is none."""
        return whole_batches(len(self._train[0]), batch)

    def epoch(self, batch: int, generator: torch.Generator, share: Share = WHOLE) -> Iterator[Batch]:
        """As `Feed` says. Random numbers are drawn on the CPU, so that they are the same for every device."""
        pixels, labels = self._train
        steps = self.steps(batch)
        order = torch.randperm(len(pixels), generator=generator)[: steps * batch]
        # All at once: one copy to the device an epoch.
        moves = torch.empty(0)
        if self.augment:
            shifts = torch.randint(0, 2 * self.shift + 1, (2, len(order)), generator=generator)
            mirrors = torch.randint(0, 2, (1, len(order)), generator=generator)
            moves = part_of(torch.cat([shifts, mirrors]), batch, share).to(self.device)
        order = part_of(order, batch, share).to(self.device)
        batch //= share[1]
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            x = pixels[chosen]
            if self.augment:
                down, right, mirror = moves[:, start : start + batch]
                x = shifted(x, down, right, mirror, self.shift)
            yield self._normalized(x), labels[chosen]

    def training(self, batch: int) -> Iterator[Batch]:
        """As `Feed` says."""
        return self._in_order(self._train, batch)

    def test(self, batch: int) -> Iterator[Batch]:
        """As `Feed` says."""
        return self._in_order(self._test, batch)

    def held_out(self, batch: int) -> Iterator[Batch]:
        """As `Feed` says."""
        return self._in_order(self._held_out, batch) if self._held_out else iter(())

    def _in_order(self, part: Batch, batch: int) -> Iterator[Batch]:
        for x, y in zip(part[0].split(batch), part[1].split(batch), strict=True):
            yield self._normalized(x), y


def whole_batches(count: int, batch: int) -> int:
    """How many of `batch` images there are among `count`. InputError if there is none."""
    if batch > count:
        raise InputError(f"batch {batch}: must be at most {count}, the number of training images")
    return count // batch


def part_of(order: Tensor, batch: int, share: Share) -> Tensor:
    """What is (..., steps * batch) -> the same part of each batch, (..., steps * batch / parts)."""
    which, parts = share
    parted: Tensor = order.unflatten(-1, (-1, parts, batch // parts))  # type: ignore[no-untyped-call]
    return parted[..., which, :].flatten(-2)


def shifted(pixels: Tensor, down: Tensor, right: Tensor, mirror: Tensor, shift: int = SHIFT) -> Tensor:
    """Each image (n, C, H, W) as seen through a window that lies `down` and `right` (n,), 0 to twice `shift`, in it with a
    black border of `shift` pixels, mirrored where `mirror` is 1."""
    count, channels, height, width = pixels.shape
    device = pixels.device
    rows = down[:, None] + torch.arange(height, device=device)
    across = torch.arange(width, device=device)
    columns = right[:, None] + torch.where(mirror[:, None] == 1, across.flip(0), across)
    image = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return pad(pixels, (shift,) * 4)[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def joined(parts: Iterator[Batch], limit: int) -> Batch:
    """The first batches of a feed, up to `limit` images, as one."""
    xs, ys, count = [], [], 0
    for x, y in parts:
        xs.append(x)
        ys.append(y)
        count += len(x)
        if count >= limit:
            break
    return torch.cat(xs)[:limit], torch.cat(ys)[:limit]
