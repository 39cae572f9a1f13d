"""Pictures from disk on their way into a network: read, cropped and resized by worker processes. A `fullscale.feed.Feed`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dynamics.errors import InputError
from fullscale.data import Files, Pictures
from fullscale.feed import WHOLE, Batch, Share, part_of, whole_batches

Item = tuple[Tensor, int] | InputError

# Of ImageNet's training images, as networks trained on it expect; also used for other pictures.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# Of the picture's area, and width by height, of a random crop: Szegedy et al., arXiv 1409.4842.
AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10
# The shorter side of a test picture before the crop: 256 for 224.
RIM = 256 / 224
# Of the images that come out, in pixels, unless another is asked for.
SIDE = 224
MOST_WORKERS = 16


class Streamed:
    """A `Feed` of pictures that stay on disk.

    files: what `fullscale.data.open_source` gives. size: of the square images that come out. augment: the usual recipe for
    ImageNet: a random crop of 8% to 100% of the area, 3/4 to 4/3 in shape, resized, and mirrored in half of the cases;
    without it, and for all that is measured or tested, the shorter side resized to size * 256 / 224 and the central square.
    Resizing is Pillow's bilinear. Images are normalized by ImageNet's mean and deviation, whatever the files.
    workers: processes that read (None: on CUDA one less than there are cores, at most 16; on a CPU none, the reading being
    done in between). What comes out depends on the generator of an epoch, not on how many workers there are.

    Raises InputError for a size below 1 and a negative number of workers; the iterators raise it for a picture that cannot
    be read.
    """

    def __init__(
        self,
        files: Files,
        device: torch.device | str = "cpu",
        size: int = SIDE,
        augment: bool = True,
        workers: int | None = None,
    ) -> None:
        if size < 1:
            raise InputError(f"size {size}: a positive whole number is accepted")
        if workers is not None and workers < 0:
            raise InputError(f"workers {workers}: a whole number from 0 is accepted")
        self.digest, self.classes = files.digest, files.classes
        self.shape = (3, size, size)
        self.augment = augment
        self.device = torch.device(device)
        cuda = self.device.type == "cuda"
        spare = min(len(os.sched_getaffinity(0)) - 1, MOST_WORKERS) if cuda else 0
        self.workers = spare if workers is None else workers
        self._files = files
        self._mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        self._deviation = torch.tensor(DEVIATION, device=self.device)[:, None, None]

    def steps(self, batch: int) -> int:
        """Whole batches in one epoch. InputError if there is none."""
        return whole_batches(len(self._files.train), batch)

    def epoch(self, batch: int, generator: torch.Generator, share: Share = WHOLE) -> Iterator[Batch]:
        """As `Feed` says. Random numbers are drawn on the CPU: an order, and one key for the crops of all pictures."""
        steps = self.steps(batch)
        order = torch.randperm(len(self._files.train), generator=generator)[: steps * batch]
        key = int(torch.randint(2**63 - 1, (), generator=generator))
        chosen = part_of(order, batch, share).tolist()
        return self._batches(self._files.train, chosen, batch // share[1], key if self.augment else None)

    def training(self, batch: int) -> Iterator[Batch]:
        """As `Feed` says."""
        return self._batches(self._files.train, range(len(self._files.train)), batch, None)

    def test(self, batch: int) -> Iterator[Batch]:
        """As `Feed` says."""
        return self._batches(self._files.test, range(len(self._files.test)), batch, None)

    def held_out(self, batch: int) -> Iterator[Batch]:
        """As `Feed` says: none."""
        return iter(())

    def _batches(self, pictures: Pictures, order: list[int] | range, batch: int, key: int | None) -> Iterator[Batch]:
        cuda = self.device.type == "cuda"
        loader: DataLoader[Item] = DataLoader(
            _Squares(pictures, self.shape[1], key),
            batch_size=batch,
            sampler=order,
            num_workers=self.workers,
            collate_fn=_collated,
            pin_memory=cuda,
            # Its own, since a loader draws from the global one otherwise; nothing here depends on what it gives.
            generator=torch.Generator(),
        )
        for found in loader:
            if isinstance(found, str):
                raise InputError(found)
            x, y = (tensor.to(self.device, non_blocking=cuda) for tensor in found)
            yield (x.float() / 255 - self._mean) / self._deviation, y


class _Squares(Dataset[Item]):
    """Pictures as uint8 (3, size, size) with their labels. key: of the random crops; None: the central ones.

    A picture that cannot be read is returned as the InputError: raised, it would come out of a worker as a whole trace."""

    def __init__(self, pictures: Pictures, size: int, key: int | None) -> None:
        self.pictures, self.size, self.key = pictures, size, key

    def __getitem__(self, index: int) -> Item:
        try:
            picture = self.pictures.read(index)
        except InputError as error:
            return error
        if self.key is None:
            square = centre(picture, self.size)
        else:
            square = crop(picture, self.size, uniform(self.key, index, 4 * ATTEMPTS + 1))
        return torch.from_numpy(square.transpose(2, 0, 1).copy()), int(self.pictures.labels[index])


def _collated(items: list[Item]) -> Batch | str:
    pairs = [item for item in items if not isinstance(item, InputError)]
    if len(pairs) < len(items):
        return next(str(item) for item in items if isinstance(item, InputError))
    return torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs], dtype=torch.int64)


def uniform(key: int, index: int, count: int) -> list[float]:
    """`count` numbers in [0, 1) that key and index alone decide."""
    # Raw bits, since NumPy keeps those of Philox the same in every version.
    bits = np.random.Philox(key=np.array([key, index], dtype=np.uint64)).random_raw(count)
    return [float(word >> np.uint64(11)) * 2.0**-53 for word in bits]


def box(height: int, width: int, draws: list[float]) -> tuple[int, int, int, int]:
    """A random crop (left, top, right, bottom) of a picture of this size, from 4 draws in [0, 1) an attempt: area and the
    logarithm of the shape uniform in `AREA` and `RATIO`, then the place; where none of the attempts fits into the picture, the
    largest central one whose shape is accepted. It is torchvision's RandomResizedCrop."""
    low, high = (math.log(ratio) for ratio in RATIO)
    for attempt in range(ATTEMPTS):
        a, r, u, v = draws[4 * attempt : 4 * attempt + 4]
        area = height * width * (AREA[0] + a * (AREA[1] - AREA[0]))
        ratio = math.exp(low + r * (high - low))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(u * (width - w + 1)), int(v * (height - h + 1))
            return left, top, left + w, top + h
    w = max(min(width, round(height * RATIO[1])), 1)
    h = max(min(height, round(width / RATIO[0])), 1)
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def crop(picture: NDArray[np.uint8], size: int, draws: list[float]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) -> (size, size, 3): the random crop that `draws` decide, mirrored where the last is below 1/2."""
    height, width = picture.shape[:2]
    part = Image.fromarray(picture).crop(box(height, width, draws))
    square = np.asarray(part.resize((size, size), Image.Resampling.BILINEAR))
    return square[:, ::-1] if draws[-1] < 0.5 else square


def centre(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) -> (size, size, 3): its shorter side resized to size * 256 / 224, then the central square."""
    height, width = picture.shape[:2]
    short = round(size * RIM)
    wide, high = (short * side // min(height, width) for side in (width, height))
    resized = np.asarray(Image.fromarray(picture).resize((wide, high), Image.Resampling.BILINEAR))
    top, left = round((high - size) / 2), round((wide - size) / 2)
    return resized[top : top + size, left : left + size]
