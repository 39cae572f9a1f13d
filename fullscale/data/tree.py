"""Entries of a folder or an archive, in any order -> decoded files -> `Images`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from . import idx, layout, pixels
from .images import Images
from .layout import Parts

CHUNK = 2**16
LARGEST = 2**28  # bytes of one encoded picture; none is so large, but a member made to fill the memory is


@dataclass(frozen=True)
class Entry:
    """One thing in a tree: a file (`open` gives its bytes), a link (`target` is where it leads), or else a folder."""

    parts: Parts
    open: Callable[[], IO[bytes]] | None = None
    target: Parts | None = None


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out: dot files, and what macOS adds to its zips."""
    return name.startswith(".") or name == "__MACOSX"


def wanted(name: str) -> bool:
    """Whether a file of this name is read: a picture or an IDX file."""
    return name.lower().endswith(pixels.SUFFIXES) or idx.part(name) is not None


def gather(name: str, source: str, entries: Iterable[Entry]) -> Images:
    """The task that a tree of files holds; every file is read as it comes, in one pass.

    name: of the task; source: how messages name the tree.
    Raises InputError for a picture or IDX file that cannot be used, two image sizes, a path that comes twice,
    a link to anything but a file that was read, a layout that is not one of the accepted, and what `Images` refuses.
    """
    folders: set[Parts] = set()
    links: dict[Parts, Parts] = {}
    files: dict[Parts, NDArray[np.uint8]] = {}
    first = ""
    size: tuple[int, ...] = ()
    for entry in entries:
        if any(hidden(part) for part in entry.parts):
            continue
        if entry.open is None and entry.target is None:
            folders.add(entry.parts)
            continue
        folders.add(entry.parts[:-1])
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
                files[entry.parts] = picture = pixels.decode(_encoded(file, shown), shown)
            if not size:
                first, size = "/".join(entry.parts), picture.shape[:2]
            # At once, before a folder of large photographs has filled the memory.
            if picture.shape[:2] != size:
                raise InputError(
                    f"{shown} is {_size(picture.shape)} pixels, {first!r} is {_size(size)}: one size is accepted"
                )
    _follow(source, links, files, folders)
    tables = {path: table for path, table in files.items() if idx.part(path[-1])}
    if tables:
        if len({path[:-1] for path in tables}) > 1:
            raise InputError(f"{source}: IDX files in several folders: all four in one folder are accepted")
        return idx.images(name, source, tables)
    if not files:
        raise InputError(
            f"{source}: no picture ({', '.join(pixels.SUFFIXES)}) and no IDX file in it: {layout.ACCEPTED}"
        )
    return layout.images(name, source, folders, files)


def _encoded(file: IO[bytes], shown: str) -> bytes:
    data = bytearray()
    while chunk := file.read(CHUNK):
        data += chunk
        if len(data) > LARGEST:
            raise InputError(f"{shown}: a picture of more than {LARGEST} bytes: smaller ones are accepted")
    return bytes(data)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


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
