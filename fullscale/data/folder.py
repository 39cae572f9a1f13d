"""A directory as a stream of entries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from dynamics.errors import InputError

from . import idx
from .layout import Parts
from .tree import Entry, Tree, hidden, wanted


def tree(path: Path) -> Tree:
    """A directory: only the IDX files if some lie directly in it, everything in it otherwise."""
    return Tree(path, path.resolve().name, partial(_entries, path), partial(_guard, path))


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        named = repr(str(error.filename or path))
        raise InputError(
            f"{named} cannot be read ({error.strerror}): readable files and folders are accepted"
        ) from error


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _entries(top: Path) -> Iterator[Entry]:
    tables = [path for path in sorted(top.iterdir()) if idx.part(path.name) and path.is_file()]
    if tables:
        # Whatever lies below is then none of ours, and may be large.
        yield from (Entry((path.name,), partial(_open, path)) for path in tables)
        return
    pending: list[tuple[Path, Parts, frozenset[Path]]] = [(top, (), frozenset())]
    while pending:
        directory, parts, above = pending.pop()
        above |= {directory.resolve()}
        # scandir, since it knows without a look at each file which of a million are folders.
        with os.scandir(directory) as scan:
            found = sorted(scan, key=lambda entry: entry.name)
        for item in found:
            here = (*parts, item.name)
            if hidden(item.name):
                continue
            path = directory / item.name
            if item.is_dir():
                if path.resolve() in above:
                    raise InputError(f"{str(path)!r} leads back to a folder above it: a tree without loops is accepted")
                yield Entry(here)
                pending.append((path, here, above))
            elif item.is_file():
                yield Entry(here, partial(_open, path))
            elif wanted(item.name):
                raise InputError(f"{str(path)!r} is no file: files, and links to what exists, are accepted")
