"""Archives that `fullscale.data` refuses: cut, damaged, hostile. Never half a data set."""

from __future__ import annotations

import io
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from archives import TREE, pack, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dynamics.errors import InputError
from fullscale.data import load, tree


@cache
def whole_archive(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        return pack(Path(scratch) / f"a{suffix}", TREE).read_bytes()


def outcome(data: bytes, suffix: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"a{suffix}"
        path.write_bytes(data)
        try:
            return load(path).digest
        except InputError:
            return "refused"


SUFFIXES = [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_cut_archive_is_refused_and_a_damaged_one_loses_nothing_in_silence(suffix: str, data: st.DataObject) -> None:
    whole = whole_archive(suffix)
    # Behind its two closing blocks of zeros a plain tar has nothing but padding to lose.
    needed = -(-len(whole.rstrip(b"\0")) // 512) * 512 + 1024 if suffix == ".tar" else len(whole)
    ends = st.integers(0, needed - 1) | st.integers(needed - 64, needed - 1)
    assert outcome(whole[: data.draw(ends)], suffix) == "refused"
    damaged = bytearray(whole)
    # A plain tar guards its headers alone.
    block = 2 * 512 * data.draw(st.integers(0, len(TREE) - 1)) if suffix == ".tar" else 0
    place = block + data.draw(st.integers(0, 511 if suffix == ".tar" else len(whole) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(damaged), suffix) in ("refused", outcome(whole, suffix))


def test_a_tar_cut_between_members_that_end_in_zeros_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (60, 60)).save(file, "BMP")
    path = pack(tmp_path / "a.tar", dict.fromkeys(TREE, file.getvalue()))
    load(path)
    size = 512 + -(-len(file.getvalue()) // 512) * 512
    path.write_bytes(path.read_bytes()[: size * (len(TREE) - 1)])
    refused(path, str(path), "end-of-archive")


def test_a_zip_cut_behind_an_inner_zip_is_refused(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner.zip", TREE).read_bytes()
    whole = pack(tmp_path / "outer.zip", {"inner.zip": inner, **TREE}).read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(whole[: whole.index(inner) + len(inner)])
    refused(path, "cut.zip", "in front")


def of_tar(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def of_zip(name: str, mode: int = 0, content: str = "") -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info, content.encode()


LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE)
OUTSIDE = [
    "/etc/x.png", "../x.png", "train/../../x.png", "C:/x.png", "./C:x.png", "train\\..\\x.png", "\\\\host\\x.png",
    "../notes.txt", "train/a/../../../.hidden",
]  # fmt: skip
TARGETS = ["/etc/passwd", "../../../x.png", "C:/x.png", "..\\x.png"]
# A member behind those of a good archive, and what the refusal names.
HOSTILE: list[tuple[Any, list[str]]] = [
    *((make(name), [repr(name)]) for name in OUTSIDE for make in (of_tar, of_zip)),
    *((of_tar(n, kind, to), [repr(n), repr(to)]) for n in ("train/a/l.png", "notes.txt") for to in TARGETS for kind in LINKS),
    *((of_zip(n, stat.S_IFLNK | 0o777, to), [repr(n), repr(to)]) for n in ("train/a/l.png", "notes.txt") for to in TARGETS),
    # Links that would hide pictures.
    (of_tar("train/a/l.png", tarfile.SYMTYPE, "9.png"), ["'train/a/l.png'"]),
    (of_tar("c", tarfile.SYMTYPE, "train"), ["'c'"]),
    (of_tar("here", tarfile.SYMTYPE, "."), ["'here'"]),
    (of_tar("train/a/l.png", tarfile.SYMTYPE, "l.png"), ["'train/a/l.png'"]),
    # Devices, a pipe, a sparse file.
    *((of_tar("dev/x", kind), ["'dev/x'", "device"]) for kind in (b"3", b"4", b"6", b"S")),
    (of_zip("odd.txt", stat.S_IFIFO), ["'odd.txt'", "a pipe"]),
    (of_zip("odd.txt", stat.S_IFCHR), ["'odd.txt'", "a device"]),
    (of_tar("train/.."), ["without a name"]),
    (of_tar("./train/a/0.png"), ["'train/a/0.png'", "twice"]),
]  # fmt: skip


@pytest.mark.parametrize(("member", "words"), HOSTILE)
def test_a_hostile_member(tmp_path: Path, member: Any, words: list[str]) -> None:
    path = tmp_path / ("a.zip" if isinstance(member, tuple) else "a.tar.xz")
    refused(pack(path, TREE, member), path.name, *words)


def directory(data: bytes, old: bytes, new: bytes) -> bytes:
    """A zip of which the central directory alone is changed."""
    place = data.index(b"PK\1\2")
    return data[:place] + data[place:].replace(old, new, 1)


def secret(data: bytes) -> bytes:
    place = data.rindex(b"PK\1\2") + 8  # the flags of the directory's last entry
    return data[:place] + bytes([data[place] | 1]) + data[place + 1 :]


def swallowed(data: bytes) -> bytes:
    first, second = data.index(b"PK\1\2"), data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    # The length of the first entry's comment.
    return data[: first + 32] + bytes([second - first]) + data[first + 33 :]


FORGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a zero byte in a name": (
        lambda data: data.replace(b"train/a/0", b"train/a\0" + b"0"),
        repr("train/a\0" + "0.png"),
    ),
    "another folder": (lambda data: directory(data, b".png", b"/png"), "differ"),
    "a hidden folder": (lambda data: directory(data, b"train/b", b"train/."), "differ"),
    "another class": (lambda data: directory(data, b"train/b", b"train/a"), "differ"),
    "a member swallowed": (swallowed, "11 members where 12 are announced"),
    "encrypted": (secret, "'test/b/2.png' is encrypted"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_zip(tmp_path: Path, case: str) -> None:
    change, words = FORGED[case]
    path = pack(tmp_path / "a.zip", TREE)
    path.write_bytes(change(path.read_bytes()))
    refused(path, "a.zip", words)


def test_a_member_made_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "LARGEST", 100_000)
    files = TREE | {"train/a/0.png": bytes(1_000_000)}
    refused(pack(tmp_path / "a.tar.xz", files), "'train/a/0.png'", "100000 bytes")
