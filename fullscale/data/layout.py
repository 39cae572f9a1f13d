"""Where pictures lie in a tree -> classes, train and test."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from .images import Images, Split, divide

Parts = tuple[str, ...]
ACCEPTED = "train/<class>/* and test/<class>/*, or <class>/*, is accepted"
HELD = ("val", "valid", "validation")


def images(name: str, source: str, folders: set[Parts], files: dict[Parts, NDArray[np.uint8]]) -> Images:
    """The task that decoded pictures make by where they lie: a class a folder, with or without a test part.

    name: of the task; source: how messages name the tree; folders: paths of the folders, also the empty ones;
    files: (H, W) grey or (H, W, 3) pictures of one size, by path. The images are (N, 1, H, W) if all are grey.
    A folder val, valid or validation beside train and test is left alone.
    Raises InputError for a picture at another depth, classes that differ between the sides, and what `Images` and
    `divide` refuse.
    """
    root: Parts = ()
    # A folder that wraps everything says nothing; the last two levels, class and picture, do.
    while len(tops := _below(folders, root)) == 1 and all(len(path) > len(root) + 2 for path in files):
        root = (*root, *tops)
    held = ["test"] if "test" in tops else [side for side in HELD if side in tops]
    if "train" not in tops or not held:
        classes, paths = _classes(source, root, folders, files)
        whole = _split(classes, paths, root, files, _channels(paths, files))
        return Images(name, classes, *divide(source, classes, whole))
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
    channels = _channels(train + test, files)
    one, other = (
        _split(classes, paths, side, files, channels) for paths, side in zip((train, test), sides, strict=True)
    )
    return Images(name, classes, one, other)


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


def _channels(paths: Iterable[Parts], files: dict[Parts, NDArray[np.uint8]]) -> int:
    return 1 if all(files[path].ndim == 2 for path in paths) else 3


def _split(
    classes: Parts, paths: list[Parts], root: Parts, files: dict[Parts, NDArray[np.uint8]], channels: int
) -> Split:
    height, width = next(iter(files.values())).shape[:2]
    images = np.empty((len(paths), channels, height, width), dtype=np.uint8)
    for index, path in enumerate(paths):
        picture = files[path]
        images[index] = picture if picture.ndim == 2 else picture.transpose(2, 0, 1)
    numbers = {class_name: number for number, class_name in enumerate(classes)}
    return Split(images, np.array([numbers[path[len(root)]] for path in paths], dtype=np.int64))
