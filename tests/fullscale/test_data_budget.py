"""Small files that unpack to much are refused in one line before they take memory or time; pictures lose no bits in silence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dynamics.errors import InputError
from fullscale.data import archive, load, pixels, unpacked

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


def encoded(picture: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def deep_png(kind: int, channels: int) -> bytes:
    """2 x 2 pixels of 16 bits a channel."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, kind, 0, 0, 0)),
             (b"IDAT", zlib.compress((b"\0" + bytes(range(4 * channels))) * 2)), (b"IEND", b""))  # fmt: skip
    chunks = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


RGB = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
TOO_DEEP = {
    "grey png": deep_png(0, 1),
    "colour png": deep_png(2, 3),
    "grey png with alpha": deep_png(4, 2),
    "colour png with alpha": deep_png(6, 4),
    "colour ppm": b"P6 2 2 65535\n" + bytes(24),
    "plain ppm": b"P3 1 1 65535\n1 2 3\n",
    "grey tiff": encoded(Image.fromarray(np.ones((4, 4), np.uint16)), "TIFF"),
    "float tiff": encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
    "lab tiff": encoded(Image.new("LAB", (4, 4)), "TIFF"),
}


@pytest.mark.parametrize("kind", TOO_DEEP)
def test_what_would_be_narrowed_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=r"^it: a picture of mode .*: eight bits a channel, .* are accepted$"):
        pixels.decode(TOO_DEEP[kind], "it")


def test_what_has_eight_bits_or_fewer_is_converted_and_warnings_of_what_is_dropped_are_not_shown() -> None:
    indexed = RGB.convert("P", palette=Image.Palette.ADAPTIVE)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for data, expected in (
            (encoded(indexed, "PNG", transparency=bytes(range(16))), indexed.convert("RGB")),
            (encoded(indexed, "PNG", transparency=3), indexed.convert("RGB")),
            (encoded(RGB.convert("CMYK"), "TIFF"), RGB),
            (encoded(RGB.convert("1"), "PNG"), RGB.convert("1").convert("L")),
            (b"P6 1 1 15\n" + bytes((0, 3, 15)), Image.new("RGB", (1, 1), (0, 51, 255))),
        ):
            assert np.array_equal(pixels.decode(data, "it"), np.asarray(expected))
        broken = encoded(RGB, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(20))
        assert np.array_equal(pixels.decode(broken, "it"), pixels.decode(encoded(RGB, "JPEG"), "it"))
    assert shown == []
