"""Pictures of any size that stay on disk and are read one by one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from . import layout, pixels
from .images import check_labels
from .tree import LARGEST, Survey, Tree, picture


@dataclass(frozen=True, eq=False)
class Pictures:
    """Labelled pictures on disk, as arrays, so that a million of them take little memory in each process that reads.

    root: the folder that they are in, or the uncompressed tar. names: (N,) paths below it, as bytes; offsets: (N,) int64, where
    each begins in the tar, or None where each is a file; sizes: (N,) int64, in bytes; labels: (N,) int64.
    """

    root: Path
    names: NDArray[np.bytes_]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    offsets: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> NDArray[np.uint8]:
        """The pixels of one picture: uint8 (H, W, 3).

        Raises InputError, naming the picture, if it cannot be read, is not as long as it was, or does not decode.
        """
        name, size = os.fsdecode(self.names[index]), int(self.sizes[index])
        shown = f"{str(self.root)!r}: {name!r}"
        if size > LARGEST:
            raise InputError(f"{shown}: a file of more than {LARGEST} bytes: smaller ones are accepted")
        try:
            with (self.root / name if self.offsets is None else self.root).open("rb") as file:
                if self.offsets is not None:
                    file.seek(int(self.offsets[index]))
                    data = file.read(size)
                else:
                    data = file.read(size + 1)
        except OSError as error:
            raise InputError(f"{shown} cannot be read ({error.strerror}): a readable picture is accepted") from error
        if len(data) != size:
            raise InputError(f"{shown} had {size} bytes, and has not now: pictures that stay as they are are accepted")
        return pixels.colour(pixels.decode(data, shown))


@dataclass(frozen=True, eq=False)
class Files:
    """A classification task whose pictures are read when they are needed: `files.train.read(index)`.

    name: for reports; classes: their names, in the order of the labels; train, test: each in the order of classes and names.
    digest: sha256 (hexadecimal) over the class names and, for each picture, its side, name, class and size in bytes, not
    over its content: to read ImageNet takes as long as to train on it for an epoch. It is one for ImageNet in all of its
    layouts, and does not notice a picture that was replaced by one of the same name and length.
    Raises InputError for fewer than two classes, and for a class without pictures on either side.
    """

    name: str
    classes: tuple[str, ...]
    train: Pictures
    test: Pictures
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise InputError(f"{self.name!r} has {len(self.classes)} class: two or more are accepted")
        check_labels(self.name, self.classes, train=self.train.labels, test=self.test.labels)
        object.__setattr__(self, "digest", _digest(self))


def _digest(files: Files) -> str:
    digest = hashlib.sha256(ascii(files.classes).encode())
    for side, pictures in (("train", files.train), ("test", files.test)):
        for name, size, label in zip(pictures.names, pictures.sizes.tolist(), pictures.labels.tolist(), strict=True):
            digest.update(b"\n%s %d %d %s" % (side.encode(), label, size, name.rsplit(b"/", 1)[-1]))
    return digest.hexdigest()


def in_folder(root: Path, paths: list[layout.Parts], labels: NDArray[np.int64]) -> Pictures:
    """Pictures that are files below a folder. labels: (N,), one a path. Raises OSError for what is not there."""
    sizes = np.array([os.stat(root.joinpath(*path)).st_size for path in paths], dtype=np.int64)
    return Pictures(root, np.array([os.fsencode("/".join(path)) for path in paths]), sizes, labels)


def listing(tree: Tree, seen: Survey) -> Files:
    """The pictures of a folder where they are, with classes and sides as `layout.arrange` finds them.

    Raises InputError as it does.
    """
    found = layout.arrange(tree.source, seen.folders, [path for path in seen.files if picture(path)])
    sides = (found.train, found.train_labels), (found.test, found.test_labels)
    return Files(tree.name, found.classes, *(in_folder(tree.path, *side) for side in sides))
