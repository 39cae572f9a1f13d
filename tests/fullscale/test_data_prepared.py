"""Tasks made easier or harder: fewer pixels, fewer classes, labels that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

from dynamics.errors import InputError
from fullscale.data import Images, Split, canonical, load, prepared
from fullscale.data.pixels import AT_ONCE, area_average
from undertow.commands.arguments import named


def drawn(count: int, side: int, classes: int = 3, seed: int = 0) -> Images:
    draws = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    pixels = draws.integers(0, 256, (count, 3, side, side)).astype(np.uint8)
    names = tuple("abcdefghij"[:classes])
    return Images("drawn", names, Split(pixels, labels), Split(pixels[::-1], labels[::-1]))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 11), width=st.integers(1, 11), data=st.data())
def test_each_pixel_is_the_average_over_its_area(height: int, width: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, min(height, width)))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, height, width)).astype(np.uint8)
    # Each pixel as size x size equal ones: then every area is of whole pixels, whatever the size.
    fine = pixels.repeat(size, axis=2).repeat(size, axis=3).astype(np.int64)
    sums = fine.reshape(2, 3, size, height, size, width).sum((3, 5))
    area = height * width
    down, rest = sums // area, sums % area
    up = (2 * rest > area) | ((2 * rest == area) & (down % 2 == 1))
    found = area_average(pixels, size)
    assert found.dtype == np.uint8
    assert np.array_equal(found, down + up)


def test_halves_do_not_brighten() -> None:
    pairs = np.array([[0, 1], [1, 2]], np.uint8)[:, None, :, None].repeat(2, axis=3)  # averages 1/2 and 3/2
    assert area_average(pairs, 1).ravel().tolist() == [0, 2]


@pytest.mark.parametrize(("side", "size"), [(32, 16), (12, 4), (8, 8), (28, 7)])
def test_as_torch_averages_where_the_size_divides(side: int, size: int) -> None:
    pixels = drawn(20, side).train.images
    exact = interpolate(torch.from_numpy(pixels).double(), (size, size), mode="area").numpy()
    found = area_average(pixels, size)
    assert np.abs(found - exact).max() <= 0.5
    assert exact.mean() == pytest.approx(pixels.mean(), rel=1e-12)
    assert found.mean() == pytest.approx(pixels.mean(), abs=0.05)


@pytest.mark.parametrize(("side", "size"), [(32, 12), (9, 7), (7, 3)])
def test_as_pillow_averages_otherwise(side: int, size: int) -> None:
    images = drawn(10, side)
    for before, after in zip(images.train.images, images.resized(size).train.images, strict=True):
        # Its box filter counts a pixel wholly or not at all: each pixel as size x size equal ones has none that is cut.
        fine = Image.fromarray(before.transpose(1, 2, 0)).resize((side * size,) * 2, Image.Resampling.NEAREST)
        theirs = fine.resize((size, size), Image.Resampling.BOX)
        # It rounds between its two passes, and halves up.
        assert np.abs(np.asarray(theirs).transpose(2, 0, 1).astype(int) - after).max() <= 1


def test_blocks_join(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = drawn(7, 6).train.images
    whole = area_average(pixels, 4)
    monkeypatch.setattr("fullscale.data.pixels.AT_ONCE", 2 * 3 * 36)
    assert pixels.size < AT_ONCE
    assert np.array_equal(area_average(pixels, 4), whole)


@settings(max_examples=30, deadline=None)
@given(one=st.floats(0, 1), other=st.floats(0, 1), classes=st.integers(2, 6), count=st.integers(60, 90))
def test_a_larger_share_changes_more_and_the_rest_alike(one: float, other: float, classes: int, count: int) -> None:
    images = drawn(count, 1, classes)
    less, more = (images.mislabelled(share).train.labels for share in sorted((one, other)))
    true = images.train.labels
    assert np.array_equal(more[less != true], less[less != true])
    assert (less != true).sum() <= round(min(one, other) * count)
    assert np.array_equal(images.mislabelled(one).test.labels, images.test.labels)
    assert np.array_equal(images.mislabelled(one).train.images, images.train.images)


def test_new_labels_are_uniform_over_all_classes() -> None:
    count, classes = 30_000, 3
    images = drawn(count, 1, classes)
    for share in (0.25, 1.0):
        labels = images.mislabelled(share).train.labels
        wrong = int((labels != images.train.labels).sum())
        # Binomial: round(share * N) draws, each wrong with 1 - 1/classes. Five deviations, and the draws never change.
        chance, drawn_anew = 1 - 1 / classes, share * count
        assert abs(wrong - drawn_anew * chance) < 5 * (drawn_anew * chance * (1 - chance)) ** 0.5
    table = np.zeros((classes, classes))
    np.add.at(table, (images.train.labels, labels), 1)
    cell = count / classes**2
    assert ((table - cell) ** 2 / cell).sum() < 30  # chi-squared of 8 degrees of freedom: below 30 but for 2 in 10,000


def test_the_stream_of_wrong_labels_stays() -> None:
    changed = np.flatnonzero(drawn(40, 1).mislabelled(0.2).train.labels != drawn(40, 1).train.labels)
    assert changed.tolist() == [3, 11, 13, 15, 20]


def test_what_is_prepared_says_so_and_has_a_digest_of_its_own() -> None:
    images = load("digits")
    asked: list[dict[str, object]] = [
        {}, {"classes": ("3", "8")}, {"size": 4}, {"label_noise": 0.1}, {"classes": ("3", "8"), "size": 4, "label_noise": 0.5},
    ]  # fmt: skip
    found = [prepared(images, **how) for how in asked]  # type: ignore[arg-type]
    assert [one.name for one in found] == [
        "digits", "digits, 2 classes", "digits, 4 x 4", "digits, 10% of labels random",
        "digits, 2 classes, 4 x 4, 50% of labels random",
    ]  # fmt: skip
    assert len({one.digest for one in found}) == len(found)
    assert prepared(images) is images
    steps = images.select(("3", "8")).resized(4).mislabelled(0.5)
    assert found[-1].digest == steps.digest


def test_one_task_has_one_form() -> None:
    images = drawn(9, 6)
    plain = {"classes": (), "size": 0, "label_noise": 0.0}
    assert canonical(images) == canonical(images, ("c", "b", "a"), 6) == plain
    assert canonical(images, ("c", "a"), 5, 1) == {"classes": ("a", "c"), "size": 5, "label_noise": 1.0}
    for how in ({"classes": ("c", "b", "a"), "size": 6}, {"size": 6}):
        assert prepared(images, **how).digest == images.digest  # type: ignore[arg-type]


def test_what_cannot_be_prepared() -> None:
    images = drawn(9, 6)
    for size in (-1, 7):
        with pytest.raises(InputError, match=f"^size {size} for 'drawn': 1 to 6, the size that it has, is accepted$"):
            prepared(images, size=size)
    tall = Split(np.zeros((2, 1, 4, 3), np.uint8), np.arange(2))
    with pytest.raises(InputError, match="size 3 for 'tall' of 4 x 3 pixels: square images are accepted"):
        prepared(Images("tall", ("a", "b"), tall, tall), size=3)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"label noise .* a finite number from 0 to 1 is accepted"):
            prepared(images, label_noise=share)
    with pytest.raises(InputError, match="is without images in train"):
        drawn(4, 1, 4).mislabelled(1.0)


def test_classes_are_named_with_spaces_or_commas() -> None:
    classes = ("cat", "dog", "goldfish, Carassius auratus", "a,b")
    for given_names, found in (
        ([], ()), (["cat", "dog"], ("cat", "dog")), (["cat,dog"], ("cat", "dog")), (["cat, dog"], ("cat", "dog")),
        (["goldfish, Carassius auratus", "a,b"], classes[2:]), (["a,b", "cat,dog"], ("a,b", "cat", "dog")),
        (["cat,bird"], ("cat", "bird")),
    ):  # fmt: skip
        assert named(given_names, classes) == found
