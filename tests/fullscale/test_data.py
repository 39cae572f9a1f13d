"""What `fullscale.data` reads: every layout and format, and what holds of the result."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from archives import pack, png, unpack
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dynamics.errors import InputError
from fullscale.data import Images, Split, load
from fullscale.data.archive import SUFFIXES


def pixels_of(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)))


def tree(sides: tuple[str, ...], classes: int, each: int, mode: str = "L") -> dict[str, bytes]:
    names = [f"{side}c{label}/{k}.png" for side in sides for label in range(classes) for k in range(each)]
    return {name: png(k, mode) for k, name in enumerate(names)}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    sides = draw(st.sampled_from([("",), ("root/",), ("train/", "test/"), ("a/b/train/", "a/b/val/"), ("train/",)]))
    modes = draw(st.sampled_from(["L", "RGB"]))
    files = tree(sides, draw(st.integers(2, 3)), draw(st.integers(2, 4)), modes)
    if draw(st.booleans()):  # one picture of the other kind: all become RGB
        files[next(iter(files))] = png(99, "RGB")
    files |= {"README.md": b"text", ".DS_Store": b"", "__MACOSX/c0/._0.png": b"junk", f"{sides[0]}c0/.x.png": b""}
    return dict(draw(st.permutations(list(files.items()))))


@settings(max_examples=40, deadline=None)
@given(files=trees(), suffix=st.sampled_from(SUFFIXES))
def test_archive_in_any_order_equals_folder(files: dict[str, bytes], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = load(unpack(Path(scratch) / "folder", files))
        archive = load(str(pack(Path(scratch) / f"archive{suffix}", files)))
    assert folder.digest == archive.digest
    assert (folder.name, archive.name) == ("folder", "archive")
    assert np.array_equal(folder.train.images, archive.train.images)
    assert np.array_equal(folder.test.labels, archive.test.labels)


def test_pixels_order_and_labels(tmp_path: Path) -> None:
    files = {"train/b/2.png": png(1), "train/b/10.png": png(2), "train/a/x.PNG": png(3)}
    files |= {"test/a/1.png": png(4), "test/b/1.png": png(5)}
    images = load(unpack(tmp_path, files))
    assert images.classes == ("a", "b")
    expected = [pixels_of(files[name]) for name in ("train/a/x.PNG", "train/b/10.png", "train/b/2.png")]
    assert np.array_equal(images.train.images, np.stack(expected)[:, None])
    assert images.train.labels.tolist() == [0, 1, 1]
    assert (images.train.images.dtype, images.train.labels.dtype) == (np.uint8, np.int64)
    assert images.test.images.shape == (2, 1, 3, 4)


def test_validation_folder_serves_only_without_test(tmp_path: Path) -> None:
    for held in ("val", "valid", "validation"):
        files = tree(("train/", f"{held}/"), 2, 2)
        assert len(load(unpack(tmp_path / held, files)).test.labels) == 4
        assert len(load(unpack(tmp_path / f"{held} too", files | tree(("test/",), 2, 3))).test.labels) == 6


def test_one_colour_picture_makes_all_rgb(tmp_path: Path) -> None:
    files = tree(("train/", "test/"), 2, 1)
    files["test/c1/0.png"] = png(7, "RGB")
    images = load(unpack(tmp_path, files))
    assert images.train.images.shape == (2, 3, 3, 4)
    assert np.array_equal(images.train.images[0], np.stack([pixels_of(files["train/c0/0.png"])] * 3))
    assert np.array_equal(images.test.images[1], pixels_of(files["test/c1/0.png"]).transpose(2, 0, 1))


KINDS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM",
}  # fmt: skip


def test_every_suffix(tmp_path: Path) -> None:
    for suffix, kind in KINDS.items():
        mode, shape = ("L", (1, 3, 4)) if suffix == ".pgm" else ("RGB", (3, 3, 4))
        files = {f"{s}/{c}/0{suffix}": png(k, mode, kind=kind) for k, c in enumerate("ab") for s in ("train", "test")}
        images = load(unpack(tmp_path / kind / suffix, files)).train.images
        assert images.shape[1:] == shape
        assert suffix != ".pgm" or np.array_equal(images[1, 0], pixels_of(files["train/b/0.pgm"]))


def test_links_inside_an_archive_are_followed(tmp_path: Path) -> None:
    files = tree(("train/", "test/"), 2, 1)
    plain = load(pack(tmp_path / "plain.tar", files | {"train/c0/l.png": files["train/c0/0.png"]}))
    for kind, target in ((tarfile.SYMTYPE, "../c0/0.png"), (tarfile.LNKTYPE, "train/c0/0.png")):
        with tarfile.open(pack(tmp_path / "linked.tar", files), "a") as archive:
            member = tarfile.TarInfo("train/c0/l.png")
            member.type, member.linkname = kind, target
            archive.addfile(member)
        assert load(tmp_path / "linked.tar").digest == plain.digest


def test_digits() -> None:
    images = load("digits")
    assert (images.name, images.classes) == ("digits", tuple("0123456789"))
    assert images.train.images.shape[1:] == (1, 8, 8)
    assert len(images.train.labels) + len(images.test.labels) == 1797
    assert (images.train.images.min(), images.train.images.max()) == (0, 16)
    shares = np.bincount(images.test.labels) / (np.bincount(images.test.labels) + np.bincount(images.train.labels))
    assert np.abs(shares - 0.2).max() < 0.01
    assert images.digest == load("digits").digest


def numbered(counts: list[int]) -> Images:
    """A task in which every image of train has its own pixel value, and all of test have another."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    pictures = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    order = np.random.default_rng(0).permutation(len(labels))
    test = Split(np.full((len(counts), 1, 1, 1), 255, np.uint8), np.arange(len(counts), dtype=np.int64))
    return Images("n", tuple(f"c{k}" for k in range(len(counts))), Split(pictures[order], labels[order]), test)


