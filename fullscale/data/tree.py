"""Entries of a folder or an archive, in any order -> decoded files -> `Images`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from . import idx, layout, pixels
from .images import Images
from .layout import Parts
from .unpacked import LIMIT

CHUNK = 2**16
LARGEST = 2**28  # bytes of one file; no picture and no batch of CIFAR is so large, a member made to fill the memory is


class NotOneArray(InputError):
    """Pictures that do not become one array: of several sizes, or too many."""


@dataclass(frozen=True)
class Entry:
    """One thing in a tree: a file (`open` gives its bytes), a link (`target` is where it leads), or else a folder."""

    parts: Parts
    open: Callable[[], IO[bytes]] | None = None
    target: Parts | None = None


@dataclass(frozen=True)
class Tree:
    """A folder or an archive. path: where it is; name: for reports; entries: a new pass over what is in it; guard: a
    context in which all that can go wrong with reading it becomes InputError."""

    path: Path
    name: str
    entries: Callable[[], Iterator[Entry]]
    guard: Callable[[], AbstractContextManager[None]]

    @property
    def source(self) -> str:
        """How messages name it."""
        return repr(str(self.path))


@dataclass(frozen=True)
class Survey:
    """What is in a tree, by path, hidden things left out. files: also links."""

    folders: set[Parts]
    files: list[Parts]


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out: dot files, and what macOS adds to its zips."""
    return name.startswith(".") or name == "__MACOSX"


def wanted(name: str) -> bool:
    """Whether a file of this name is read: a picture or an IDX file."""
    return name.lower().endswith(pixels.SUFFIXES) or idx.part(name) is not None


def survey(tree: Tree) -> Survey:
    """A look at all paths of a tree; no file is opened."""
    folders: set[Parts] = set()
    files: list[Parts] = []
    for entry in tree.entries():
        if any(hidden(part) for part in entry.parts):
            continue
        if entry.open is None and entry.target is None:
            folders.add(entry.parts)
        else:
            folders.add(entry.parts[:-1])
            files.append(entry.parts)
    return Survey(folders, files)


def picture(path: Parts) -> bool:
    """Whether this is the path of a picture."""
    return path[-1].lower().endswith(pixels.SUFFIXES)


def gather(tree: Tree, seen: Survey) -> Images:
    """The task that a tree of files holds; every file is read as it comes, in one pass.

    seen: what is in the tree.
    Raises NotOneArray for pictures of two sizes or of more than `LIMIT` bytes of pixels in all; InputError for a picture or IDX
    file that cannot be used, a path that comes twice, a link to anything but a file that was read, a layout that
    is not one of the accepted, and what `Images` refuses.
    """
    name, source = tree.name, tree.source
    count = sum(picture(path) for path in seen.files)
    links: dict[Parts, Parts] = {}
    files: dict[Parts, NDArray[np.uint8]] = {}
    first = ""
    size: tuple[int, ...] = ()
    for entry in tree.entries():
        if any(hidden(part) for part in entry.parts) or (entry.open is None and entry.target is None):
            continue
        shown = f"{source}: {'/'.join(entry.parts)!r}"
        if entry.parts in files or entry.parts in links:
            raise InputError(f"{shown} is there twice: one file a path is accepted")
        if entry.target is not None:
            links[entry.parts] = entry.target
        elif entry.open is not None and wanted(entry.parts[-1]):
            with entry.open() as file:
                if idx.part(entry.parts[-1]):
                    files[entry.parts] = idx.array(file, entry.parts[-1], shown)
                    continue
                files[entry.parts] = array = pixels.decode(encoded(file, shown), shown)
            if not size:
                first, size = "/".join(entry.parts), array.shape[:2]
            # At once, before a folder of large photographs has filled the memory.
            if array.shape[:2] != size:
                raise NotOneArray(
                    f"{shown} is {dimensions(array)} pixels, {first!r} is {size[1]} x {size[0]}: one size is accepted "
                    "(by open_source, any sizes in a folder)"
                )
            fits(source, count, array)
    _follow(source, links, files, seen.folders)
    tables = {path: table for path, table in files.items() if idx.part(path[-1])}
    if tables:
        if len({path[:-1] for path in tables}) > 1:
            raise InputError(f"{source}: IDX files in several folders: all four in one folder are accepted")
        return idx.images(name, source, tables)
    if not files:
        raise InputError(
            f"{source}: no picture ({', '.join(pixels.SUFFIXES)}) and no IDX file in it: {layout.ACCEPTED}"
        )
    return layout.images(name, source, seen.folders, files)


def fits(source: str, count: int, array: NDArray[np.uint8]) -> None:
    """Raises NotOneArray if `count` pictures like this one have more than `LIMIT` bytes of pixels."""
    if count * array.nbytes > LIMIT:
        raise NotOneArray(
            f"{source}: {count} pictures of {dimensions(array)} pixels, {count * array.nbytes} bytes: up to {LIMIT} are "
            "accepted (by open_source, any number in a folder)"
        )


def encoded(file: IO[bytes], shown: str) -> bytes:
    """All bytes of a file. shown: how messages name it. Raises InputError for more than `LARGEST`."""
    data = bytearray()
    while chunk := file.read(CHUNK):
        data += chunk
        if len(data) > LARGEST:
            raise InputError(f"{shown}: a file of more than {LARGEST} bytes: smaller ones are accepted")
    return bytes(data)


def dimensions(array: NDArray[np.uint8]) -> str:
    """Width and height of a picture (H, W, ...), for messages."""
    return f"{array.shape[1]} x {array.shape[0]}"


def _follow(source: str, links: dict[Parts, Parts], files: dict[Parts, NDArray[np.uint8]], folders: set[Parts]) -> None:
    """Give every link to a file that was read the content of that file; refuse those that would hide a picture."""
    for link in links:
        target = link
        for _ in links:  # at most so many links on the way, or they go round
            if target not in links:
                break
            target = links[target]
        if wanted(link[-1]) and target in files:
            files[link] = files[target]
        elif wanted(link[-1]) or any(folder[: len(target)] == target for folder in folders):
            raise InputError(
                f"{source}: link {'/'.join(link)!r} to {'/'.join(target)!r}: links to pictures inside are accepted"
            )
