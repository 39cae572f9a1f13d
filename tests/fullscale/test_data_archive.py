"""Archives that `fullscale.data` refuses: cut, damaged, hostile. Never half a data set."""

from __future__ import annotations

import io
import stat
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest
from archives import TREE, pack, png, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dynamics.errors import InputError
from fullscale.data import load, tree


@cache
def whole_archive(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"a{suffix}"
        return pack(path, TREE).read_bytes()


def outcome(data: bytes, suffix: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"a{suffix}"
        path.write_bytes(data)
        try:
            return load(path).digest
        except InputError:
            return "refused"


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_cut_archive_is_refused(suffix: str, data: st.DataObject) -> None:
    whole = whole_archive(suffix)
    # Behind its two closing blocks of zeros a plain tar has nothing but padding to lose.
    needed = -(-len(whole.rstrip(b"\0")) // 512) * 512 + 1024 if suffix == ".tar" else len(whole)
    ends = st.integers(0, needed - 1) | st.integers(needed - 64, needed - 1)
    assert outcome(whole[: data.draw(ends)], suffix) == "refused"


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_byte_is_refused_or_harmless(suffix: str, data: st.DataObject) -> None:
    whole = whole_archive(suffix)
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(damaged), suffix) in ("refused", outcome(whole, suffix))


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 511), block=st.integers(0, 30), change=st.integers(1, 255))
def test_a_damaged_plain_tar_loses_nothing_in_silence(place: int, block: int, change: int) -> None:
    damaged = bytearray(whole_archive(".tar"))
    damaged[block * 512 + place] ^= change
    assert outcome(bytes(damaged), ".tar") in ("refused", outcome(whole_archive(".tar"), ".tar"))


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


NAMES = ["/etc/x.png", "../x.png", "train/../../x.png", "C:/x.png", "./C:x.png", "train\\..\\x.png", "\\\\host\\x.png"]


@pytest.mark.parametrize("name", [*NAMES, "../notes.txt", "train/a/../../../.hidden"])
def test_a_member_that_leads_outside(tmp_path: Path, name: str) -> None:
    refused(pack(tmp_path / "a.tar.xz", TREE, tarfile.TarInfo(name)), "a.tar.xz", repr(name))
    refused(pack(tmp_path / "a.zip", TREE, (zipfile.ZipInfo(name), b"")), "a.zip", repr(name))


def test_a_zero_byte_in_a_zip_name(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", TREE | {"train/a/N.png": png(1)})
    path.write_bytes(path.read_bytes().replace(b"train/a/N.png", b"train/a\0N.png"))
    refused(path, repr("train/a\0N.png"))


TARGETS = ["/etc/passwd", "../../../x.png", "C:/x.png", "..\\x.png"]


@pytest.mark.parametrize("name", ["train/a/l.png", "notes.txt"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_link_that_leads_outside(tmp_path: Path, name: str, target: str) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        refused(pack(tmp_path / "a.tar.gz", TREE, member), repr(name), repr(target))
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(pack(tmp_path / "a.zip", TREE, (info, target.encode())), repr(name), repr(target))


@pytest.mark.parametrize(
    ("name", "target"), [("train/a/l.png", "9.png"), ("c", "train"), ("here", "."), ("train/a/l.png", "l.png")]
)
def test_a_link_that_would_hide_pictures(tmp_path: Path, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    refused(pack(tmp_path / "a.tar", TREE, member), repr(name))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_device_a_pipe_a_sparse_file(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("dev/x")
    member.type = kind
    refused(pack(tmp_path / "a.tar", TREE, member), "'dev/x'", "device")


@pytest.mark.parametrize(("old", "new"), [(b".png", b"/png"), (b"train/b", b"train/."), (b"train/b", b"train/a")])
def test_a_zip_with_two_names_for_a_member(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = pack(tmp_path / "a.zip", TREE)
    data = path.read_bytes()
    directory = data.index(b"PK\1\2")
    path.write_bytes(data[:directory] + data[directory:].replace(old, new, 1))
    refused(path, "a.zip", "differ")


def test_a_zip_whose_directory_swallows_a_member(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", TREE)
    data = bytearray(path.read_bytes())
    first, second = data.index(b"PK\1\2"), data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[first + 32] = second - first  # the length of the first entry's comment
    path.write_bytes(data)
    refused(path, "a.zip", "11 members where 12 are announced")


@pytest.mark.parametrize(("mode", "flag"), [(stat.S_IFIFO, 0), (stat.S_IFCHR, 0), (stat.S_IFREG, 1)])
def test_a_zip_with_a_pipe_a_device_a_secret(tmp_path: Path, mode: int, flag: int) -> None:
    info = zipfile.ZipInfo("odd.txt")
    info.external_attr = mode << 16
    path = pack(tmp_path / "a.zip", TREE, (info, b""))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= flag  # the last entry of the central directory
    path.write_bytes(data)
    refused(path, "'odd.txt'")


def test_a_file_without_a_name(tmp_path: Path) -> None:
    refused(pack(tmp_path / "a.tar", TREE, tarfile.TarInfo("train/..")), "without a name")


def test_a_path_that_comes_twice(tmp_path: Path) -> None:
    refused(pack(tmp_path / "a.tar", TREE | {"./train/a/0.png": png(9)}), "'train/a/0.png'", "twice")


def test_a_member_made_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "LARGEST", 100_000)
    files = TREE | {"train/a/0.png": bytes(1_000_000)}
    refused(pack(tmp_path / "a.tar.xz", files), "'train/a/0.png'", "100000 bytes")
