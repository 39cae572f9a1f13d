"""IDX files in `fullscale.data`: what is read and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import pack, refused

from fullscale.data import load


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("form", ["{}-{}-idx{}-ubyte", "{}-{}-idx{}-ubyte.gz", "{}-{}.idx{}-ubyte"])
@pytest.mark.parametrize("suffix", ["", ".zip", ".tar"])
def test_what_is_read(tmp_path: Path, form: str, suffix: str) -> None:
    files, pixels = {}, np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    for side, count in (("train", 6), ("t10k", 4)):
        for kind, array in (("images", pixels[:count]), ("labels", np.arange(count) % 2 * 3)):
            name = form.format(side, kind, array.ndim)
            files[name] = squeeze(idx(array)) if name.endswith(".gz") else idx(array)
    images = load(pack(tmp_path / f"tree{suffix}", files))
    assert images.classes == ("0", "3")
    assert np.array_equal(images.train.images, pixels[:, None])
    assert images.test.labels.tolist() == [0, 1, 0, 1]


def squeeze(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def gz(change: Callable[[bytes], bytes]) -> dict[str, bytes | None]:
    return {IMAGES: None, IMAGES + ".gz": change(squeeze(idx(np.ones((4, 3, 2)))))}


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
GOOD = {
    name: idx(np.ones((4, 3, 2)) if "images" in name else np.array([0, 1, 0, 1]))
    for name in (IMAGES, LABELS, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
}
HUGE = bytes((0, 0, 8, 3)) + b"\xff" * 12
FAULTS: dict[str, tuple[dict[str, bytes | None], list[str]]] = {
    "another magic": ({IMAGES: b"\0\0\x0d\3" + GOOD[IMAGES][4:]}, [IMAGES, "00000d03", "00000803"]),
    "labels as images": ({IMAGES: GOOD[LABELS]}, [IMAGES, "00000801", "00000803"]),
    "an empty file": ({LABELS: b""}, [LABELS, "magic"]),
    "half a header": ({IMAGES: GOOD[IMAGES][:9]}, [IMAGES, "header"]),
    "cut": ({IMAGES: GOOD[IMAGES][:-1]}, [IMAGES, "23 bytes", "24"]),
    "too long": ({IMAGES: GOOD[IMAGES] + b"x"}, [IMAGES, "more", "24"]),
    "a header that lies": ({IMAGES: HUGE + bytes(9)}, [IMAGES, "up to 4,294,967,296"]),
    "no pixels": ({IMAGES: idx(np.ones((4, 0, 2)))}, [IMAGES, "(4, 0, 2)"]),
    "labels too short": ({LABELS: idx(np.array([0, 1, 0]))}, ["3 train labels for 4 images"]),
    "a file missing": ({LABELS: None}, [LABELS, "all four"]),
    "other classes": ({LABELS: idx(np.array([0, 1, 2, 1]))}, ["[0, 1, 2]", "[0, 1]"]),
    "one class": ({LABELS: idx(np.zeros(4)), LABELS.replace("train", "t10k"): idx(np.zeros(4))}, ["1 class"]),
    "two sizes": ({IMAGES: idx(np.ones((4, 2, 3)))}, ["(1, 2, 3)", "(1, 3, 2)"]),
    "twice and different": ({IMAGES + ".gz": squeeze(idx(np.zeros((4, 3, 2))))}, [IMAGES, "differs"]),
    "several folders": (dict.fromkeys(GOOD) | {f"{n[:2]}/{n}": d for n, d in GOOD.items()}, ["several folders"]),
    "gzip cut": (gz(lambda data: data[:-5]), [IMAGES + ".gz", "gzip"]),
    "gzip cut early": (gz(lambda data: data[:15]), [IMAGES + ".gz", "gzip"]),
    "no gzip": (gz(lambda data: b"hello" + data), [IMAGES + ".gz", "gzip"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    changes, words = FAULTS[case]
    files = {name: data for name, data in (GOOD | changes).items() if data is not None}
    refused(pack(tmp_path / "tree", files), *words)
    refused(pack(tmp_path / "tree.tar", files), *words)
