"""Where a selective feature dies under Adam + L2: phase diagrams, one axis of lanes for each side of the picture.

A weight starts at its target 1 with settled state. Its gradient, when it comes, is pull (w - 1) plus noise; once the weight
is down at `floor` nothing excites it any more. Four diagrams share all other constants: strength x selectivity,
lr x strength, batch x selectivity, beta2 x epoch length. The boundary beside each is computed, not fitted: where the longest
silence of the run kills with probability 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dynamics.errors import InputError
from dynamics.given import among, whole
from dynamics.room import check_room
from dynamics.simulate.gradients import mortal, visited
from dynamics.simulate.lanes import Trajectory, simulate
from dynamics.simulate.schedules import Schedule
from dynamics.theory import closed

if TYPE_CHECKING:
    import xarray as xr

Diagram = Literal["selectivity", "rate", "batch", "epoch"]
# Of each diagram: the axis to the right and the axis upwards, with their first and last value (geometric).
AXES: dict[str, tuple[tuple[str, float, float], tuple[str, float, float]]] = {
    "selectivity": (("arrival", 1e-4, 1e-1), ("strength", 1e-5, 1e-1)),
    "rate": (("strength", 1e-5, 1e-1), ("lr", 1e-4, 1e-2)),
    "batch": (("arrival", 1e-5, 1e-2), ("images", 1, 256)),
    "epoch": (("epoch", 30, 6_000), ("forgetting", 3e-4, 3e-2)),
}
LABELS = {
    "arrival": "share of images that excite the feature, 1 - selectivity",
    "strength": "L2 strength",
    "lr": "learning rate",
    "images": "mini-batch size",
    "epoch": "steps in an epoch, each with one image that excites the feature",
    "forgetting": "1 - beta2",
}
# Weight-steps after which progress is told, and lanes at a time where they have few steps.
_PART, _TOGETHER = 400_000_000, 10**6
# The least and the most: a crossing needs two settings, more than 10,000 an axis no eye tells apart, and the simulator counts
# steps in 32 bits.
COUNTS = {"cells": (2, 10_000), "seeds": (1, 10**6), "steps": (1, 2**32 - 1)}
# Weight-steps of a diagram: ten thousand times those of the command's own, days on any machine.
MOST = 10**14
# Bytes that a lane takes: two numbers of the outcome, twice while they are put together, and what their median copies; and
# while it runs, its setting and state.
_LANE, _RUNNING = 48, 400

Simulate = Callable[..., Trajectory]
Notify = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Phase:
    """One diagram of cells x cells settings with `seeds` lanes each.

    Raises InputError for an unknown diagram, counts outside `COUNTS`, and more than 10^14 steps of lanes in all or more lanes
    than memory has room for.
    """

    diagram: Diagram = "selectivity"
    cells: int = 24
    seeds: int = 64
    steps: int = 10_000
    lr: float = 1e-3
    strength: float = 3e-3
    arrival: float = 1e-3
    beta2: float = 0.999
    pull: float = 0.1
    sigma: float = 0.1
    floor: float = 1e-3

    def __post_init__(self) -> None:
        among("diagram", self.diagram, tuple(AXES))
        for name, (low, high) in COUNTS.items():
            object.__setattr__(self, name, whole(name, getattr(self, name), low, high))
        lanes = self.cells**2 * self.seeds
        asked = f"cells {self.cells} with seeds {self.seeds}, {lanes:,} lanes"
        if lanes * self.steps > MOST:
            raise InputError(f"{asked} x {self.steps:,} steps: up to {MOST:,} steps of lanes in all are accepted")
        check_room(asked, lanes * _LANE + self.cells * self.seeds * _RUNNING)

    def run(self, threads: int = 1, on: Simulate = simulate, notify: Notify | None = None) -> xr.Dataset:
        """`dead` (share of lanes), `time` (median steps to death, NaN where fewer than half died) and `size` (mean
        abs(w) at the end): (y, x); `crossed` (y, seed): the x on one side of which the row's lanes of this seed die;
        `boundary` (y): the x of the computed boundary, NaN where the diagram ends before it.

        on: what advances the lanes, `dynamics.simulate.lanes.simulate` or its peer on a CUDA device. notify: called with rows
        done, rows in all and a line.
        """
        import xarray as xr

        (x_name, *x_ends), (y_name, *y_ends) = AXES[self.diagram]
        x, y = (
            np.unique(np.round(values)) if name in ("images", "epoch") else values
            for name, values in ((x_name, self._grid(x_ends)), (y_name, self._grid(y_ends)))
        )
        parts = []
        a_part = max(1, min(_PART // self.steps, _TOGETHER) // (len(x) * self.seeds))
        for first in range(0, len(y), a_part):
            rows = np.arange(first, min(first + a_part, len(y)))
            tell = None if notify is None else partial(notify, first, len(y))
            parts.append(self._rows(rows, x_name, x, y_name, y, threads, on, tell))
            if notify is not None:
                notify(int(rows[-1]) + 1, len(y), f"{len(x) * self.seeds * self.steps * len(rows):,} weight-steps more")
        died, sizes = (np.concatenate(both) for both in zip(*parts, strict=True))
        time = np.median(died, axis=2)
        dead = np.isfinite(died)
        data = {
            "dead": (("y", "x"), dead.mean(axis=2)),
            "crossed": (("y", "seed"), _crossed(dead, np.log(x), rises=x_name != "arrival")),
            "time": (("y", "x"), np.where(np.isfinite(time), time, np.nan)),
            "size": (("y", "x"), sizes.mean(axis=2)),
            "boundary": (("y",), np.array([self._boundary(y_name, b, x_name, x_ends) for b in y])),
        }
        attrs = {"diagram": self.diagram, "x": x_name, "y": y_name, "seeds": self.seeds, "lanes": died.size}
        attrs |= {name: value for name, value in self._setting().items() if name not in (x_name, y_name)}
        attrs |= {"steps": self.steps, "floor": self.floor, "pull": self.pull, "sigma": self.sigma}
        return xr.Dataset(data, {"x": x, "y": y, "seed": np.arange(self.seeds)}, attrs)

    def _grid(self, ends: list[float]) -> np.ndarray:
        return np.geomspace(ends[0], ends[1], self.cells)

    def _rows(
        self,
        rows: np.ndarray,
        x_name: str,
        x: np.ndarray,
        y_name: str,
        y: np.ndarray,
        threads: int,
        on: Simulate,
        tell: Callable[[str], None] | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steps to death (inf: none) and final sizes, (rows, x, seeds)."""
        shape = (len(rows), len(x), self.seeds)
        row, column, lane = np.indices(shape).reshape(3, -1)
        row = rows[row]
        gradient, lanes, state = self._lanes(self._setting() | {x_name: x[column], y_name: y[row]})
        drawn = {"seed": lane, "stream": row * len(x) + column}
        how: dict[str, Any] = {"record": [self.steps], "watch": self.floor, "threads": threads}
        if tell is not None:
            how["schedule"] = self._telling(tell, row.size)
        found = on("adam", "l2", gradient, lanes=lanes, state=state, **how, **drawn)
        assert found.passed is not None
        return found.passed.reshape(shape), np.abs(found.w[0]).reshape(shape)

    def _telling(self, tell: Callable[[str], None], lanes: int) -> Schedule:
        """The schedule that changes nothing, which is asked for as the steps come, and tells of them where they are many."""
        told = 0

        def multipliers(steps: np.ndarray) -> np.ndarray:
            nonlocal told
            if (int(steps[0]) - told) * lanes >= _PART:
                told = int(steps[0])
                tell(f"{told:,} of {self.steps:,} steps of the next")
            return np.ones(len(steps))

        return multipliers

    def _setting(self) -> dict[str, Any]:
        """What the axes may replace."""
        shared = {"lr": self.lr, "strength": self.strength, "forgetting": 1 - self.beta2}
        if self.diagram == "epoch":
            return shared | {"epoch": 1.0}
        return shared | {"arrival": self.arrival, "images": 1}

    def _lanes(self, setting: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
        """The gradient, its lanes, and Adam's settled state: v as an arrival leaves it, and no bias correction."""
        lanes: dict[str, Any] = {name: setting[name] for name in ("lr", "strength")} | {
            "beta2": 1 - setting["forgetting"]
        }
        lanes |= {"target": 1.0, "floor": self.floor}
        state = {"v": self._settled_root(setting) ** 2, "power1": 0.0, "power2": 0.0}
        if "epoch" in setting:
            own = {"epoch": setting["epoch"], "arrival": 1.0, "pull": self.pull, "sigma": self.sigma}
            return visited, lanes | own, state
        comes, share = _batch(setting["arrival"], setting["images"])
        own = {"arrival": comes, "pull": self.pull * share, "sigma": self.sigma * np.sqrt(share / setting["images"])}
        return mortal, lanes | own, state

    def _settled_root(self, setting: dict[str, Any]) -> Any:
        """sqrt(v) just after a gradient, in the mean: what the pull is divided by when a silence begins."""
        forgetting = setting["forgetting"]
        if "epoch" in setting:
            return self.sigma * np.sqrt(forgetting / (1 - (1 - forgetting) ** setting["epoch"]))
        comes, share = _batch(setting["arrival"], setting["images"])
        return self.sigma * np.sqrt(share / setting["images"] * (forgetting + (1 - forgetting) * comes))

    def _boundary(self, y_name: str, y: float, x_name: str, x_ends: list[float]) -> float:
        """The x at which a silence as long as death takes (A9) is expected ln 2 times in the run (E8); NaN if outside."""

        def excess(log_x: float) -> float:
            setting = self._setting() | {y_name: y, x_name: float(np.exp(log_x))}
            lr, strength, beta2 = setting["lr"], setting["strength"], 1 - setting["forgetting"]
            left = self._mean(setting)
            if left <= self.floor:
                return float(self.steps)
            taken = closed.residual_steps(self.floor / left, lr, strength, float(self._settled_root(setting)), beta2)
            if "epoch" in setting:
                # Two visits of one epoch and the next are 2 epoch - 1 steps apart at most; their distance is triangular.
                epoch = setting["epoch"]
                longer = 1 - 0.5 * (taken / epoch) ** 2 if taken < epoch else 0.5 * max(2 - taken / epoch, 0.0) ** 2
                return float(self.steps / epoch * longer - np.log(2))
            comes, _ = _batch(setting["arrival"], setting["images"])
            runs = ((self.steps - taken) * comes + 1) * np.exp(taken * np.log1p(-comes)) if taken < self.steps else 0.0
            return float(runs - np.log(2))

        from scipy.optimize import brentq

        low, high = np.log(x_ends)
        first, last = excess(low), excess(high)
        if first * last > 0:
            return float("nan")
        return float(np.exp(brentq(excess, low, high)))

    def _mean(self, setting: dict[str, Any]) -> float:
        """Where the run has taken the weight in the mean, from which its last silence begins.

        L2 pulls with strength/sqrt(v) at every step, the gradient with pull/sqrt(v) when it comes: the first is larger by
        the growth of 1/sqrt(v) since, beta2^(-age/2), in the mean over the ages that a run of this length holds (B5, B6).
        """
        root = np.sqrt(1 - setting["forgetting"])
        if "epoch" in setting:
            comes, pull = 1 / setting["epoch"], self.pull
            ages = np.arange(int(setting["epoch"]))
            growth = float(np.mean(root ** -ages.astype(np.float64)))
        else:
            comes, share = _batch(setting["arrival"], setting["images"])
            pull, q = self.pull * share, (1 - comes) / root
            growth = float(comes * np.expm1(self.steps * np.log(q)) / (q - 1)) if q != 1 else float(comes * self.steps)
        drawn, held = setting["strength"] * growth, comes * pull
        rest = held / (held + drawn)
        reached = -np.expm1(-self.steps * setting["lr"] * (held + drawn) / float(self._settled_root(setting)))
        return float(1 - (1 - rest) * reached)


def _batch(arrival: Any, images: Any) -> tuple[Any, Any]:
    """The probability that a batch holds an image that excites the feature, and the mean share of such images in one that
    does: the number of them in a batch is replaced by its mean."""
    comes = -np.expm1(images * np.log1p(-np.asarray(arrival)))
    return comes, arrival / comes


def _crossed(dead: np.ndarray, log_x: np.ndarray, rises: bool) -> np.ndarray:
    """For each row and seed the x that has as many cells on its dead side as died, (y, x, seed) -> (y, seed): a row's geometric
    mean over seeds is the area beside the curve of its share on the logarithmic axis."""
    width = np.gradient(log_x)
    before = np.where(rises, ~dead, dead)
    return np.asarray(np.exp(log_x[0] - width[0] / 2 + (before * width[:, None]).sum(axis=1)))


def crossings(data: xr.Dataset) -> xr.DataArray:
    """The x at which the lanes of a row begin to die, (y, seed); NaN where a row does not run from one side to the other."""
    first, last = data.dead[:, 0], data.dead[:, -1]
    complete = (np.maximum(first, last) > 0.9) & (np.minimum(first, last) < 0.1)
    return data["crossed"].where(complete)


def crossing(data: xr.Dataset) -> xr.DataArray:
    """The x at which half of the lanes of a row die, (y); NaN where a row does not run from one side to the other."""
    import xarray as xr

    return xr.DataArray(np.exp(np.log(crossings(data).values).mean(axis=1)), {"y": data.y}, ("y",))
