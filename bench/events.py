"""From arrival to arrival beside step by step: seconds for the same weight-steps, with gradients more and more rare.

One thread, gradients of `dynamics.simulate.gradients.selective`. The two draw their arrivals differently, so that end weights are
compared as samples, before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.agreement import Weights, same_moments
from bench.contestants import Contestant, Run
from bench.measure import Row, measure
from bench.workers import started
from dynamics.events import sparse
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate

KINDS = (("momentum", "l2"), ("adam", "decoupled_lr"), ("adam", "l2"))
ARRIVALS = (1e-1, 1e-2, 1e-3, 1e-4)
_LANES = {"lr": 1e-3, "strength": 1e-3, "pull": 1.0, "target": 1.0, "sigma": 0.5}


@dataclass(frozen=True)
class Rare:
    """Weights that all start at 1, and steps of each, at one of which in 1 / arrival a gradient comes."""

    lanes: int
    steps: int
    arrival: float
    rule: str
    coupling: str

    @property
    def name(self) -> str:
        """In words, for tables and messages."""
        kind = f"{self.rule} + {self.coupling}"
        return f"{kind}, arrival {self.arrival:g}, {self.lanes:,} weights x {self.steps:,} steps"

    @property
    def updates(self) -> int:
        """Weight-steps in one run."""
        return self.lanes * self.steps

    def difference(self, ours: Weights, theirs: Weights) -> str | None:
        """None if the end weights agree as samples."""
        return same_moments(ours, theirs)


def _by_step(case: Rare) -> Run:
    lanes, stream = {**_LANES, "arrival": case.arrival}, range(case.lanes)
    return lambda: simulate(case.rule, case.coupling, selective, record=[case.steps], lanes=lanes, stream=stream).w[0]


def _by_arrival(case: Rare) -> Run:
    lanes, stream = {**_LANES, "arrival": case.arrival}, range(case.lanes)
    return lambda: sparse(case.rule, case.coupling, steps=case.steps, lanes=lanes, stream=stream).w


EVENTS = Contestant("from arrival to arrival", _by_arrival)
STEPS = Contestant("step by step", _by_step)


def run(quick: bool, repetitions: int, progress: Callable[[str], None]) -> list[tuple[Rare, Row]]:
    """Each rule and arrival with its row of stepping beside events. Raises DisagreementError."""
    lanes, steps = (64, 1024) if quick else (128, 65_536)
    kinds = KINDS[:1] if quick else KINDS
    every = [Rare(lanes, steps, arrival, *kind) for kind in kinds for arrival in ARRIVALS]
    with started([EVENTS, STEPS]) as workers:
        return [(case, measure(case, EVENTS, workers, repetitions, progress)[1]) for case in every]


def table(rows: Sequence[tuple[Rare, Row]]) -> str:
    """A line a rule and arrival: milliseconds of both, and how many times as fast events are."""
    lanes, steps = rows[0][0].lanes, rows[0][0].steps
    lines = [
        f"From arrival to arrival, {lanes:,} weights x {steps:,} steps, one thread; end weights agree",
        f"{'':22}{'arrival':>9}{'step by step, ms':>19}{'by arrival, ms':>17}{'ratio min median max':>26}",
    ]
    for case, row in rows:
        spread = " ".join(f"{x:.2f}" for x in (min(row.ratios), median(row.ratios), max(row.ratios)))
        by_step, by_arrival = (1e3 * median(_seconds(case, x)) for x in (row.speeds, row.beside))
        kind = f"{case.rule} + {case.coupling}"
        lines.append(f"{kind:22}{case.arrival:>9g}{by_step:19.1f}{by_arrival:17.1f}{spread:>26}")
    return "\n".join(lines)


def as_json(rows: Sequence[tuple[Rare, Row]]) -> list[dict[str, Any]]:
    """Everything measured, pair by pair."""
    return [
        {
            "rule": case.rule,
            "coupling": case.coupling,
            "arrival": case.arrival,
            "weights": case.lanes,
            "steps": case.steps,
            "seconds_by_step": _seconds(case, row.speeds),
            "seconds_by_arrival": _seconds(case, row.beside),
            "ratios": row.ratios,
        }
        for case, row in rows
    ]


def _seconds(case: Rare, speeds: Sequence[float]) -> list[float]:
    return [case.updates / speed for speed in speeds]
