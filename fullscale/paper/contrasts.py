"""The ten primary contrasts of the study paper: one number a seed, and how it is decided (docs/protocol.md).

Written, like the protocol, before the runs that they judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynamics.estimate import holm
from evidence.claim import Decision, Estimate, Verdict, above, below
from fullscale.paper.cells import PAIRED, STRONG, Cells, Noted
from fullscale.paper.length import long, marked, moving
from fullscale.paper.rates import Rates, rates
from fullscale.watched.estimate import agreement

Samples = NDArray[np.float64]
# Points of filters: what "more" means, and what counts as equal.
MORE, EQUAL = 5.0, 2.0
BATCHES, WIDTHS, COUNTS = (20, 40, 80, 160), (1 / 16, 1 / 8, 1 / 4), (2, 5, 10)
# Steps of 12 epochs with 45,000 images and batch 40.
STEPS = 13_500


@dataclass(frozen=True)
class More(Decision):
    """Holds if the whole interval is above `low`, fails if all of it is below what counts as equal.

    Args:
        equal: a difference below it is none.

    Example:
        >>> from dynamics.estimate import spread
        >>> [More(5, equal=2)(spread([x], "points")) for x in (6, 4, 1)]
        ['holds', 'undecided', 'fails']
    """

    equal: float = 0.0

    def __call__(self, estimate: Estimate) -> Verdict:
        """The verdict on an estimate whose numbers are finite."""
        return "holds" if estimate.low > self.low else "fails" if estimate.high < self.equal else "undecided"

    def in_words(self, unit: str) -> str:
        """When a claim holds, and when it fails."""
        return f"interval above {self.low:g} {unit}; fails if below {self.equal:g}"


@dataclass(frozen=True)
class Slope(Decision):
    """Holds if the whole interval is beyond 0, fails if all of it is on the other side or so near to 0 that it counts as flat.

    Args:
        rising: which side it is.
        flat: a slope nearer to 0 counts as none.

    Example:
        >>> from dynamics.estimate import spread
        >>> decide = Slope(rising=False, flat=0.5)
        >>> [decide(spread(ends, "points")) for ends in ([-3, -1], [-3, 1], [-0.4, 0.4], [1, 3])]
        ['holds', 'undecided', 'fails', 'fails']
    """

    rising: bool = True
    flat: float = 0.0

    def __call__(self, estimate: Estimate) -> Verdict:
        """The verdict on an estimate whose numbers are finite."""
        low, high = (estimate.low, estimate.high) if self.rising else (-estimate.high, -estimate.low)
        if low > 0:
            return "holds"
        return "fails" if high < 0 or (-self.flat < low and high < self.flat) else "undecided"

    def in_words(self, unit: str) -> str:
        """When a claim holds, and when it fails."""
        way, other = ("above", "below") if self.rising else ("below", "above")
        return f"interval {way} 0 {unit}; fails if {other} 0, or within {self.flat:.2g} of it"


def slope(levels: Sequence[float], shares: Samples) -> Samples:
    """Of each seed the slope of a straight line over the doublings of a setting, by least squares.

    Args:
        levels: (levels,) values of the setting.
        shares: (levels, seeds).

    Returns:
        (seeds,), in the unit of shares a doubling.

    Example:
        >>> slope([1, 2, 4], np.array([[0.0], [1.0], [2.0]])).round(9).tolist()
        [1.0]
    """
    x = np.log2(levels)
    away = x - x.mean()
    found: Samples = (away[:, None] * shares).sum(axis=0) / (away**2).sum()
    return found


def flat(levels: Sequence[float]) -> float:
    """The slope at which the share changes by what counts as equal over all levels.

    Example:
        >>> flat([10, 20, 40])
        1.0
    """
    return EQUAL / math.log2(max(levels) / min(levels))


@dataclass(frozen=True)
class Looked:
    """What contrasts look at: the runs, and what stage 1 found. watched: of stage 5, each seed's record of its filters.

    seeds: of the primary contrasts.
    epochs: of the runs that S1, S3 and S4 are taken from.
    """

    cells: Cells
    found: Rates
    watched: Mapping[int, Mapping[str, Any]]
    epochs: int = 12
    seeds: tuple[int, ...] = PAIRED

    def inactive(self, optimizer: str = "adam", seeds: Sequence[int] = (), **settings: Any) -> Samples:
        """Inactive filters by activation in percent: (seeds,). At the optimizer's best rate unless `lr` says otherwise."""
        return self.number("inactive_by_activation", optimizer, seeds, **settings)

    def number(self, name: str, optimizer: str = "adam", seeds: Sequence[int] = (), **settings: Any) -> Samples:
        """As `inactive`, another number of the summary."""
        settings.setdefault("lr", self.found.best(optimizer))
        return self.cells.find(optimizer=optimizer, **settings).numbers(name, seeds or self.seeds)

    def selectivity(self, optimizer: str) -> Samples:
        """Without a regularizer, of the active filters, in percent: the mean of the layers' means (seeds,)."""
        cell = self.cells.find(optimizer=optimizer, coupling="none", lr=self.found.best(optimizer))
        cell.numbers("test_error", self.seeds)  # says what was not run
        layers = [cell.rows[seed].summary.get("layers_selectivity", []) for seed in self.seeds]
        return np.array([100 * _mean(each) for each in layers])


def _mean(layers: Sequence[float | None]) -> float:
    known = [selectivity for selectivity in layers if selectivity is not None]
    return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True)
