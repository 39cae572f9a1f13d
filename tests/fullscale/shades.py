"""Images that a small network tells apart after a few steps, and a run on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from fullscale.data import Images, Split
from fullscale.feed import Resident, joined
from fullscale.spec import RunSpec


def shades(count: int = 24, channels: int = 1, seed: int = 0, side: int = 6) -> Images:
    """Two classes, dark and light images, `count` of them to train on and as many to test on."""
    draws = np.random.default_rng(seed)
    labels = np.arange(2 * count, dtype=np.int64) % 2
    pixels = draws.integers(0, 120, (2 * count, channels, side, side)) + 130 * labels[:, None, None, None]
    whole = Split(pixels.astype(np.uint8), labels)
    return Images("shades", ("dark", "light"), whole.take(np.arange(count)), whole.take(np.arange(count, 2 * count)))


def training(images: Images) -> tuple[Tensor, Tensor]:
    """All training images, normalized, and their labels."""
    return joined(Resident(images).training(1024), len(images.train.labels))


def held_out(images: Images) -> tuple[Tensor, Tensor]:
    """All test images, normalized as the training images, and their labels."""
    return joined(Resident(images).test(1024), len(images.test.labels))


def spec(images: Images, **others: Any) -> RunSpec:
    """A run on these images that takes a fraction of a second."""
    given: dict[str, Any] = {
        "width": 0.04, "optimizer": "adam", "coupling": "l2", "lr": 0.01, "strength": 1e-3, "batch": 8, "epochs": 3,
        "seed": 0,
    }  # fmt: skip
    return RunSpec(images.digest, **given | others)
