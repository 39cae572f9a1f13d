"""The gradients that lanes meet, read off weights that plain SGD of learning rate 1 moves by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from synthetic.labelled import spread_out


def felt(gradient: Callable[..., Any], shape: tuple[int, ...], steps: int, **given: Any) -> np.ndarray:
    """(steps, *shape), of a gradient that does not read the weight."""
    record = range(steps + 1)
    return -np.diff(spread_out("sgd", "none", gradient, shape, record=record, start=0.0, lr=1.0, **given).w, axis=0)
