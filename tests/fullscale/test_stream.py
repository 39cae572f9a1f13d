"""Pictures streamed from disk: the recipe for crops, normalization, order, and one result for any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dynamics.errors import InputError
from fullscale import stream
from fullscale.data import Files, open_source
from fullscale.stream import DEVIATION, MEAN, Streamed

SIZE = 14  # 16 before the crop, as 256 is for 224


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Smooth pictures of several sizes, one grey, whose colour says which they are."""
    folder = tmp_path_factory.mktemp("pictures")
    for side, each in (("train", 4), ("test", 2)):
        for label, name in enumerate("abc"):
            (folder / side / name).mkdir(parents=True)
            for k in range(each):
                tint = 20 * (4 * label + k)
                across = np.linspace(0, 200, 20 + 5 * k).astype(np.uint8)
                pixels = np.broadcast_to(across, (24, len(across)))
                if k:
                    pixels = np.stack([pixels, np.full_like(pixels, tint), np.full_like(pixels, 7)], axis=2)
                Image.fromarray(np.ascontiguousarray(pixels)).save(folder / side / name / f"{k}.png")
    found = open_source(folder)
    assert isinstance(found, Files)
    return found


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def joined(batches: object) -> tuple[torch.Tensor, torch.Tensor]:
    xs, ys = zip(*batches, strict=True)
    return torch.cat(xs), torch.cat(ys)


def test_what_comes_out(files: Files) -> None:
    feed = Streamed(files, size=SIZE)
    assert (feed.digest, feed.classes, feed.shape) == (files.digest, ("a", "b", "c"), (3, SIZE, SIZE))
    assert feed.steps(5) == 2
    for x, y in feed.epoch(5, seeded(0)):
        assert (x.shape, x.dtype, y.dtype) == ((5, 3, SIZE, SIZE), torch.float32, torch.int64)
    assert [len(y) for _, y in feed.training(5)] == [5, 5, 2]
    assert joined(feed.training(5))[1].tolist() == files.train.labels.tolist()
    assert joined(feed.test(4))[1].tolist() == files.test.labels.tolist()
    for wrong, word in (({"size": 0}, "size 0"), ({"workers": -1}, "workers -1")):
        with pytest.raises(InputError, match=rf"{word}.*accepted"):
            Streamed(files, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"batch 13: must be at most 12, the number of training images"):
        feed.epoch(13, seeded(0))


def test_what_is_measured_is_the_central_square(files: Files) -> None:
    x = joined(Streamed(files, size=SIZE).test(4))[0]
    for index in range(len(files.test)):
        picture = Image.fromarray(files.test.read(index))
        width, height = picture.size
        small = picture.resize(
            (16 * width // min(width, height), 16 * height // min(width, height)), Image.Resampling.BILINEAR
        )
        left, top = (small.width - SIZE) // 2, (small.height - SIZE) // 2
        square = np.asarray(small.crop((left, top, left + SIZE, top + SIZE))).astype(np.float32) / 255
        expected = (square - np.float32(MEAN)) / np.float32(DEVIATION)
        assert np.allclose(x[index].permute(1, 2, 0).numpy(), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, on a machine of one core
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python's, from 3.12 on, of a fork beside threads
def test_an_epoch_is_decided_by_its_generator_alone(files: Files) -> None:
    feed, two = (Streamed(files, size=SIZE, workers=workers) for workers in (0, 2))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    x, y = joined(feed.epoch(4, seeded(0)))
    assert torch.equal(torch.get_rng_state(), before)  # the global stream is left alone
    torch.manual_seed(2)
    again, labels = joined(two.epoch(4, seeded(0)))
    assert torch.equal(x, again)
    assert torch.equal(y, labels)
    assert sorted(y.tolist()) == sorted(files.train.labels.tolist())  # each picture once
    generator = seeded(0)
    epochs = [joined(feed.epoch(4, generator))[0] for _ in range(2)]
    assert torch.equal(epochs[0], x)
    assert not torch.equal(epochs[1], x)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named_in_one_line(tmp_path: Path, workers: int) -> None:
    for side in ("train", "test"):
        for k, name in enumerate("ab"):
            (tmp_path / side / name).mkdir(parents=True)
            for size in (20, 21):
                Image.new("RGB", (size, 20), (k, 0, 0)).save(tmp_path / side / name / f"{size}.png")
    found = open_source(tmp_path)
    assert isinstance(found, Files)
    broken = tmp_path / "train" / "b" / "20.png"
    broken.write_bytes(broken.read_bytes()[:-30] + bytes(30))
    with pytest.raises(InputError) as caught:
        list(Streamed(found, size=SIZE, workers=workers).epoch(2, seeded(0)))
    assert "train/b/20.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parts_of_the_batches_are_the_batches(files: Files) -> None:
    feed = Streamed(files, size=SIZE)
    x, y = joined(feed.epoch(4, seeded(0)))
    parts = [joined(feed.epoch(4, seeded(0), (k, 2))) for k in range(2)]
    for whole, (one, other) in zip((x, y), zip(*parts, strict=True), strict=True):
        pieces = [piece for pair in zip(one.split(2), other.split(2), strict=True) for piece in pair]
        assert torch.equal(torch.cat(pieces), whole)


def test_without_augmentation_only_the_order_changes(files: Files) -> None:
    feed = Streamed(files, size=SIZE, augment=False)
    plain = joined(feed.training(12))[0]
    x, y = joined(feed.epoch(12, seeded(0)))
    order = torch.randperm(12, generator=seeded(0))
    assert torch.equal(x, plain[order])
    assert torch.equal(y, torch.from_numpy(files.train.labels)[order])
    assert not torch.equal(joined(Streamed(files, size=SIZE).epoch(12, seeded(0)))[0], x)


DRAWS = st.lists(st.floats(0, 1, exclude_max=True), min_size=41, max_size=41)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), draws=DRAWS)
def test_a_crop_lies_inside_and_has_the_shape_of_the_recipe(height: int, width: int, draws: list[float]) -> None:
    left, top, right, bottom = stream.box(height, width, draws)
    w, h = right - left, bottom - top
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    # Up to the rounding of both sides to whole pixels.
    if min(height, width) > 3 and max(height, width) < 4 / 3 * min(height, width):
        assert 3 / 4 * (w - 1) - 1 <= h <= 4 / 3 * (w + 1) + 1
        assert (w + 1) * (h + 1) >= 0.08 * height * width


