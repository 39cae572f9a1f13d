"""What moved a filter from being clearly alive to its death: the regularizer, the loss, noise, or its input.

A rectified filter puts out max(0, z) with z = gamma xhat + beta. Its margin is the largest z of a batch,
margin = beta + abs(gamma) reach, where reach is how far the normalized input xhat goes to the side of gamma's sign: the
filter is silent on the batch when the margin is not above 0. Between two observations the margin moves by

    pull     d_pull beta + reach sign(gamma) d_pull gamma                the regularizer's part of both updates
    loss     (d beta - d_pull beta) + reach (d abs(gamma) - sign(gamma) d_pull gamma)
    input    the rest: abs(gamma) d reach, which other layers and the choice of images cause

d beta and d gamma are exact; d_pull is the part of `undertow.pull_share` at both observations, taken as a straight line
between them; reach is the mean of both. For death by scale the margin is abs(gamma), of which the input moves nothing.

Without a norm z = w x + b, and the margin is b + w x at the inputs x under which it is largest. Then x, one number a weight, is
what abs(gamma) reach is above: pull is d_pull b + x d_pull w; loss is d b + x d w less pull, x the mean of those of both
observations; input is the rest.

Source: derived; E1 and E4 of docs/theory.md for the margin (there as the ratio beta / abs(gamma)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CAUSES = ("regularizer", "loss", "noise", "input", "unknown")
# Standard errors from which on the loss's part counts as directed. Noise too looks directed between the last time that it was
# at one level and the first time that it is at another: there it is a Bessel process of dimension 3 up to its first passage,
# which takes t of (distance)^2 with P(t < 1/c^2) = 4 c exp(-c^2/2) / sqrt(2 pi): beyond 2 standard errors in 43% of cases,
# beyond 3 in 5%.
DIRECTED = 3.0
# A filter was clearly alive when its margin was at least this share of the largest remembered one since it came to life.
CLEARLY_ALIVE = 0.5
# Fewer intervals than this have no standard error to speak of.
FEWEST = 5
# As many intervals are remembered.
RECENT = 64


class Displacement(NamedTuple):
    """Displacement of the margin between two observations, each (filters,)."""

    pull: Array
    loss: Array
    input: Array


class Verdict(NamedTuple):
    """Why filters died, each (filters,): index into CAUSES, displacements since they were last clearly alive, the standard
    error of the loss's, and the number of intervals."""

    cause: NDArray[np.int64]
    moved: Displacement
    error: Array
    intervals: NDArray[np.int64]


def displacement_of_margin(before: dict[str, Array], after: dict[str, Array], steps: int) -> Displacement:
    """The displacement of the margin from one observation to the one `steps` later.

    Each has gamma, beta, margin and the regularizer's part of the step taken then, pull_gamma and pull_beta, all (filters,).
    """
    pull_gamma = 0.5 * steps * (before["pull_gamma"] + after["pull_gamma"])
    pull_beta = 0.5 * steps * (before["pull_beta"] + after["pull_beta"])
    side = np.sign(before["gamma"] + after["gamma"])
    reach = 0.5 * (_reach(before) + _reach(after))
    pull = pull_beta + reach * side * pull_gamma
    grown = np.abs(after["gamma"]) - np.abs(before["gamma"])
    loss = after["beta"] - before["beta"] - pull_beta + reach * (grown - side * pull_gamma)
    return Displacement(pull, loss, after["margin"] - before["margin"] - pull - loss)


def displacement_of_scale(before: dict[str, Array], after: dict[str, Array], steps: int) -> Displacement:
    """As `displacement_of_margin`, of abs(gamma)."""
    side = np.sign(before["gamma"] + after["gamma"])
    pull = 0.5 * steps * side * (before["pull_gamma"] + after["pull_gamma"])
    grown = np.abs(after["gamma"]) - np.abs(before["gamma"])
    return Displacement(pull, grown - pull, np.zeros_like(pull))


