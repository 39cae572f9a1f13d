"""How good a forecast was, one number a network: filters of one network share it, so they are no samples of their own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fullscale.watched.estimate import ranks

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# So near to 0 and 1 a probability counts: one that was sure and wrong costs 5.3, not infinity.
SUREST = 0.005


def area(score: Array, dies: Flags) -> float:
    """Area under the ROC curve: the share of all pairs of a filter that dies and one that lives in which the score of the first is
    larger, ties counting half; NaN without a pair.

    Example:
        >>> area(np.array([0.9, 0.2, 0.4]), np.array([True, False, True]))
        1.0
    """
    won, pairs = _won(score, dies)
    return won / pairs if pairs else float("nan")


def area_within(score: Array, dies: Flags, layer: NDArray[np.int64]) -> float:
    """As `area`, of pairs in one layer.

    Example:
        >>> area_within(np.array([0.9, 0.2, 0.1]), np.array([True, False, True]), np.array([0, 0, 1]))
        1.0
    """
    found = [_won(score[layer == each], dies[layer == each]) for each in np.unique(layer)]
    pairs = sum(count for _, count in found)
    return sum(won for won, _ in found) / pairs if pairs else float("nan")


def brier(probability: Array, dies: Flags) -> float:
    """Mean squared difference of probability and outcome (Brier 1950)."""
    return float(((probability - dies) ** 2).mean()) if len(dies) else float("nan")


def log_loss(probability: Array, dies: Flags) -> float:
    """Mean of minus the logarithm of the probability that was given to what came; probabilities count from 0.005 to 0.995."""
    p = np.clip(probability, SUREST, 1 - SUREST)
    return float(-np.log(np.where(dies, p, 1 - p)).mean()) if len(dies) else float("nan")


class Bin(NamedTuple):
    """Filters of about one probability: its mean, the share that died, and how many they are."""

    probability: float
    died: float
    filters: int


def reliability(probability: Array, dies: Flags, bins: int = 10) -> list[Bin]:
    """Those of each tenth of the range from 0 to 1, empty ones left out.

    Example:
        >>> reliability(np.array([0.1, 0.9, 0.95]), np.array([False, True, True]), 2)
        [Bin(probability=0.1, died=0.0, filters=1), Bin(probability=0.925, died=1.0, filters=2)]
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        Bin(round(float(probability[of].mean()), 6), float(dies[of].mean()), int(of.sum()))
        for of in (place == k for k in range(bins))
        if of.any()
    ]


def _won(score: Array, dies: Flags) -> tuple[float, int]:
    n = int(dies.sum())
    if not n or n == len(dies):
        return 0.0, 0
    return float(ranks(score)[dies].sum() - n * (n + 1) / 2), n * (len(dies) - n)
