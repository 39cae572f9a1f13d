"""The python archives of CIFAR-10 and CIFAR-100, packed or unpacked.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009; www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynamics.errors import InputError

from . import checksums, unpickle
from .images import Images, Split
from .layout import Parts
from .tree import Survey, Tree, encoded

SIDE = 32


@dataclass(frozen=True)
class Kind:
    """One of the two sets: its name, its files, and what they call labels and classes."""

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    classes: str

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all its files."""
        return (*self.train, self.test, self.meta)


CIFAR10 = Kind(
    "cifar10", "cifar-10-batches-py", tuple(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta",
    "labels", "label_names",
)  # fmt: skip
CIFAR100 = Kind("cifar100", "cifar-100-python", ("train",), "test", "meta", "fine_labels", "fine_label_names")
BATCH = re.compile(r"data_batch_\d+")


def recognised(seen: Survey) -> tuple[Kind, list[Parts]] | None:
    """Which of the sets is there, and in which folders of the tree; None for another tree."""
    beside: dict[Parts, set[str]] = {}
    for path in seen.files:
        beside.setdefault(path[:-1], set()).add(path[-1])
    ten = [base for base, names in beside.items() if names & set(CIFAR10.files)]
    # The names train, test and meta alone are too common to go by one of them.
    hundred = [
        base
        for base, names in beside.items()
        if len(names & set(CIFAR100.files)) > (0 if base[-1:] == (CIFAR100.folder,) else 1)
    ]
    return (CIFAR10, sorted(ten)) if ten else (CIFAR100, sorted(hundred)) if hundred else None


def read(tree: Tree, kind: Kind, bases: list[Parts]) -> Images:
    """The set in a tree: classes as the meta file names them, images (N, 3, 32, 32) in the official order, train being the
    batches one after another; of CIFAR-100 the fine labels.

    kind, bases: from `recognised`. A file is read only if it is the official one, by its MD5, or if a SHA256SUMS file vouches
    for it: beside the archive, or in the folder or beside it. No byte is unpickled before that, and nothing but plain arrays
    after it (`unpickle`). Raises InputError for any other file, for one that is missing, there twice or has the content of
    another, and for images and labels that do not fit each other or the classes.
    """
    source = tree.source
    if len(bases) > 1:
        raise InputError(f"{source}: files of {kind.name} in {len(bases)} folders: all in one are accepted")
    [base] = bases
    content: dict[str, bytes] = {}
    for entry in tree.entries():
        name = entry.parts[-1] if entry.parts else ""
        if entry.open is None or entry.parts[:-1] != base:
            continue
        if name in content or (name not in kind.files and kind is CIFAR10 and BATCH.fullmatch(name)):
            raise InputError(f"{source}: {name!r} is there twice or too much: {', '.join(kind.files)} are accepted")
        if name in kind.files:
            with entry.open() as file:
                content[name] = encoded(file, f"{source}: {name!r}")
    for name in kind.files:
        if name not in content:
            raise InputError(f"{source}: no {name!r}: all of {', '.join(kind.files)} are accepted")
    _check(tree, base, kind, content)
    tables = {name: unpickle.load(data, f"{source}: {name!r}") for name, data in content.items()}
    classes = _classes(tables[kind.meta].get(kind.classes), f"{source}: {kind.classes!r} in {kind.meta!r}")

    def split(names: tuple[str, ...]) -> Split:
        parts = [_split(tables[name], kind.labels, f"{source}: {name!r}") for name in names]
        return Split(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))

    return Images(kind.name, classes, split(kind.train), split((kind.test,)))


def _check(tree: Tree, base: Parts, kind: Kind, content: dict[str, bytes]) -> None:
    """Raises InputError unless every file is the official one or vouched for."""
    path, source = Path(os.path.abspath(tree.path)), tree.source
    odd = [name for name in kind.files if not checksums.official(name, content[name])]
    if odd and path.is_file():
        digest = checksums.sha256(path)
        if not checksums.listed(path, digest, path.parent):
            raise InputError(
                f"{source} has sha256 {digest}: the official archive ({checksums.ARCHIVES[kind.name].sha256}), or one that "
                f"a {checksums.SUMS} file beside it lists, is accepted"
            )
    elif odd:
        for name in odd:
            digest = hashlib.sha256(content[name]).hexdigest()
            if not checksums.listed(path.joinpath(*base, name), digest, path.parent):
                raise InputError(
                    f"{source}: {name!r} has sha256 {digest}: the official file (MD5 {checksums.FILES[name]}), or one that "
                    f"a {checksums.SUMS} file in the folder or beside it lists, is accepted"
                )
    first: dict[bytes, str] = {}
    for name in kind.files:
        if (twin := first.setdefault(content[name], name)) != name:
            raise InputError(f"{source}: {name!r} has the content of {twin!r}: different files are accepted")


def _classes(names: Any, shown: str) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise InputError(f"{shown}: a list of names is accepted")
    classes = tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)
    if len(set(classes)) < len(classes):
        raise InputError(f"{shown}: a name that is there twice: different names are accepted")
    return classes


def _split(table: dict[str, Any], key: str, shown: str) -> Split:
    rows, labels = table.get("data"), table.get(key)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (3 * SIDE * SIDE,):
        raise InputError(f"{shown}: 'data' is not uint8 (N, {3 * SIDE * SIDE}), which is accepted")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 2**31 for label in labels):
        raise InputError(f"{shown}: {key!r} is not a list of whole numbers from 0, which is accepted")
    if len(labels) != len(rows):
        raise InputError(f"{shown}: {len(labels)} labels for {len(rows)} images: one an image is accepted")
    # A row is the red plane, then the green, then the blue one.
    return Split(rows.reshape(-1, 3, SIDE, SIDE), np.array(labels, dtype=np.int64))
