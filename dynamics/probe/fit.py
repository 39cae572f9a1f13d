"""Hyperparameters from behaviour: those with which a candidate stays on the paths that were seen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from dynamics.probe.drive import Array, Drive
from dynamics.probe.follow import Candidate, path
from dynamics.rule import BELOW_ONE, RANGES

# Where a search begins, besides at what is claimed.
_SHARES = (0.0, 0.5, 0.9, 0.95, 0.99, 0.999)
_STRENGTHS = tuple(sign * 10.0**k for sign in (1, -1) for k in (0, -1, -2, -3, -4, -5))
_SMALL = 1e-16
_STEP = 1e-6
# Near the right values a search gains powers of ten at a time: one that gains less than this share of its sum ends.
_STALLED = 1e-4


@dataclass(frozen=True, eq=False)
class Seen:
    """A drive, and the weights after each step of it: (steps, *shape).

    floor: the part of a weight over which what is off is counted at least, so that rounding stays below what counts.
    grain: half a unit in the last place of the numbers in which they were computed, 0 for float64; what that much
    rounding may add up to in a drive does not count as off. noise: how far weights part where all is done once more.
    """

    drive: Drive
    rows: Array
    floor: float = 2.0**-16
    grain: float = 0.0
    noise: float = 0.0

    def off(self, rows: Array) -> Array:
        """How far paths (steps, settings, *shape) are from this one, over how far each lane moves: (settings, steps, *shape).

        Over 1e-5 of the weight at least, so that rounding stays below what counts.
        """
        start = self.drive.start
        moved = np.abs(self.rows - start)
        if self.drive.pinned:  # each step is one of its own, and small ones count as large ones do
            scale = moved + 1e-3 * moved.max(0)
        else:
            largest = np.abs(self.rows).max(0)
            scale = np.broadcast_to(moved.max(0) + self.floor * largest, moved.shape)
        scale = np.where(scale > 0, scale, 1e-30)
        with np.errstate(all="ignore"):
            found = (rows - self.rows[:, None]) / scale[:, None]
            if self.grain or self.noise:
                rounding = self.grain * (64 * moved.max(0) + 2 * self.drive.steps * np.abs(start)) + 4 * self.noise
                found = np.sign(found) * np.maximum(np.abs(found) - (rounding / scale)[:, None], 0.0)
        both = np.isnan(rows) & np.isnan(self.rows)[:, None]
        found = np.where(both, 0.0, np.nan_to_num(found, nan=1e6, posinf=1e6, neginf=-1e6))
        return np.clip(np.moveaxis(found, 1, 0), -1e6, 1e6)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A candidate with the hyperparameters that suit it best, and how far it then is from what was seen.

    off: at most; mean: in the mean, nothing counting for more than 1.
    first: the first step, from 1, at which it is more than a billionth off; 0 if at none.
    """

    candidate: Candidate
    values: dict[str, float]
    off: float
    mean: float
    first: int

    def at(self, name: str, otherwise: float = 0.0) -> float:
        """One value."""
        return self.values.get(name, otherwise)


def errors(of: Candidate, seen: Sequence[Seen], values: Mapping[str, Array]) -> Array:
    """(settings, all that was seen) of each setting."""
    count = len(next(iter(values.values())))
    return np.concatenate([one.off(path(of, one.drive, values)).reshape(count, -1) for one in seen], axis=1)


def measured(of: Candidate, seen: Sequence[Seen], values: Mapping[str, float]) -> Fitted:
    """How far a candidate is with these values."""
    rows = {name: np.array([value]) for name, value in values.items()}
    off = [np.abs(one.off(path(of, one.drive, rows))[0]).reshape(one.drive.steps, -1) for one in seen]
    each = [one.max(1) for one in off]
    late = [int(np.argmax(steps > 1e-9)) + 1 for steps in each if (steps > 1e-9).any()]
    mean = float(np.mean([np.minimum(one, 1.0).mean() for one in off]))
    return Fitted(of, dict(values), float(max(steps.max() for steps in each)), mean, min(late, default=0))


def _is_share(name: str) -> bool:
    return RANGES.get(name) == BELOW_ONE


def _inner(name: str, value: float, unit: float) -> float:
    """A value as the search sees it: without bounds."""
    if _is_share(name):
        return -math.log(max(1 - value, 1e-9))
    return value / unit if name == "strength" else math.log(max(value, 0.0) + _SMALL)


def _outer(name: str, x: Array, unit: float) -> Array:
    if _is_share(name):
        return 1 - np.exp(-np.clip(x, -5.0, 50.0))
    return x * unit if name == "strength" else np.maximum(np.exp(np.minimum(x, 50.0)) - _SMALL, 0.0)


