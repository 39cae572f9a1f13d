"""When filters die and come back, and the table of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullscale.monitor.causes import CAUSES, Displacement, Recent

# A filter is silent when it has been so on at least this many images, and on two observed batches or more.
SILENT_IMAGES = 256
SILENT_BATCHES = 2


class Deaths:
    """Silences of every filter by one measure, "activation" or "scale", and the deaths among them.

    A silence is a run of observations at each of which the filter was quiet: it put out less than 1e-12 on every image of
    the observed batch, or abs(gamma) was below 1e-3. From SILENT_IMAGES images and SILENT_BATCHES observed batches on it
    is a death, at the first observed step of the silence. The first observation at which the filter is not quiet ends it:
    after a death that is a revival.
    """

    def __init__(self, measure: str, filters: int) -> None:
        self.measure = measure
        self.recent = Recent(filters)
        self.since = np.full(filters, -1, dtype=np.int64)
        self.images = np.zeros(filters, dtype=np.int64)
        self.batches = np.zeros(filters, dtype=np.int64)
        # The row of each filter that is dead, or -1.
        self.row = np.full(filters, -1, dtype=np.int64)
        self.pending = np.zeros((6, filters))
        self.rows: list[dict[str, Any]] = []

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Which filters are dead now."""
        return self.row >= 0

    def observe(
        self,
        step: int,
        images: NDArray[np.int64],
        quiet: NDArray[np.bool_],
        margin: NDArray[np.float64],
        interval: Displacement | None,
    ) -> list[dict[str, Any]]:
        """One more observation, each (filters,); the deaths that it made certain are handed back.

        images: seen of each filter, 0 where its layer was not run: nothing then changes. margin: see
        `fullscale.monitor.causes`; interval: how it moved since the observation before, None at the first.
        """
        self.recent.add(margin, interval)
        seen = images > 0
        woken = seen & ~quiet
        for i in np.flatnonzero(woken & self.dead):
            self.rows[self.row[i]]["revived"] = step
            self.recent.born[i] = self.recent.count
        self.row[woken] = self.since[woken] = -1
        self.images[woken] = self.batches[woken] = 0

        fresh = np.flatnonzero(seen & quiet & (self.since < 0))
        if len(fresh):
            verdict = self.recent.judge(fresh)
            self.pending[:, fresh] = [verdict.cause, *verdict.moved, verdict.error, verdict.intervals]
            self.since[fresh] = step
        going = seen & quiet
        self.images[going] += images[going]
        self.batches[going] += 1
        certain = (self.images >= SILENT_IMAGES) & (self.batches >= SILENT_BATCHES) & going & ~self.dead
        return [self._bury(int(i), step) for i in np.flatnonzero(certain)]

    def _bury(self, i: int, step: int) -> dict[str, Any]:
        cause, pull, loss, moved_input, error, intervals = self.pending[:, i].tolist()
        self.row[i] = len(self.rows)
        self.rows.append(
            {
                "step": int(self.since[i]),
                "certain": step,
                "filter": i,
                "measure": self.measure,
                "cause": CAUSES[int(cause)],
                "pull": pull,
                "loss": loss,
                "input": moved_input,
                "loss_error": error,
                "intervals": int(intervals),
                "revived": None,
            }
        )
        return self.rows[-1]

    def state(self) -> dict[str, Any]:
        """All of it as arrays and plain data."""
        kept = {name: getattr(self, name) for name in ("since", "images", "batches", "row", "pending")}
        inside = {name: getattr(self.recent, name) for name in ("rows", "margin", "number", "count", "born")}
        return {"own": kept, "recent": inside, "rows": [dict(row) for row in self.rows]}

    def take(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        for holder, values in ((self, state["own"]), (self.recent, state["recent"])):
            for name, value in values.items():
                setattr(holder, name, value.copy() if isinstance(value, np.ndarray) else value)
        self.rows = [dict(row) for row in state["rows"]]


def counted(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many of these deaths each cause has, the most frequent first; causes without any are left out."""
    names = [row["cause"] for row in rows]
    return {name: names.count(name) for name in sorted(CAUSES, key=names.count, reverse=True) if name in names}