class Contrast:
    """One primary contrast. samples: a number a seed; turns: where its verdict turns, in `unit`."""

    samples: Callable[[Looked], Samples]
    decision: Decision
    turns: tuple[float, ...]
    unit: str


_POINTS = "percentage points"


def _s2(seen: Looked) -> Samples:
    largest: Samples = np.max([seen.inactive(o, coupling="none") for o in ("adam", "sgd", "momentum")], axis=0)
    return largest


def _s3(seen: Looked) -> Samples:
    others = [seen.inactive(optimizer, epochs=seen.epochs) for optimizer in ("sgd", "momentum")]
    lead: Samples = seen.inactive(epochs=seen.epochs) - np.max(others, axis=0)
    return lead


def _s4(seen: Looked) -> Samples:
    leads = [over_decay(seen, "adam", "decoupled_schedule", strength, seen.epochs) for strength in STRONG]
    smallest: Samples = np.min(leads, axis=0)
    return smallest


def _s6(seen: Looked) -> Samples:
    """NaN for a run that diverged."""
    ends = [agreement([seen.watched[seed]])[0] if seed in seen.watched else math.nan for seed in seen.seeds]
    return np.array(ends)


def over_decay(seen: Looked, optimizer: str, decay: str, strength: float, epochs: int = 12) -> Samples:
    """Inactive filters with L2 minus those with a decay of the same strength, in points: (seeds,)."""
    found = [seen.inactive(optimizer, coupling=c, strength=strength, epochs=epochs) for c in ("l2", decay)]
    return found[0] - found[1]


def task_epochs(classes: int) -> int:
    """Epochs of a task whose steps come closest to those of the whole one.

    Example:
        >>> [task_epochs(k) for k in (2, 5, 10)]
        [60, 24, 12]
    """
    return max(1, round(STEPS / (classes * 4_500 // 40)))


def by_task(seen: Looked, noise: float, seeds: Sequence[int] = ()) -> list[Samples]:
    """Inactive filters for 2, 5 and 10 classes, this share of labels being random."""
    return [seen.inactive(seeds=seeds, classes=k, label_noise=noise, epochs=task_epochs(k)) for k in COUNTS]


CONTRASTS: dict[str, Contrast] = {
    "S1": Contrast(lambda s: s.inactive(epochs=s.epochs), above(1), (1,), "% of filters"),
    "S2": Contrast(_s2, below(2), (2,), "% of filters"),
    "S3": Contrast(_s3, More(MORE, equal=EQUAL), (MORE, EQUAL), _POINTS),
    "S4": Contrast(_s4, More(MORE, equal=EQUAL), (MORE, EQUAL), _POINTS),
    "S5a": Contrast(
        lambda s: slope(BATCHES, np.array([s.inactive(batch=b) for b in BATCHES])),
        Slope(rising=False, flat=flat(BATCHES)), (0,), f"{_POINTS} a doubling of the batch",
    ),
    "S5b": Contrast(
        lambda s: slope(WIDTHS, np.array([s.inactive(width=w) for w in WIDTHS])),
        Slope(rising=True, flat=flat(WIDTHS)), (0,), f"{_POINTS} a doubling of the width",
    ),
    "S5c": Contrast(
        lambda s: slope(COUNTS, np.array(by_task(s, 0.0))),
        Slope(rising=False, flat=flat(COUNTS)), (0,), f"{_POINTS} a doubling of the classes",
    ),
    "S6": Contrast(_s6, above(0), (0,), "rank correlation"),
    "S7": Contrast(lambda s: s.selectivity("adam") - s.selectivity("sgd"), above(0), (0,), "points of selectivity"),
    "S13": Contrast(
        lambda s: s.number("test_error") - s.number("test_error", coupling="none"), below(1), (1,),
        f"{_POINTS} of test error",
    ),
}  # fmt: skip


def primary(seen: Looked) -> dict[str, Estimate]:
    """The estimates of all ten, with intervals by Holm's procedure; NaN where a run diverged, and then the others are
    estimated as a family of ten all the same."""
    noted = {name: Noted(seen.cells) for name in CONTRASTS}
    samples = {name: c.samples(replace(seen, cells=noted[name])) for name, c in CONTRASTS.items()}
    # A contrast that cannot be decided is one on its margin: it is never excluded, and takes its place in the family.
    known = {
        name: s if np.isfinite(s).all() else np.array([0.0, 2.0]) * CONTRASTS[name].turns[0]
        for name, s in samples.items()
    }
    found = holm(known, {name: contrast.turns for name, contrast in CONTRASTS.items()}, "")
    for name, estimate in found.items():
        late = marked(noted[name].looked_at.values(), seen.found)
        found[name] = replace(estimate, unit=CONTRASTS[name].unit, interval=estimate.interval + late)
        if not np.isfinite(samples[name]).all():
            lost = float("nan")
            found[name] = replace(found[name], value=lost, low=lost, high=lost, n=len(samples[name]), samples=())
    return found


def looked(cells: Cells, watched: Mapping[int, Mapping[str, Any]]) -> Looked:
    """What the contrasts look at, of runs that are stored: S1, S3 and S4 at twice the epochs if a cell of theirs still moves."""
    found = rates(cells)
    epochs = 24 if moving(long(cells, found, 12), found) else 12
    long(cells, found, epochs)  # says what was not run
    return Looked(cells, found, watched, epochs)
