"""What `fullscale.data` refuses: one line that names the culprit and says what is accepted."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from archives import TREE, pack, png, refused, unpack
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dynamics.errors import InputError
from fullscale.data import Images, Split, pixels


def sixteen_bits() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((3, 4), 60000, np.uint16)).save(file, "PNG")
    return file.getvalue()


LAYOUTS: dict[str, tuple[dict[str, bytes], list[str]]] = {
    "empty": ({}, ["no picture", "<class>"]),
    "only other files": ({"a/x.csv": b"", "b/SHA256SUMS": b""}, ["no picture"]),
    "one class": ({"a/0.png": png(0), "a/1.png": png(1)}, ["1 class", "'a'"]),
    "one class in a wrapping folder": ({"r/a/0.png": png(0), "r/a/1.png": png(1)}, ["1 class", "'a'"]),
    "no class": ({"0.png": png(0), "1.png": png(1)}, ["'0.png'", "<class>"]),
    "a stray picture": (TREE | {"logo.png": png(0)}, ["'logo.png'"]),
    "a picture too deep": (TREE | {"train/a/more/0.png": png(0)}, ["'train/a/more/0.png'"]),
    "a third side": (TREE | {"extra/a/0.png": png(0)}, ["'extra/a/0.png'", "train"]),
    "two validation folders": (
        {f"{s}/{c}/0.png": png(0) for s in ("train", "val", "valid") for c in "ab"}, ["'val'", "'valid'"],
    ),
    "a class only in train": (TREE | {"train/c/0.png": png(0)}, ["'c'", "in train, not in test"]),
    "a class only in test": (TREE | {"test/c/0.png": png(0)}, ["'c'", "in test, not in train"]),
    "an empty class": (TREE | {"train/c/": b"", "test/c/": b""}, ["'train/c'", "without images"]),
    "an empty test": ({"train/a/0.png": png(0), "train/b/0.png": png(0), "test/": b""}, ["0 class"]),
    "too few to split": ({"a/0.png": png(0), "b/0.png": png(0), "b/1.png": png(1)}, ["'a'", "too few", "(1)"]),
    "two sizes": (TREE | {"train/b/1.png": png(0, size=(5, 3))}, ["'train/b/1.png'", "5 x 3", "4 x 3"]),
    "no picture inside": (TREE | {"train/b/1.png": b"hello"}, ["'train/b/1.png'", "decode"]),
    "a damaged picture": (TREE | {"train/b/1.png": png(0)[:-25] + b"?" + png(0)[-24:]}, ["'train/b/1.png'", "decode"]),
    "half a picture": (TREE | {"train/b/1.png": png(0)[:-25]}, ["'train/b/1.png'", "decode"]),
    "sixteen bits": (TREE | {"train/b/1.png": sixteen_bits()}, ["'train/b/1.png'", "eight bits"]),
    "another format": (TREE | {"train/b/1.png": b"%!PS-Adobe-3.0 EPSF-3.0\n"}, ["'train/b/1.png'", "decode"]),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_layout(tmp_path: Path, case: str) -> None:
    files, words = LAYOUTS[case]
    refused(unpack(tmp_path / "tree", files), str(tmp_path / "tree"), *words)
    refused(pack(tmp_path / "a.tar.gz", files), "a.tar.gz", *words)


@pytest.mark.parametrize("limit", [1, 8])  # twice the limit is an error to Pillow, the limit itself a warning
def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    refused(unpack(tmp_path, TREE), "too large", f"up to {limit} pixels")


KINDS = ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"]


@pytest.mark.filterwarnings("ignore:.*(Truncated|Corrupt)")  # Pillow's, on its way to an error
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_cut_picture_is_refused_or_whole(kind: str, data: st.DataObject) -> None:
    whole = png(0, "RGB", (16, 16), kind)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1) | st.integers(len(whole) - 32, len(whole) - 1))]
    with suppress(InputError):
        assert np.array_equal(pixels.decode(cut, "cut"), pixels.decode(whole, "whole"))


def test_unusable_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("", "''", "digits", ".tar.xz")
    refused("no\0thing", "digits")
    refused(tmp_path / "missing\nfile.zip", "No such file", ".tar.xz")
    (tmp_path / "a.rar").write_bytes(b"")
    refused(tmp_path / "a.rar", "a.rar", ".tar.xz", ".zip")
    monkeypatch.chdir(unpack(tmp_path / "here", {}))
    refused(".", "no picture")


def test_a_loop_and_a_dead_link_in_a_unpack(tmp_path: Path) -> None:
    loop = unpack(tmp_path / "loop", TREE)
    (loop / "train/a/again").symlink_to(loop)
    refused(loop, "again", "loop")
    dead = unpack(tmp_path / "dead", TREE)
    (dead / "train/a/9.png").symlink_to("nowhere.png")
    refused(dead, "9.png")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, archive = unpack(tmp_path / "a", TREE), pack(tmp_path / "a.tar", TREE)

    def forbidden(path: object, *_: object) -> None:  # the tests may run as root, to whom no file is closed
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbidden)
    monkeypatch.setattr("fullscale.data.archive.OPENERS", {".tar": forbidden})
    refused(source, "0.png", "Permission denied")
    refused(archive, "a.tar", "Permission denied")


ONE = np.zeros((2, 1, 2, 2), np.uint8)
TWO = np.array([0, 1])


@pytest.mark.parametrize(
    ("images", "labels"),
    [(ONE.astype(float), TWO), (ONE[0], TWO[:1]), (ONE[:, [0, 0]], TWO), (ONE, TWO[:1]), (ONE, TWO.astype(np.int32))],
)
def test_split_refuses(images: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="accepted"):
        Split(images, labels)


@pytest.mark.parametrize("labels", [[0, 2], [-1, 1], [1, 1]])
def test_images_refuses(labels: list[int]) -> None:
    with pytest.raises(InputError, match=r"'n': .*in test.*accepted"):
        Images("n", ("a", "b"), Split(ONE, TWO), Split(ONE, np.array(labels)))
