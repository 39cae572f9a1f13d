"""What was observed, row by row, in arrays that grow and never grow beyond a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# So many observations are kept; then every second is dropped, and from then on every second is kept.
MOST = 1024
# Those of the first version: a state that was written then has no others.
FIRST = {
    "gamma": "scale of the norm; 1 of a BatchNorm without, NaN where there is no scale",
    "beta": "shift of the norm; without a norm the layer's bias",
    "selectivity": "share of the batch's images whose largest absolute activation is below 1e-3 of the running maximum",
    "peak": "largest absolute activation in the batch",
    "margin": "largest input of the activation in the batch",
    "gradient": "1 where a gradient of gamma or beta, or else of the weights, arrived that is not 0",
    "share_gamma": "regularizer's share of gamma's update",
    "share_beta": "regularizer's share of beta's update",
    "share_weights": "as share_beta, of the weights that feed the filter, mean over the filter; every fourth observation",
    "pull": "displacement of the margin by the regularizer since the first observation",
    "loss": "displacement of the margin by the loss since the first observation",
}
# Over all steps since the row before; of observations that are dropped they go into the next row.
GATHERED = {
    "arrival": "share of the steps at which gamma or beta, or else the weights, had a gradient other than 0",
    "mean_gamma": "mean of the loss's gradient of gamma",
    "square_gamma": "mean square of the loss's gradient of gamma",
    "mean_beta": "mean of the loss's gradient of beta",
    "square_beta": "mean square of the loss's gradient of beta",
    "mean_weights": "root mean square, over the filter's weights and the intervals, of their mean gradient in an interval",
    "square_weights": "mean square of the loss's gradient of the filter's weights, mean over them",
}
VARIABLES = {
    **FIRST,
    **GATHERED,
    "norm": "2-norm of the weights that feed the filter",
    "pull_gamma": "the regularizer's part of the displacement of gamma at this step",
    "pull_beta": "the regularizer's part of the displacement of beta at this step",
    "root_gamma": "what the rule divides gamma's update by, before this step: sqrt(v) under Adam, corrected for v's start at 0",
    "root_beta": "as root_gamma, of beta",
    "root_weights": "as root_gamma, of the filter's weights, root of the mean square over them",
    "moment_gamma": "first moment or momentum buffer of gamma before this step",
    "moment_beta": "first moment or momentum buffer of beta before this step",
}
# Whose squares are what is averaged.
_ROOTS = {"mean_weights"}


class Record:
    """One row an observation and variable, (filters,) float32 each.

    over: of each row the number of steps that its GATHERED go over: those since the row before, less those that were not
    gathered, as before a resume from a state without them. 0 where there are none; GATHERED are then NaN.
    """

    def __init__(self, filters: int) -> None:
        self.filters = filters
        self.every = 1
        self.seen = 0
        self.size = 0
        self._steps = np.zeros(16, dtype=np.int64)
        self._over = np.zeros(16, dtype=np.int64)
        self._rows = {name: np.zeros((16, filters), dtype=np.float32) for name in VARIABLES}
        # Of observations that are not kept, for the next that is.
        self._waiting = self._nothing()
        self._waiting_over = 0

    def _nothing(self) -> dict[str, NDArray[np.float32]]:
        return {name: np.full(self.filters, np.nan, dtype=np.float32) for name in GATHERED}

    def add(self, step: int, values: dict[str, NDArray[Any]], over: int) -> None:
        """One more observation, if it is one of those that are kept. over: the steps that its GATHERED go over."""
        keep = self.seen % self.every == 0
        self.seen += 1
        if keep and self.size == MOST:
            self._halve()
        self._wait({name: np.asarray(values[name], dtype=np.float32) for name in GATHERED}, over)
        if not keep:
            return
        if self.size == len(self._steps):
            self._grow(max(16, self.size))
        self._steps[self.size] = step
        self._over[self.size] = self._waiting_over
        for name, rows in self._rows.items():
            rows[self.size] = self._waiting[name] if name in GATHERED else values[name]
        self.size += 1
        self._waiting, self._waiting_over = self._nothing(), 0

    def _wait(self, gathered: dict[str, NDArray[np.float32]], over: int) -> None:
        """Put it to what waits already, which came before it."""
        if self._waiting_over:
            first, second = ({name: x[None] for name, x in of.items()} for of in (self._waiting, gathered))
            both, steps = merged(first, second, np.array([self._waiting_over]), np.array([over]))
            gathered, over = {name: x[0] for name, x in both.items()}, int(steps[0])
        self._waiting, self._waiting_over = gathered, over

    def _halve(self) -> None:
        """Drop every second row; what it gathered goes into the next, of the last into the one that comes."""
        self.every *= 2
        self.size = MOST // 2
        # The one that comes now follows the last of them at the new distance, since MOST is even.
        dropped = {name: self._rows[name][1:MOST:2] for name in GATHERED}
        kept = {name: self._rows[name][2:MOST:2] for name in GATHERED}
        both, over = merged(
            {name: x[:-1] for name, x in dropped.items()}, kept, self._over[1 : MOST - 1 : 2], self._over[2:MOST:2]
        )
        last = {name: x[-1].copy() for name, x in dropped.items()}
        of_last = int(self._over[MOST - 1])
        self._steps[: self.size] = self._steps[0:MOST:2].copy()
        for name, rows in self._rows.items():
            rows[1 : self.size] = both[name] if name in GATHERED else rows[2:MOST:2].copy()
        self._over[1 : self.size] = over
        # What waits comes after the last row.
        waiting, over_waiting = self._waiting, self._waiting_over
        self._waiting, self._waiting_over = last, of_last
        if over_waiting:
            self._wait(waiting, over_waiting)

    def _grow(self, more: int) -> None:
        self._steps, self._over = (
            np.concatenate([x, np.zeros(more, dtype=np.int64)]) for x in (self._steps, self._over)
        )
        self._rows = {
            name: np.concatenate([rows, np.zeros((more, self.filters), dtype=np.float32)])
            for name, rows in self._rows.items()
        }

    @property
    def steps(self) -> NDArray[np.int64]:
        """The steps of the rows, (rows,)."""
        return self._steps[: self.size].copy()

    @property
    def over(self) -> NDArray[np.int64]:
        """How many steps the GATHERED of each row go over, (rows,)."""
        return self._over[: self.size].copy()

    def rows(self, name: str) -> NDArray[np.float32]:
        """A variable, (rows, filters)."""
        return self._rows[name][: self.size].copy()

    def state(self) -> dict[str, Any]:
        """All of it as arrays and numbers."""
        return {
            "every": self.every,
            "seen": self.seen,
            "steps": self.steps,
            "over": self.over,
            "rows": {name: self.rows(name) for name in VARIABLES},
            "waiting": {name: x.copy() for name, x in self._waiting.items()},
            "waiting_over": self._waiting_over,
        }

    def take(self, state: dict[str, Any]) -> None:
        """What `state` gave, also that of the first version: NaN where it has nothing."""
        self.every, self.seen = int(state["every"]), int(state["seen"])
        self._steps = np.array(state["steps"], dtype=np.int64)
        self.size = len(self._steps)
        self._over = np.array(state.get("over", np.zeros(self.size)), dtype=np.int64)
        none = np.full((self.size, self.filters), np.nan, dtype=np.float32)
        self._rows = {name: np.array(state["rows"].get(name, none), dtype=np.float32) for name in VARIABLES}
        waiting = state.get("waiting") or self._nothing()
        self._waiting = {name: np.array(x, dtype=np.float32) for name, x in waiting.items()}
        self._waiting_over = int(state.get("waiting_over", 0))


def merged(
    first: dict[str, NDArray[np.float32]],
    second: dict[str, NDArray[np.float32]],
    over_first: NDArray[np.int64],
    over_second: NDArray[np.int64],
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """GATHERED, (rows, filters) each, over so many steps (rows,), with those over the steps that follow: means over both.

    What is NaN, since no gradient came, counts as 0 beside what is not.
    """
    over = over_first + over_second
    share = (over_second / np.maximum(over, 1))[:, None]
    found = {}
    for name in first:
        power = 2 if name in _ROOTS else 1
        a, b = (np.asarray(x[name], dtype=np.float64) for x in (first, second))
        mean = (1 - share) * np.nan_to_num(a, nan=0.0) ** power + share * np.nan_to_num(b, nan=0.0) ** power
        mean[np.isnan(a) & np.isnan(b)] = np.nan
        found[name] = (mean ** (1 / power)).astype(np.float32)
    return found, over
