"""TinyImageNet: 200 classes of ImageNet at 64 x 64 pixels, packed or unpacked.

Source: Le, Yang, "Tiny ImageNet visual recognition challenge", CS 231N, Stanford 2015.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from . import pixels
from .images import Images, Split
from .layout import Parts
from .tree import Survey, Tree, dimensions, encoded, fits, picture

ANNOTATIONS = ("val", "val_annotations.txt")
NAMED = "train/<wnid>/images/*, val/images/*, val/val_annotations.txt, words.txt and wnids.txt"


def recognised(seen: Survey) -> Parts | None:
    """The folder of the tree in which TinyImageNet lies; None for another tree."""
    return next((path[:-2] for path in seen.files if path[-2:] == ANNOTATIONS), None)


def read(tree: Tree, seen: Survey, base: Parts) -> Images:
    """TinyImageNet as (N, 3, 64, 64): its val images are the test part; those that it calls test have no labels and are left.

    base: from `recognised`. Classes are in the order of wnids.txt and have their names of words.txt, with the wnid where two
    names are the same. Train images are in the order of classes and names, test images in that of val_annotations.txt.
    Raises InputError for what is missing, there twice or not announced, and as `tree.gather` for pictures.
    """
    source = tree.source
    wanted = {(*base, *path): path[-1] for path in ((*ANNOTATIONS,), ("wnids.txt",), ("words.txt",))}
    texts: dict[str, list[str]] = {}
    for entry in tree.entries():
        if entry.open is not None and entry.parts in wanted:
            with entry.open() as file:
                data = encoded(file, f"{source}: {wanted[entry.parts]!r}")
            texts[wanted[entry.parts]] = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    for name in wanted.values():
        if name not in texts:
            raise InputError(f"{source}: no {name!r}: TinyImageNet with {NAMED} is accepted")
    wnids = [line.strip() for line in texts["wnids.txt"]]
    if len(set(wnids)) < len(wnids):
        raise InputError(f"{source}: a class that is twice in 'wnids.txt': different ones are accepted")
    number = {wnid: index for index, wnid in enumerate(wnids)}
    train = [
        path for path in seen.files
        if path[:-3] == (*base, "train") and path[-2] == "images" and picture(path)
    ]  # fmt: skip
    test = {(*base, "val", "images", name): wnid for name, wnid in _annotations(source, texts["val_annotations.txt"])}
    for wnid in (*(path[-3] for path in train), *test.values()):
        if wnid not in number:
            raise InputError(f"{source}: class {wnid!r} is not in 'wnids.txt': its classes are accepted")
    there = {path for path in seen.files if path[:-1] == (*base, "val", "images") and picture(path)}
    for path in sorted(there ^ set(test)):
        lacks = "a picture" if path in test else "a line in 'val_annotations.txt'"
        raise InputError(f"{source}: {'/'.join(path)!r} is without {lacks}: both are accepted")
    train.sort(key=lambda path: (number[path[-3]], path[-1]))
    arrays = _arrays(tree, [train, list(test)])
    labels = [number[path[-3]] for path in train], [number[wnid] for wnid in test.values()]
    splits = [Split(x, np.array(y, dtype=np.int64)) for x, y in zip(arrays, labels, strict=True)]
    return Images(tree.name, _names(wnids, texts["words.txt"]), *splits)


def _annotations(source: str, lines: list[str]) -> list[tuple[str, str]]:
    """(file, wnid) a line; the rest of a line is a box."""
    found = [tuple(line.split("\t")[:2]) for line in lines]
    for line, fields in zip(lines, found, strict=True):
        if len(fields) < 2:
            raise InputError(f"{source}: {line!r} in 'val_annotations.txt': a file and a wnid are accepted")
    for name, count in Counter(fields[0] for fields in found).items():
        if count > 1:
            raise InputError(f"{source}: {name!r} is {count} times in 'val_annotations.txt': once is accepted")
    return [(fields[0], fields[1]) for fields in found]


def _names(wnids: list[str], words: list[str]) -> tuple[str, ...]:
    called = dict(line.split("\t", 1) for line in words if "\t" in line)
    names = [called.get(wnid, wnid).strip() for wnid in wnids]
    often = Counter(names)
    return tuple(name if often[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True))


def _arrays(tree: Tree, sides: list[list[Parts]]) -> list[NDArray[np.uint8]]:
    """The pictures at these paths, (N, 3, H, W) a side, in one pass over the tree."""
    place = {path: (side, index) for side, paths in enumerate(sides) for index, path in enumerate(paths)}
    arrays: list[NDArray[np.uint8]] = []
    done = 0
    for entry in tree.entries():
        if entry.open is None or entry.parts not in place:
            continue
        shown = f"{tree.source}: {'/'.join(entry.parts)!r}"
        with entry.open() as file:
            array = pixels.colour(pixels.decode(encoded(file, shown), shown))
        if not arrays:
            fits(tree.source, len(place), array)
            arrays = [np.empty((len(paths), 3, *array.shape[:2]), np.uint8) for paths in sides]
        if array.shape[:2] != arrays[0].shape[2:]:
            height, width = arrays[0].shape[2:]
            raise InputError(f"{shown} is {dimensions(array)} pixels, others {width} x {height}: one size is accepted")
        side, index = place[entry.parts]
        arrays[side][index] = array.transpose(2, 0, 1)
        done += 1
    if done != len(place) or not done:
        raise InputError(f"{tree.source}: {done} of {len(place)} pictures read: each once is accepted: {NAMED}")
    return arrays