def test_crops_are_uniform_in_area_and_the_logarithm_of_the_shape() -> None:
    # 2,000 crops: means within five standard errors of those of the uniform distributions.
    boxes = [stream.box(1000, 1000, stream.uniform(3, index, 41)) for index in range(2000)]
    sides = np.array([(right - left, bottom - top) for left, top, right, bottom in boxes], dtype=float)
    shape = np.log(sides[:, 0] / sides[:, 1])
    assert abs(shape.mean()) < 5 * shape.std() / 2000**0.5
    # Where the area is below 3/4 every shape fits, so nothing was drawn again: 0.08 to 0.75 is uniform.
    area = sides.prod(axis=1) / 1e6
    free = area[area < 0.75]
    assert abs(free.mean() - 0.415) < 5 * free.std() / len(free) ** 0.5
    assert free.min() < 0.09
    lefts = np.array([left / (1000 - (right - left) + 1) for left, _, right, _ in boxes if right - left < 900])
    assert abs(lefts.mean() - 0.5) < 5 * lefts.std() / len(lefts) ** 0.5


def test_half_of_the_crops_are_mirrored() -> None:
    across = np.broadcast_to(np.arange(0, 250, 5, dtype=np.uint8)[None, :, None], (50, 50, 3))
    rising = 0
    for index in range(400):
        square = stream.crop(np.ascontiguousarray(across), 8, stream.uniform(1, index, 41)).astype(int)
        rising += int(square[0, -1, 0] > square[0, 0, 0])
    assert abs(rising - 200) < 50  # five standard deviations


def test_any_picture_has_a_central_square_and_a_long_one_a_central_crop() -> None:
    for height, width in ((1, 1), (2, 9), (9, 2), (500, 333), (333, 500)):
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert stream.centre(picture, 224).shape == (224, 224, 3)
    never = [0.999] * 41  # nearly the whole area: does not fit into so long a picture at 4/3
    assert stream.box(30, 300, never) == (130, 0, 170, 30)
    assert stream.box(300, 30, never) == (0, 130, 30, 170)


def test_numbers_keep_their_stream() -> None:
    kept = [0.4821286018761155, 0.7241355726248441, 0.05025403948627161]
    assert stream.uniform(7, 3, 3) == kept
    assert stream.uniform(7, 3, 41)[:3] == kept
    assert stream.uniform(8, 3, 3) != kept != stream.uniform(7, 4, 3)
