"""Files that are whole or not there, and folders that can be written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from dynamics.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, replacing what is there in one step: no reader and no crash ever sees half of it.

    Raises InputError where it cannot be written.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """`write_whole` of several files: all of them are written under other names before the first is put in its place.

    Raises InputError where one cannot be written; then none is.
    """
    written: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            if path.is_dir():
                raise InputError(f"{path} cannot be written (it is a folder): a file name is accepted")
            beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            with beside.open("xb") as file:
                written[path] = beside
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, beside in written.items():
            beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): a writable place is accepted") from error
    finally:
        for beside in written.values():
            beside.unlink(missing_ok=True)


def clear_unfinished(path: Path) -> None:
    """Remove what a process that was killed while it wrote `path` has left beside it."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)  # several processes of one run may clear up at once


def usable(folder: Path) -> Path:
    """The folder, which is not made; InputError if it is a file, or would be in one."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"output folder {folder} cannot be made ({there} is a file): a writable folder is accepted")
    return folder


def writable(folder: Path) -> Path:
    """The folder, made if need be; InputError if it cannot be, or cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"output folder {folder} cannot be made ({error.strerror}): a writable folder is accepted"
        ) from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"output folder {folder} cannot be written: a writable folder is accepted")
    return folder
