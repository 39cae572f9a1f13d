"""What every source of images ends as, and the parts that can be taken of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError
from dynamics.given import items, kind, number, shown, whole

from .pixels import area_average

SHARE = 0.2
SEED = 0


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    images: uint8 (N, C, H, W), C one or three, pixel values as the source holds them;
    labels: int64 (N,), each the index of a class. Raises InputError for other shapes or types.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("images", "labels"):
            kind(name, getattr(self, name), np.ndarray, "an array of NumPy")
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[1] not in (1, 3) or 0 in shape[2:]:
            raise InputError(f"images {self.images.dtype} {shape}: uint8 (N, 1 or 3, height, width) is accepted")
        if self.labels.dtype != np.int64 or self.labels.shape != shape[:1]:
            raise InputError(
                f"labels {self.labels.dtype} {self.labels.shape}: int64 {shape[:1]}, one an image, is accepted"
            )

    def take(self, chosen: NDArray[np.int64]) -> Split:
        """The images at these indices, in this order."""
        return Split(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Images:
    """A classification task: images to learn from and images to be judged by.

    name: for reports; classes: their names, in the order of the labels; train, test: disjoint, of one image size;
    digest: sha256 (hexadecimal) over class names, shapes, types, pixels and labels of both splits, not the name.
    Raises InputError for fewer than two classes, a class without images on either side, or two image sizes.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise InputError(
                f"{self.name!r} has {len(self.classes)} class {list(self.classes)}: two or more are accepted"
            )
        one, other = self.train.images.shape[1:], self.test.images.shape[1:]
        if one != other:
            raise InputError(f"{self.name!r}: train images are {one}, test images {other}: one (C, H, W) is accepted")
        check_labels(self.name, self.classes, train=self.train.labels, test=self.test.labels)
        object.__setattr__(self, "digest", _digest(self))

    def validation(self, share: float = SHARE, seed: int = SEED) -> Images:
        """The same task with a part of train in the place of test, for choosing without a look at the real test.

        share: of each class, strictly between 0 and 1; seed: which images, a whole number from 0.
        A class gives round(share * its images), at least one and at most all but one; order is kept.
        Raises InputError for another share or seed, and for a class with one image.
        """
        kept, given = halves(repr(self.name), self.classes, self.train.labels, share, seed)
        return replace(self, train=self.train.take(kept), test=self.train.take(given))

    def select(self, classes: Sequence[str]) -> Images:
        """An easier task: only these classes, relabelled 0..k-1 in the order that they have here.

        Raises InputError for a class that is not here and for fewer than two.
        """
        for name in items("classes", classes, "names"):
            if not isinstance(name, str) or name not in self.classes:
                raise InputError(
                    f"class {shown(name)}: of {self.name!r}, {', '.join(map(repr, self.classes))} are accepted"
                )
        kept = [index for index, name in enumerate(self.classes) if name in classes]
        if len(kept) < 2:
            raise InputError(f"{list(classes)} selects {len(kept)} class of {self.name!r}: two or more are accepted")
        new = np.full(len(self.classes), -1, dtype=np.int64)
        new[kept] = np.arange(len(kept))

        def part(split: Split) -> Split:
            labels = new[split.labels]
            return Split(split.images[labels >= 0], labels[labels >= 0])

        names = tuple(self.classes[index] for index in kept)
        return replace(self, classes=names, train=part(self.train), test=part(self.test))

    def resized(self, size: int) -> Images:
        """The same task in images of size x size pixels: each pixel the average over the area that it covers, as
        `pixels.area_average` rounds it.

        Raises InputError for images that are not square, which an average would distort, and for a size below 1 or
        above theirs.
        """
        size = whole("size", size, high=2**31)
        height, width = self.train.images.shape[2:]
        if height != width:
            raise InputError(f"size {size} for {self.name!r} of {height} x {width} pixels: square images are accepted")
        if not 1 <= size <= height:
            raise InputError(f"size {size} for {self.name!r}: 1 to {height}, the size that it has, is accepted")
        if size == height:
            return self
        train, test = (Split(area_average(split.images, size), split.labels) for split in (self.train, self.test))
        return replace(self, train=train, test=test)

    def mislabelled(self, share: float) -> Images:
        """A task that must be learned by heart in part: round(share * N) of the N training images get another label, drawn
        among all classes alike, their own included, as in Zhang et al. 2017 (arXiv 1611.03530). At 1 no label says
        anything.

        Always the same images and labels: a larger share changes more, and what a smaller one changed in the same way.
        Test labels stay. Raises InputError for a share outside [0, 1], and if a class is left without images.
        """
        share = number("label noise", share, 0, 1)
        labels = self.train.labels.copy()
        # Raw bits: see `halves`.
        ranks, draws = np.random.PCG64(SEED).random_raw((2, len(labels)))
        chosen = np.argsort(ranks, kind="stable")[: round(share * len(labels))]
        labels[chosen] = draws[chosen] % len(self.classes)
        return replace(self, train=Split(self.train.images, labels))


def check_labels(name: str, classes: Sequence[str], **sides: NDArray[np.int64]) -> None:
    """Raises InputError, on both sides of a task, for labels (N,) of no class and for a class without images."""
    for side, labels in sides.items():
        wrong = labels[(labels < 0) | (labels >= len(classes))]
        if wrong.size:
            raise InputError(f"{name!r}: label {wrong[0]} in {side}: 0 to {len(classes) - 1} are accepted")
        counts = np.bincount(labels, minlength=len(classes))
        if not counts.all():
            empty = classes[int(np.argmin(counts))]
            raise InputError(f"{name!r}: class {empty!r} is without images in {side}: one or more are accepted")


def halves(
    source: str, classes: Sequence[str], labels: NDArray[np.int64], share: float = SHARE, seed: int = SEED
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels (N,) in two stratified parts, as `Images.validation` makes them: the indices of both, in order.

    source: how messages name it. Raises InputError as `Images.validation` does.
    """
    if not 0 < number("share", share) < 1:
        raise InputError(f"share {share!r}: a number between 0 and 1 is accepted")
    seed = whole("seed", seed, 0, 2**128 - 1)
    # Raw bits, since NumPy keeps those of PCG64 the same in every version, but not what Generator makes of them.
    ranks = np.random.PCG64(seed).random_raw(len(labels))
    given = np.zeros(len(labels), dtype=bool)
    for label, class_name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        count = len(members)
        if count < 2:
            raise InputError(
                f"{source}: class {class_name!r} has too few images to split ({count}): two or more are accepted"
            )
        share_of_class = min(max(round(share * count), 1), count - 1)
        given[members[np.argsort(ranks[members], kind="stable")[:share_of_class]]] = True
    return np.flatnonzero(~given), np.flatnonzero(given)


def _digest(images: Images) -> str:
    digest = hashlib.sha256(ascii(images.classes).encode())
    for split in (images.train, images.test):
        # Little-endian, so that every machine finds the same digest.
        for array in (split.images, split.labels.astype("<i8")):
            digest.update(f"{array.dtype.name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
