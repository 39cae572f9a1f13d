"""A tar or zip archive as a stream of entries, read without unpacking it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from dynamics.errors import InputError
from dynamics.given import shown

from .layout import Parts
from .tree import Entry, Tree
from .unpacked import FREE, Unpacked, check_unpacked

OPENERS: dict[str, Callable[..., Any] | None] = {
    ".tar": None,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
SUFFIXES = (*OPENERS, ".zip")
BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, struct.error,
    NotImplementedError, OverflowError, ValueError,
)  # fmt: skip
LONGEST_TARGET = 4096
END_RECORD = 22  # bytes at the end of a zip, before its comment
END = 1024  # zero bytes that end a tar: two blocks
MEMBERS = 2**18  # of an archive: twice TinyImageNet's; a tar of more takes longer than anybody waits for a refusal
DEEPEST = 64  # folders in one another, and characters of a path as Linux has them
LONGEST = 4096


def tree(path: Path) -> Tree:
    """An archive, which gives the images, by digest, of the folder that it would unpack to.

    Each pass is in the archive's own order, since seeking in compressed data means to start again. What cannot be read to
    its end is an InputError, and so is an unsafe member: a path or a link that leads outside, a device, a pipe, an
    encrypted file.
    """
    suffix = next(ending for ending in SUFFIXES if path.name.lower().endswith(ending))
    entries = _zip if suffix == ".zip" else partial(_tar, opener=OPENERS[suffix])
    source = repr(str(path))
    return Tree(path, path.name[: -len(suffix)], partial(entries, path, source), partial(_guard, source, suffix))


@contextmanager
def _guard(source: str, suffix: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except BROKEN as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{source} cannot be read to its end ({reason}): a whole {suffix} archive is accepted"
        ) from error


def _inside(source: str, name: str, written: str, base: Parts = ()) -> Parts:
    """The path `written`, seen from `base`, as parts below the archive's root; `name` is the member to blame."""
    if len(written) > LONGEST or written.count("/") > DEEPEST:
        raise InputError(
            f"{source}: member {shown(name)} lies too deep: up to {DEEPEST} folders and {LONGEST:,} characters are accepted"
        )
    parts = list(base)
    safe = not written.startswith("/") and "\\" not in written and "\0" not in written
    for part in written.split("/"):
        if part == "..":
            safe = safe and bool(parts)
            del parts[-1:]
        elif part not in ("", "."):
            safe = safe and not re.match("[A-Za-z]:", part)
            parts.append(part)
    if not safe:
        to = "" if name == written else f" (to {written!r})"
        raise InputError(
            f"{source}: member {name!r}{to} may lead outside: relative paths inside the archive are accepted"
        )
    return tuple(parts)


def check_count(source: str, count: int) -> None:
    """InputError for more than `MEMBERS`."""
    if count > MEMBERS:
        raise InputError(f"{source} has more than {MEMBERS:,} members: fewer, or their folder, are accepted")


def _odd(source: str, name: str, what: str) -> InputError:
    return InputError(
        f"{source}: member {name!r} is {what}: plain files, folders and links inside the archive are accepted"
    )


def _tar(path: Path, source: str, opener: Callable[..., Any] | None) -> Iterator[Entry]:
    with path.open("rb") as file, file if opener is None else opener(file, "rb") as stream:
        unpacked = Unpacked(stream, file.tell, source)
        # Seeking passes over what is not wanted; in compressed data it would mean to start again.
        how: dict[str, Any] = (
            {"fileobj": stream, "mode": "r:"} if opener is None else {"fileobj": unpacked, "mode": "r|"}
        )
        with tarfile.open(encoding="utf-8", **how) as tar:
            for count, member in enumerate(tar, 1):
                check_count(source, count)
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                yield _member(source, tar, member)
            end = tar.offset
        if opener is None:
            unpacked.length = stream.seek(end)
        while unpacked.read(2**20) and unpacked.used <= end < unpacked.length < end + FREE:
            pass  # also makes the decompressor check its own end
    # tarfile takes a damaged header, or none, for the end of the archive: half the members would be missing in silence.
    if unpacked.used > end or not end + END <= unpacked.length < end + FREE:
        raise tarfile.ReadError(f"no end-of-archive mark at byte {end}, or too much behind it")


def _member(source: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    name = member.name
    parts = _inside(source, name, name)
    if not parts and not member.isdir():
        raise _odd(source, name, "a file without a name")
    if member.issym():
        return Entry(parts, target=_inside(source, name, member.linkname, parts[:-1]))
    if member.islnk():
        return Entry(parts, target=_inside(source, name, member.linkname))
    if member.isdir():
        return Entry(parts)
    # A sparse member claims a size that no data stands behind.
    if not member.isreg() or member.issparse():
        raise _odd(source, name, "a device, a pipe, a sparse file or something unknown")
    return Entry(parts, lambda: cast(IO[bytes], tar.extractfile(member)))


def _zip(path: Path, source: str) -> Iterator[Entry]:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        check_count(source, len(members))
        size, unpacked = path.stat().st_size, 0

        def opened(member: zipfile.ZipInfo) -> IO[bytes]:
            # Members may share their bytes, so all of a pass are held to the budget together. What a member says of its size may
            # be too little, but zipfile gives no more.
            nonlocal unpacked
            unpacked += member.file_size
            check_unpacked(source, unpacked, size)
            return archive.open(member)

        # zipfile takes what it finds for all there is; the closing record knows better (0xFFFF: too many to say).
        file.seek(-END_RECORD - len(archive.comment), io.SEEK_END)
        said = int.from_bytes(file.read(END_RECORD)[10:12], "little")
        if said != 0xFFFF and said != len(members) & 0xFFFF:
            raise zipfile.BadZipFile(f"{len(members)} members where {said} are announced")
        # A zip cut behind a member that is itself a zip would pass for that inner one.
        if members and min(member.header_offset for member in members) != 0:
            raise zipfile.BadZipFile("data in front of the first member")
        for member in members:
            name = member.orig_filename
            parts = _inside(source, name, name)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if not parts and not member.is_dir():
                raise _odd(source, name, "a file without a name")
            if member.flag_bits & 1:
                raise _odd(source, name, "encrypted")
            # zipfile unpacks those others in steps without an end.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _odd(source, name, "packed by another method than deflate")
            # Compares the name with the one beside the data; damage to a name would lose a picture in silence.
            archive.open(member).close()
            if kind == stat.S_IFLNK:
                if member.file_size > LONGEST_TARGET:
                    raise _odd(source, name, f"a link of {member.file_size} bytes")
                target = archive.open(member).read(LONGEST_TARGET).decode()
                yield Entry(parts, target=_inside(source, name, target, parts[:-1]))
            elif member.is_dir():
                yield Entry(parts)
            elif kind in (0, stat.S_IFREG):
                yield Entry(parts, partial(opened, member))
            else:
                raise _odd(source, name, "a device, a pipe or something unknown")
