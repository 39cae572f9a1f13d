"""Small files that unpack to much, in bytes, members or folders, are refused in one line before they take memory or time."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dynamics.errors import InputError
from fullscale.data import archive, load, unpacked

PACKERS = {".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}
HEAD = bytes((0, 0, 8, 3)) + (1000).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred kilobytes in the place of the hundreds of megabytes that are free."""
    monkeypatch.setattr(unpacked, "FREE", 100_000)


def tar(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def refused(path: Path, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_compressed_tar_is_held_to_the_budget_whatever_is_in_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(PACKERS[suffix](tar(("film.mp4", bytes(1_000_000)))))
    refused(path, "unpacks to .* bytes and more: up to 50 times the packed ones and 100,000 are accepted")


def test_the_members_of_a_zip_are_held_to_the_budget_together(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("film.mp4", bytes(10_000_000))  # is passed over, and costs nothing
        for k in range(40):
            made.writestr(f"train-images-idx3-ubyte/{k}", b"")
            made.writestr(f"{k}/train-images-idx3-ubyte", HEAD + bytes(784_000))
    refused(path, "unpacks to .* bytes and more")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as made:
        made.writestr("a/x.png", bytes(1_000_000))
    refused(path, "another method than deflate")


def test_a_gzipped_idx_file_is_held_to_the_budget(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(HEAD + bytes(784_000)))
    refused(tmp_path, "train-images-idx3-ubyte.gz.* unpacks to")


def test_members_without_number_and_without_end_of_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBERS", 20)
    monkeypatch.setattr(unpacked, "FREE", 10**6)
    path, many = tmp_path / "a.tar", [(f"a/{k}.txt", b"") for k in range(21)]
    path.write_bytes(tar(*many))
    refused(path, "more than 20 members")
    path.write_bytes(tar(("a/" * 65 + "x.png", b"")))
    refused(path, "lies too deep: up to 64 folders")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, data in many:
            made.writestr(name, data)
    refused(path, "more than 20 members")


def test_a_plain_tar_is_passed_over_by_seeking(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    info: Any = tarfile.TarInfo("film.mp4")
    info.size = 10**13  # what no pass could read
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(512 + 10**13 + 1024)
    refused(path, "no picture")