def displacement_of_layer(before: dict[str, Array], after: dict[str, Array], steps: int) -> Displacement:
    """As `displacement_of_margin`, of filters without a norm.

    Each has beta, margin, pull_beta and, of the weights, fed, which is w x, and pull_fed, which is x d_pull w. after has fed_before
    too, the weights of before under the inputs x of after, and fed_after, the weights of after under those of before.
    """
    pull = 0.5 * steps * (before["pull_fed"] + before["pull_beta"] + after["pull_fed"] + after["pull_beta"])
    moved = after["beta"] - before["beta"]
    moved = moved + 0.5 * (after["fed"] - after["fed_before"] + after["fed_after"] - before["fed"])
    return Displacement(pull, moved - pull, after["margin"] - before["margin"] - moved)


def _reach(at: dict[str, Array]) -> Array:
    size = np.abs(at["gamma"])
    return np.where(size > 0, (at["margin"] - at["beta"]) / np.where(size > 0, size, 1.0), 0.0)


class Recent:
    """The last RECENT intervals of every filter, and since when each of them counts."""

    def __init__(self, filters: int) -> None:
        self.rows = np.full((3, RECENT, filters), np.nan)
        self.margin = np.full((RECENT, filters), np.nan)
        # The observation with which each interval ends; -1 where there is none yet.
        self.number = np.full(RECENT, -1, dtype=np.int64)
        self.count = -1
        # The observation with which each filter came to life: the first, or its revival.
        self.born = np.zeros(filters, dtype=np.int64)

    def add(self, margin: Array, interval: Displacement | None) -> None:
        """One more observation, and how the margin came there: None for the first."""
        self.count += 1
        at = self.count % RECENT
        self.rows[:, at] = 0.0 if interval is None else interval
        self.margin[at] = margin
        self.number[at] = self.count

    def judge(self, which: NDArray[np.int64]) -> Verdict:
        """The cause of death of these filters, which fell silent at the last observation.

        Between the last time that it was clearly alive and its death, the regularizer, the loss and the input each moved the
        margin. The one that moved it farthest towards 0 is the cause. If that is the loss, its part must be directed: its
        mean over these intervals at least DIRECTED standard errors of that mean from 0, by the standard deviation of all
        remembered intervals since the filter came to life; else the cause is noise. Unknown: where a part is not known,
        nothing moved towards death, or the loss moved it farthest in fewer than FEWEST remembered intervals.
        """
        number, born = self.number[:, None], self.born[which]
        rows, margin = self.rows[:, :, which], self.margin[:, which]
        alive = (number >= born) & (number >= 0)
        largest = np.where(alive, np.nan_to_num(margin, nan=0.0), 0.0).max(axis=0)
        well = np.where(alive & (margin >= CLEARLY_ALIVE * largest), number, born).max(axis=0)
        window = number > well
        moved = Displacement(*np.where(window, rows, 0.0).sum(axis=1))
        intervals = window.sum(axis=0)

        counting = number > born
        count = counting.sum(axis=0)
        mean = np.where(counting, rows[1], 0.0).sum(axis=0) / np.maximum(count, 1)
        square = np.where(counting, (rows[1] - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1)
        error = np.sqrt(square * intervals)
        directed = np.abs(moved.loss) >= DIRECTED * error

        towards = -np.stack(moved)
        known = np.isfinite(towards).all(axis=0)
        farthest = np.where(known, towards, 0.0).argmax(axis=0)
        is_loss = farthest == 1
        cause = np.array([CAUSES.index(name) for name in ("regularizer", "loss", "input")])[farthest]
        cause[is_loss & ~directed] = CAUSES.index("noise")
        nothing = ~(towards.max(axis=0) > 0)
        cause[~known | nothing | (is_loss & (count < FEWEST))] = CAUSES.index("unknown")
        return Verdict(cause, moved, error, intervals)
