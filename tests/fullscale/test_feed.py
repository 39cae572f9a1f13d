"""Batches: every image once an epoch, normalized, shifted and mirrored as asked, the same at every run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shades import training

from dynamics.errors import InputError
from fullscale.data import Images, Split
from fullscale.feed import Resident, joined, shifted
from fullscale.spec import SHIFT


def numbered(count: int, height: int = 5, width: int = 4) -> Images:
    """Images of which each has pixels of its own."""
    draws = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int64) % 2
    pixels = draws.integers(0, 256, (count, 3, height, width)).astype(np.uint8)
    return Images("numbered", ("a", "b"), Split(pixels, labels), Split(pixels[:4], labels[:4]))


@settings(max_examples=15, deadline=None)
@given(count=st.integers(4, 30), batch=st.integers(2, 9), seed=st.integers(0, 2**32), augment=st.booleans())
def test_an_epoch_is_whole_batches_of_different_images(count: int, batch: int, seed: int, augment: bool) -> None:
    images = numbered(count)
    feed = Resident(images, augment=augment)
    if batch > count:
        with pytest.raises(InputError, match=f"batch {batch}: must be at most {count}, the number of training images"):
            feed.steps(batch)
        return
    parts = list(feed.epoch(batch, torch.Generator().manual_seed(seed)))
    assert len(parts) == feed.steps(batch) == count // batch
    assert {(x.shape, x.dtype) for x, _ in parts} == {(torch.Size([batch, 3, 5, 4]), torch.float32)}
    again = list(feed.epoch(batch, torch.Generator().manual_seed(seed)))
    assert all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(parts, again, strict=True))
    if not augment:
        every, labels = training(images)
        x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
        order = [int((every == one).flatten(1).all(dim=1).nonzero()) for one in x]
        assert len(set(order)) == len(order)
        assert torch.equal(y, labels[order])


def test_all_images_in_order() -> None:
    images = numbered(10)
    images.train.images[:, 2] = 7  # a channel that never changes must not become NaN
    feed = Resident(images, augment=True)
    pixels = images.train.images.astype(np.float64)
    mean, spread = pixels.mean((0, 2, 3), keepdims=True), pixels.std((0, 2, 3), keepdims=True)
    spread[:, 2] = 1
    for split, parts in ((images.train, feed.training(3)), (images.test, feed.test(3))):
        x, y = joined(parts, 100)
        assert x.numpy() == pytest.approx((split.images - mean) / spread, rel=1e-5, abs=1e-5)
        assert y.tolist() == split.labels.tolist()
    assert joined(feed.training(3), 4)[0].shape == (4, 3, 5, 4)
    assert (feed.digest, feed.classes, feed.shape) == (images.digest, ("a", "b"), (3, 5, 4))


@settings(max_examples=20, deadline=None)
@given(
    shift=st.integers(1, SHIFT),
    count=st.integers(1, 6),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    data=st.data(),
)
def test_augmentation_is_a_shifted_window_and_a_mirror(
    shift: int, count: int, height: int, width: int, data: st.DataObject
) -> None:
    places = st.integers(0, 2 * shift)
    moves = data.draw(st.lists(st.tuples(places, places, st.booleans()), min_size=count, max_size=count))
    pixels = torch.from_numpy(np.random.default_rng(1).integers(1, 256, (count, 2, height, width)).astype(np.uint8))
    down, right, mirror = (torch.tensor(part) for part in zip(*moves, strict=True))
    found = shifted(pixels, down, right, mirror.long(), shift)
    for i, (top, left, mirrored) in enumerate(moves):
        bordered = np.pad(pixels[i].numpy(), ((0, 0), (shift, shift), (shift, shift)))
        window = bordered[:, top : top + height, left : left + width]
        assert np.array_equal(found[i].numpy(), window[:, :, ::-1] if mirrored else window)


@pytest.mark.parametrize("shift", [SHIFT, 1])
def test_every_shift_and_both_mirrors_come(shift: int) -> None:
    count = 2000
    pixels = np.zeros((count, 1, 9, 9), dtype=np.uint8)
    pixels[:, :, 4, 4] = 255
    pixels[:, :, 4, 3] = 100  # on the other side of the mirror
    labels = np.arange(count, dtype=np.int64) % 2
    dots = Images("dots", ("a", "b"), Split(pixels, labels), Split(pixels[:2], labels[:2]))
    feed = Resident(dots, augment=True, shift=shift)
    x, _ = joined(feed.epoch(count, torch.Generator().manual_seed(0)), count)
    brightest = x.flatten(1).argmax(dim=1)
    assert len(brightest.unique()) == (2 * shift + 1) ** 2
    left = x.flatten(1).gather(1, (brightest - 1).clamp(min=0)[:, None])[:, 0]
    dark = x.min()
    # 100 lies left of 255, unless mirrored or beyond the border.
    assert 0.4 < float((left > dark).double().mean()) < 0.6


@settings(max_examples=15, deadline=None)
@given(parts=st.integers(1, 4), each=st.integers(1, 3), count=st.integers(12, 30), augment=st.booleans())
def test_parts_of_the_batches_are_the_batches(parts: int, each: int, count: int, augment: bool) -> None:
    feed, batch = Resident(numbered(count), augment=augment), parts * each
    shares = [feed.epoch(batch, torch.Generator().manual_seed(1), (k, parts)) for k in range(parts)]
    whole = list(feed.epoch(batch, torch.Generator().manual_seed(1)))
    joint = [tuple(map(torch.cat, zip(*pieces, strict=True))) for pieces in zip(*shares, strict=True)]
    assert len(joint) == len(whole) == feed.steps(batch)
    assert all(torch.equal(a, x) and torch.equal(b, y) for (a, b), (x, y) in zip(joint, whole, strict=True))
