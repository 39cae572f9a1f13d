"""A directory as a stream of entries."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from dynamics.errors import InputError

from . import idx
from .images import Images
from .layout import Parts
from .tree import Entry, gather, hidden, wanted


def read(path: Path) -> Images:
    """The images of a directory: IDX files if some lie directly in it, a tree of pictures otherwise.

    Raises InputError for what cannot be read and for what `tree.gather` refuses.
    """
    try:
        return gather(path.resolve().name, repr(str(path)), _entries(path))
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
        for path in sorted(directory.iterdir()):
            here = (*parts, path.name)
            if hidden(path.name):
                continue
            if path.is_dir():
                if path.resolve() in above:
                    raise InputError(f"{str(path)!r} leads back to a folder above it: a tree without loops is accepted")
                yield Entry(here)
                pending.append((path, here, above))
            elif path.is_file():
                yield Entry(here, partial(_open, path))
            elif wanted(path.name):
                raise InputError(f"{str(path)!r} is no file: files, and links to what exists, are accepted")
