"""Archives that `fullscale.data` refuses: cut, damaged, hostile. Never half a data set."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dynamics.errors import InputError
from fullscale.data import load, tree


def png(value: int, size: tuple[int, int] = (4, 3)) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 256, size[::-1], dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


TREE = {f"{side}/{c}/{k}.png": png(k) for side in ("train", "test") for c in "ab" for k in range(3)}


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": lambda data: gzip.compress(data, mtime=0),
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def tar(path: Path, *extra: tarfile.TarInfo, files: dict[str, bytes] = TREE) -> Path:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in extra:
            archive.addfile(member)
    path.write_bytes(COMPRESS["".join(path.suffixes)](file.getvalue()))
    return path


def zipped(path: Path, *extra: tuple[zipfile.ZipInfo, bytes], files: dict[str, bytes] = TREE) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        for info, data in extra:
            archive.writestr(info, data)
    return path


def refused(source: str | Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(source)
    message = str(caught.value)
    assert "\n" not in message
    for word in (*words, "accepted"):
        assert word in message


@cache
def whole_archive(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"a{suffix}"
        return (zipped(path) if suffix == ".zip" else tar(path)).read_bytes()


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
    path = tar(tmp_path / "a.tar", files=dict.fromkeys(TREE, file.getvalue()))
    load(path)
    size = 512 + -(-len(file.getvalue()) // 512) * 512
    path.write_bytes(path.read_bytes()[: size * (len(TREE) - 1)])
    refused(path, str(path), "end-of-archive")


def test_a_zip_cut_behind_an_inner_zip_is_refused(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip").read_bytes()
    whole = zipped(tmp_path / "outer.zip", files={"inner.zip": inner, **TREE}).read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(whole[: whole.index(inner) + len(inner)])
    refused(path, "cut.zip", "in front")


NAMES = ["/etc/x.png", "../x.png", "train/../../x.png", "C:/x.png", "./C:x.png", "train\\..\\x.png", "\\\\host\\x.png"]


@pytest.mark.parametrize("name", [*NAMES, "../notes.txt", "train/a/../../../.hidden"])
def test_a_member_that_leads_outside(tmp_path: Path, name: str) -> None:
    refused(tar(tmp_path / "a.tar.xz", tarfile.TarInfo(name)), "a.tar.xz", repr(name))
    refused(zipped(tmp_path / "a.zip", (zipfile.ZipInfo(name), b"")), "a.zip", repr(name))


def test_a_zero_byte_in_a_zip_name(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", files=TREE | {"train/a/N.png": png(1)})
    path.write_bytes(path.read_bytes().replace(b"train/a/N.png", b"train/a\0N.png"))
    refused(path, repr("train/a\0N.png"))


TARGETS = ["/etc/passwd", "../../../x.png", "C:/x.png", "..\\x.png"]


@pytest.mark.parametrize("name", ["train/a/l.png", "notes.txt"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_link_that_leads_outside(tmp_path: Path, name: str, target: str) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        refused(tar(tmp_path / "a.tar.gz", member), repr(name), repr(target))
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(zipped(tmp_path / "a.zip", (info, target.encode())), repr(name), repr(target))


@pytest.mark.parametrize(
    ("name", "target"), [("train/a/l.png", "9.png"), ("c", "train"), ("here", "."), ("train/a/l.png", "l.png")]
)
def test_a_link_that_would_hide_pictures(tmp_path: Path, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    refused(tar(tmp_path / "a.tar", member), repr(name))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_device_a_pipe_a_sparse_file(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("dev/x")
    member.type = kind
    refused(tar(tmp_path / "a.tar", member), "'dev/x'", "device")


@pytest.mark.parametrize(("old", "new"), [(b".png", b"/png"), (b"train/b", b"train/."), (b"train/b", b"train/a")])
def test_a_zip_with_two_names_for_a_member(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = zipped(tmp_path / "a.zip")
    data = path.read_bytes()
    directory = data.index(b"PK\1\2")
    path.write_bytes(data[:directory] + data[directory:].replace(old, new, 1))
    refused(path, "a.zip", "differ")


def test_a_zip_whose_directory_swallows_a_member(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    first, second = data.index(b"PK\1\2"), data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[first + 32] = second - first  # the length of the first entry's comment
    path.write_bytes(data)
    refused(path, "a.zip", "11 members where 12 are announced")


@pytest.mark.parametrize(("mode", "flag"), [(stat.S_IFIFO, 0), (stat.S_IFCHR, 0), (stat.S_IFREG, 1)])
def test_a_zip_with_a_pipe_a_device_a_secret(tmp_path: Path, mode: int, flag: int) -> None:
    info = zipfile.ZipInfo("odd.txt")
    info.external_attr = mode << 16
    path = zipped(tmp_path / "a.zip", (info, b""))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= flag  # the last entry of the central directory
    path.write_bytes(data)
    refused(path, "'odd.txt'")


def test_a_file_without_a_name(tmp_path: Path) -> None:
    refused(tar(tmp_path / "a.tar", tarfile.TarInfo("train/..")), "without a name")


def test_a_path_that_comes_twice(tmp_path: Path) -> None:
    refused(tar(tmp_path / "a.tar", files=TREE | {"./train/a/0.png": png(9)}), "'train/a/0.png'", "twice")


def test_a_member_made_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "LARGEST", 100_000)
    files = TREE | {"train/a/0.png": bytes(1_000_000)}
    refused(tar(tmp_path / "a.tar.xz", files=files), "'train/a/0.png'", "100000 bytes")
