"""What was observed, row by row, in arrays that grow and never grow beyond a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# So many observations are kept; then every second is dropped, and from then on every second is kept.
MOST = 1024
VARIABLES = {
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


class Record:
    """One row an observation and variable, (filters,) float32 each."""

    def __init__(self, filters: int) -> None:
        self.filters = filters
        self.every = 1
        self.seen = 0
        self.size = 0
        self._steps = np.zeros(16, dtype=np.int64)
        self._rows = {name: np.zeros((16, filters), dtype=np.float32) for name in VARIABLES}

    def add(self, step: int, values: dict[str, NDArray[Any]]) -> None:
        """One more observation, if it is one of those that are kept."""
        keep = self.seen % self.every == 0
        self.seen += 1
        if not keep:
            return
        if self.size == MOST:
            self.every *= 2
            self.size = MOST // 2
            self._steps[: self.size] = self._steps[0:MOST:2].copy()
            for rows in self._rows.values():
                rows[: self.size] = rows[0:MOST:2].copy()
            # The one that comes now follows the last of them at the new distance, since MOST is even.
        elif self.size == len(self._steps):
            more = max(16, self.size)
            self._steps = np.concatenate([self._steps, np.zeros(more, dtype=np.int64)])
            self._rows = {
                name: np.concatenate([rows, np.zeros((more, self.filters), dtype=np.float32)])
                for name, rows in self._rows.items()
            }
        self._steps[self.size] = step
        for name, rows in self._rows.items():
            rows[self.size] = values[name]
        self.size += 1

    @property
    def steps(self) -> NDArray[np.int64]:
        """The steps of the rows, (rows,)."""
        return self._steps[: self.size].copy()

    def rows(self, name: str) -> NDArray[np.float32]:
        """A variable, (rows, filters)."""
        return self._rows[name][: self.size].copy()

    def state(self) -> dict[str, Any]:
        """All of it as arrays and numbers."""
        return {
            "every": self.every,
            "seen": self.seen,
            "steps": self.steps,
            "rows": {name: self.rows(name) for name in VARIABLES},
        }

    def take(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        self.every, self.seen = int(state["every"]), int(state["seen"])
        self._steps = np.array(state["steps"], dtype=np.int64)
        self._rows = {name: np.array(state["rows"][name], dtype=np.float32) for name in VARIABLES}
        self.size = len(self._steps)
