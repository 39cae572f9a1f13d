"""Files that are whole or not there, and folders that can be written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from dynamics.errors import InputError
from dynamics.given import line


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, replacing what is there in one step: no reader and no crash ever sees half of it.

    A link stays and the file behind it is replaced, which keeps its permissions; a device or a pipe takes the bytes as they
    come. Raises InputError where it cannot be written.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """`write_whole` of several files: all of them are written under other names before the first is put in its place.

    Raises InputError where one cannot be written; then none is.
    """
    written: dict[Path, Path] = {}  # by its place, what will be put there
    try:
        for path, content in contents.items():
            with _told(path):
                if (place := _place(path)) is not None:
                    written[place] = place.with_name(f"{_unfinished(place)}{uuid.uuid4().hex}")
                    _fill(written[place], content, place)
        for path, content in contents.items():
            with _told(path):
                if _place(path) is None:
                    _pour(path, content)
        for place, beside in written.items():
            with _told(place):
                beside.replace(place)
        for folder in {place.parent for place in written}:
            with _told(folder):
                _sync(folder)
    finally:
        for beside in written.values():
            with suppress(OSError):  # what was raised first says more
                beside.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """InputError where `write_whole` could not write, as far as that can be told before: work should not be for nothing."""
    with _told(path):
        place = _place(path)
        where = path if place is None else place.parent
        where.stat()
        if not os.access(where, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def clear_unfinished(path: Path) -> None:
    """Remove what a process that was killed while it wrote `path` has left beside it. InputError where it cannot be."""
    with _told(path):
        place = Path(os.path.realpath(path))
        for left in place.parent.glob(f"{_unfinished(place)}*"):
            left.unlink(missing_ok=True)  # several processes of one run may clear up at once


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system raises as InputError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{line(path)} cannot be written ({reason}): a writable place is accepted") from error


def _unfinished(place: Path) -> str:
    """How the names of files begin that are to become `place`: no longer if its own is."""
    return f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}."


def _place(path: Path) -> Path | None:
    """Where the file stands, behind all links; None for what cannot be replaced: a device, a pipe, our own output."""
    place = Path(os.path.realpath(path))
    try:
        found = path.stat()
    except FileNotFoundError:
        return place
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    # /dev/stdout may lead to a file, or to one that has no name any more.
    if not stat.S_ISREG(found.st_mode) or _own_output(found) or not place.exists():
        return None
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return place


def _own_output(found: os.stat_result) -> int | None:
    """Which of this process's outputs, standard output or standard error, a file is."""
    for number in (1, 2):
        with suppress(OSError):  # closed
            if os.path.samestat(found, os.fstat(number)):
                return number
    return None


def _fill(beside: Path, content: bytes, place: Path) -> None:
    with beside.open("xb") as file:
        with suppress(FileNotFoundError):
            old = place.stat()
            with suppress(PermissionError):  # to give a file away is root's right
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _pour(path: Path, content: bytes) -> None:
    own = _own_output(path.stat())
    if own is None:
        # A pipe that nobody reads is an error at once, not a wait for a reader.
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY)
        os.set_blocking(handle, True)
    else:
        if sys.stdout is not None:
            sys.stdout.flush()  # what was printed before comes before
        handle = os.dup(own)
    with open(handle, "wb") as file:
        file.write(content)


def _sync(folder: Path) -> None:
    """Have the disk know the new name, too: without that, the old file may be back after a power cut."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written and not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a file system that has no such thing
            raise
    finally:
        os.close(handle)


def usable(folder: Path) -> Path:
    """The folder, which is not made; InputError if it is a file, or would be in one."""
    with _made(folder):
        there = next(place for place in (folder, *folder.absolute().parents) if _there(place))
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{line(there)} is a file")
    return folder


def check_folder(folder: Path) -> None:
    """InputError where `writing` could not make or write the folder, as far as that can be told without making it."""
    usable(folder)
    there = next(place for place in (folder, *folder.absolute().parents) if _there(place))
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"output folder {line(folder)} cannot be written: a writable folder is accepted")


def _there(place: Path) -> bool:
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        said = f"output folder {line(folder)} cannot be made ({reason}): a writable folder is accepted"
        raise InputError(said) from None


@contextmanager
def writing(folder: Path, lock: str = "") -> Iterator[Path]:
    """The folder, made if need be, for as long as something is written into it; what was made for it and is empty in the
    end goes again.

    lock: whoever writes under this name is alone in the folder, until it ends or is killed. InputError if the folder
    cannot be made or written, or if another process writes under that name.
    """
    made: list[Path] = []
    try:
        with _made(folder):
            made += [place for place in (folder, *folder.parents) if not _there(place)]
            folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise InputError(f"output folder {line(folder)} cannot be written: a writable folder is accepted")
        with _alone(folder, lock) if lock else nullcontext():
            yield folder
    finally:
        for place in made:
            with suppress(OSError):  # it is not empty
                place.rmdir()


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of this name, which the system opens again whatever ends this process."""
    file = folder / f".{name}.lock"
    try:
        handle = _locked(file)
    except BlockingIOError:
        raise InputError(
            f"output folder {line(folder)}: another undertow {name} writes into it; another folder is accepted, or this one "
            "once that has ended"
        ) from None
    except OSError as error:
        raise InputError(
            f"output folder {line(folder)} cannot be locked ({error.strerror}): another one is accepted"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        os.close(handle)


def _locked(file: Path) -> int:
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # Of the process, not of the handle, which children have, too.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):  # whoever held it a moment ago has taken the file away
                if os.path.samestat(file.stat(), os.fstat(handle)):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
