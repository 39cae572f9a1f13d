"""What these tests share with those of fullscale: the images, and one thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fullscale"))


@pytest.fixture(autouse=True)
def one_thread(device: str) -> Iterator[None]:
    """The CPU's part of these tests is small networks, which train fastest on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