def starts(of: Candidate, claimed: Mapping[str, float], free: Sequence[str]) -> dict[str, Array]:
    """Settings from which a search may begin: what is claimed, what is usual, and all usual memories."""
    usual = {"lr": of.rule.lr, "strength": 1e-2} | dict(of.rule.defaults)
    first = {name: float(claimed.get(name, usual[name])) for name in of.names}
    grid: dict[str, tuple[float, ...]] = {}
    for name in free:
        if _is_share(name):
            grid[name] = (first[name], *_SHARES) if len(of.rule.defaults) < 6 else (first[name],)
        elif name == "strength":
            grid[name] = (first[name], *_STRENGTHS)
        elif name != "lr":
            grid[name] = tuple(dict.fromkeys((first[name], float(usual[name]))))
    rows = [first] + [first | dict(zip(grid, row, strict=True)) for row in itertools.product(*grid.values())]
    return {name: np.array([row[name] for row in rows]) for name in of.names}


def _rescaled(of: Candidate, seen: Sequence[Seen], rows: dict[str, Array]) -> dict[str, Array]:
    """The settings with the learning rates that suit them: steps are proportional to it, in all rules but those of norms."""
    one = seen[0]
    found = path(of, one.drive, rows) - one.drive.start
    moved = (one.rows - one.drive.start)[:, None]
    with np.errstate(all="ignore"):
        ratio = np.where((found != 0) & (moved != 0), moved / found, np.nan)
    ratio = np.where(np.isfinite(ratio) & (ratio > 0), ratio, np.nan)
    some = [np.isfinite(ratio[:, k]).any() for k in range(ratio.shape[1])]
    typical = [float(np.nanmedian(ratio[:, k])) if ok else 1.0 for k, ok in enumerate(some)]
    return rows | {"lr": rows["lr"] * np.array(typical)}


def _rows(of: Candidate, seen: Sequence[Seen], claimed: Mapping[str, float], free: Sequence[str]) -> dict[str, Array]:
    """Where a search may begin, also with the learning rates that suit."""
    rows = starts(of, claimed, free)
    if "lr" not in free or not seen[0].drive.pinned:
        return rows
    scaled = _rescaled(of, seen, rows)
    return {name: np.concatenate([rows[name], scaled[name]]) for name in rows}


def fit(
    of: Candidate, seen: Sequence[Seen], claimed: Mapping[str, float], free: Sequence[str], steps: int = 40
) -> Fitted:
    """The candidate with the values that suit it best; what is not in `free` keeps the value that is claimed.

    First what is claimed as it is: where that is right no search begins.
    """
    rows = starts(of, claimed, free)
    best = measured(of, seen, {name: float(column[0]) for name, column in rows.items()})
    if best.off < 1e-11 or not free:
        return best
    rows = _rows(of, seen, claimed, free)
    worst = np.abs(errors(of, seen, rows))
    order = np.argsort(np.minimum(worst, 1.0).mean(1), kind="stable")
    for k in dict.fromkeys((0, int(order[0]))):
        begun = {name: float(column[k]) for name, column in rows.items()}
        found = _search(of, seen, begun, free, steps)
        best = found if found.off < best.off else best
    return best


def nearness(of: Candidate, seen: Sequence[Seen], claimed: Mapping[str, float], free: Sequence[str]) -> float:
    """How near the best start of a search is, in the mean: what says whether a search is worth its time."""
    found = np.abs(errors(of, seen, _rows(of, seen, claimed, free)))
    return float(np.minimum(found, 1.0).mean(1).min())


def _search(of: Candidate, seen: Sequence[Seen], begun: Mapping[str, float], free: Sequence[str], steps: int) -> Fitted:
    unit = abs(begun.get("strength", 1.0)) or 1e-3

    def spread(points: Array) -> dict[str, Array]:
        fixed = {name: np.full(len(points), value) for name, value in begun.items()}
        return fixed | {name: _outer(name, points[:, i], unit) for i, name in enumerate(free)}

    def off(x: Array) -> Array:
        return np.asarray(errors(of, seen, spread(x[None]))[0])

    def slope(x: Array) -> Array:
        each = _STEP * np.maximum(np.abs(x), 1e-2)
        points = np.concatenate([x + np.diag(each), x - np.diag(each)])
        found = errors(of, seen, spread(points))
        return np.asarray(((found[: len(x)] - found[len(x) :]) / (2 * each[:, None])).T)

    low = np.array([0.0 if _is_share(name) else -np.inf for name in free])
    first = np.maximum([_inner(name, begun[name], unit) for name in free], low)
    with np.errstate(all="ignore"):
        found = least_squares(
            off, first, jac=slope, method="trf", x_scale="jac", bounds=(low, np.inf),
            ftol=_STALLED, xtol=1e-15, gtol=1e-15, max_nfev=steps,
        )  # fmt: skip
    values = dict(begun) | {name: float(_outer(name, np.array(found.x[i]), unit)) for i, name in enumerate(free)}
    return measured(of, seen, values)
