"""Where pictures lie in a tree -> classes, train and test."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from .images import Images, Split, halves

Parts = tuple[str, ...]
ACCEPTED = "train/<class>/* and test/<class>/*, or <class>/*, is accepted"
HELD = ("val", "valid", "validation")


@dataclass(frozen=True)
class Arrangement:
    """What the paths of pictures say: the classes, and for both sides the paths, in order, with a label (N,) int64 each."""

    classes: Parts
    train: list[Parts]
    train_labels: NDArray[np.int64]
    test: list[Parts]
    test_labels: NDArray[np.int64]


def arrange(source: str, folders: set[Parts], files: Collection[Parts]) -> Arrangement:
    """Classes and sides of pictures by where they lie: a class a folder, with or without a test part.

    source: how messages name the tree; folders: paths of the folders, also the empty ones; files: those of the pictures.
    A folder val, valid or validation beside train and test is left alone.
    Raises InputError for a picture at another depth, classes that differ between the sides, and what `halves` refuses.
    """
    root: Parts = ()
    # A folder that wraps everything says nothing; the last two levels, class and picture, do.
    while len(tops := _below(folders, root)) == 1 and all(len(path) > len(root) + 2 for path in files):
        root = (*root, *tops)
    held = ["test"] if "test" in tops else [side for side in HELD if side in tops]
    if "train" not in tops or not held:
        classes, paths = _classes(source, root, folders, files)
        labels = _labels(classes, paths, root)
        kept, given = halves(source, classes, labels)
        return Arrangement(classes, [paths[i] for i in kept], labels[kept], [paths[i] for i in given], labels[given])
    if len(held) > 1:
        raise InputError(f"{source}: {' and '.join(map(repr, held))} beside train: one of them, or test, is accepted")
    for path in sorted(files):
        if path[len(root)] not in ("train", "test", *HELD):
            raise InputError(f"{source}: {'/'.join(path)!r} lies beside train and {held[0]}: {ACCEPTED}")
    sides = [(*root, "train"), (*root, held[0])]
    (classes, train), (others, test) = (_classes(source, side, folders, files) for side in sides)
    if classes != others:
        odd = min(set(classes) ^ set(others))
        there, lacking = ("train", held[0]) if odd in classes else (held[0], "train")
        raise InputError(f"{source}: class {odd!r} is in {there}, not in {lacking}: the same classes are accepted")
    labels, test_labels = _labels(classes, train, sides[0]), _labels(classes, test, sides[1])
    return Arrangement(classes, train, labels, test, test_labels)


def images(name: str, source: str, folders: set[Parts], files: dict[Parts, NDArray[np.uint8]]) -> Images:
    """The task that decoded pictures make by where they lie.

    name: of the task; source, folders: as for `arrange`; files: (H, W) grey or (H, W, 3) pictures of one size, by path.
    The images are (N, 1, H, W) if all are grey. Raises InputError for what `arrange` and `Images` refuse.
    """
    found = arrange(source, folders, files)
    channels = 1 if all(files[path].ndim == 2 for path in found.train + found.test) else 3
    train = Split(_stacked(found.train, files, channels), found.train_labels)
    return Images(name, found.classes, train, Split(_stacked(found.test, files, channels), found.test_labels))


def _below(folders: Iterable[Parts], root: Parts) -> set[str]:
    depth = len(root)
    return {folder[depth] for folder in folders if len(folder) > depth and folder[:depth] == root}


def _classes(source: str, root: Parts, folders: set[Parts], files: Iterable[Parts]) -> tuple[Parts, list[Parts]]:
    """The class folders below root, and the pictures in them, both sorted."""
    paths = sorted(path for path in files if path[: len(root)] == root)
    for path in paths:
        if len(path) != len(root) + 2:
            raise InputError(f"{source}: {'/'.join(path)!r} does not lie directly in a class folder: {ACCEPTED}")
    classes = tuple(sorted(_below(folders, root)))
    if len(classes) < 2:
        raise InputError(f"{source}: {len(classes)} class {list(classes)}: two or more are accepted: {ACCEPTED}")
    for lacking in sorted(set(classes) - {path[len(root)] for path in paths}):
        folder = "/".join((*root, lacking))
        raise InputError(f"{source}: class folder {folder!r} is without images: one or more are accepted")
    return classes, paths


def _labels(classes: Parts, paths: list[Parts], root: Parts) -> NDArray[np.int64]:
    numbers = {class_name: number for number, class_name in enumerate(classes)}
    return np.array([numbers[path[len(root)]] for path in paths], dtype=np.int64)


def _stacked(paths: list[Parts], files: dict[Parts, NDArray[np.uint8]], channels: int) -> NDArray[np.uint8]:
    height, width = files[paths[0]].shape[:2]
    images = np.empty((len(paths), channels, height, width), dtype=np.uint8)
    for index, path in enumerate(paths):
        picture = files[path]
        images[index] = picture if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return images