COUNTS = st.lists(st.integers(2, 20), min_size=2, max_size=6)


@given(counts=COUNTS, share=st.floats(0.001, 0.999), seed=st.integers(0, 2**40))
def test_validation_is_a_stratified_partition_of_train(counts: list[int], share: float, seed: int) -> None:
    images = numbered(counts)
    parts = images.validation(share, seed)
    one, other = (split.images.ravel().tolist() for split in (parts.train, parts.test))
    assert sorted(one + other) == sorted(images.train.images.ravel().tolist())  # nothing twice, lost, or of the test
    label_of = dict(zip(images.train.images.ravel().tolist(), images.train.labels.tolist(), strict=True))
    for split in (parts.train, parts.test):
        assert [label_of[v] for v in split.images.ravel().tolist()] == split.labels.tolist()
    for label, count in enumerate(counts):
        given_away = int((parts.test.labels == label).sum())
        assert 1 <= given_away < count
        assert abs(given_away - share * count) <= 1
    assert parts.digest == images.validation(share, seed).digest != images.digest


def test_validation_depends_on_the_seed_and_keeps_its_stream() -> None:
    held = [sorted(numbered([20, 20]).validation(0.1, seed).test.images.ravel().tolist()) for seed in (0, 1)]
    assert held[1] != held[0] == [4, 7, 22, 24]


@given(counts=COUNTS, data=st.data())
def test_select_keeps_exactly_the_classes(counts: list[int], data: st.DataObject) -> None:
    images = numbered(counts)
    wanted = data.draw(st.lists(st.sampled_from(images.classes), min_size=2, unique=True))
    easier = images.select(wanted)
    assert easier.classes == tuple(name for name in images.classes if name in wanted)
    for before, after in ((images.train, easier.train), (images.test, easier.test)):
        names = [easier.classes[label] for label in after.labels]
        kept = [k for k, label in enumerate(before.labels) if images.classes[label] in wanted]
        assert names == [images.classes[before.labels[k]] for k in kept]
        assert np.array_equal(after.images, before.images[kept])
    assert (easier.digest == images.digest) == (len(wanted) == len(counts))


def test_digest_sees_every_part_but_the_name() -> None:
    images = numbered([3, 3])
    (pictures, labels), classes, test = (images.train.images, images.train.labels), images.classes, images.test
    parts = [
        (classes, images.train, test),
        (classes, Split(pictures ^ (np.arange(6) == 0).astype(np.uint8)[:, None, None, None], labels), test),
        (classes, Split(pictures, labels ^ (np.arange(6) == 0)), test),
        (("c0", "other"), images.train, test),
        (classes, test, images.train),
    ]
    assert len({Images("n", *part).digest for part in parts}) == len(parts)
    assert dataclasses.replace(images, name="other").digest == images.digest


def test_parts_that_there_are_not(tmp_path: Path) -> None:
    for share, seed in ((0, 0), (1, 0), (-0.1, 0), (float("nan"), 0), (0.2, -1), (0.2, 0.5)):
        with pytest.raises(InputError, match="accepted"):
            numbered([3, 3]).validation(share, seed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'c1' has too few images to split \(1\)"):
        numbered([3, 1]).validation()
    for classes, words in ((["c0", "dog"], "class 'dog': of 'n', 'c0', 'c1' are"), (["c0", "c0"], "two or more are")):
        with pytest.raises(InputError, match=f"{words} accepted"):
            numbered([3, 3]).select(classes)
