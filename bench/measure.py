"""One case: every contestant runs once unmeasured (compilation, agreement), then in pairs with the fused kernel.

A ratio is formed within a pair of runs that follow one another, and pairs take turns, so that a neighbour's load or a
changing clock hits both sides; which of the two goes first alternates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.agreement import same_bits, same_moments, same_weights
from bench.contestants import FUSED, OTHERS, Contestant
from bench.work import Case
from bench.workers import Worker


class DisagreementError(Exception):
    """A contestant computed something else: its speed means nothing."""


@dataclass(frozen=True)
class Row:
    """Speeds of one contestant, weight-steps a second, and of the fused kernel beside each; one entry a repetition."""

    contestant: Contestant
    speeds: list[float]
    fused: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast fused is; for the fused kernel on more cores, it over one core."""
        up, down = (self.speeds, self.fused) if self.contestant.cores > 1 else (self.fused, self.speeds)
        return [a / b for a, b in zip(up, down, strict=True)]


def measure(
    case: Case, workers: Mapping[Contestant, Worker], repetitions: int, progress: Callable[[str], None]
) -> list[Row]:
    """A row for each contestant that has a worker, fused first. Raises DisagreementError before anything is timed."""
    progress(f"{case.name}: compiling, comparing end weights")
    _, ours = workers[FUSED].run(case)
    others = [c for c in OTHERS if c in workers]
    for contestant in others:
        _, theirs = workers[contestant].run(case)
        same = same_bits if contestant.own else same_moments if case.random else same_weights
        difference = same(ours, theirs)
        if difference:
            raise DisagreementError(f"{contestant.name} disagrees with the {FUSED.name}, {case.name}: {difference}")

    rows = {c: Row(c, [], []) for c in others}
    for repetition in range(repetitions):
        for contestant, row in rows.items():
            if contestant.once and repetition:
                continue
            progress(f"{case.name}: repetition {repetition + 1} of {repetitions}, {contestant.name}")
            pair = [(FUSED, row.fused), (contestant, row.speeds)]
            for one, speeds in pair if repetition % 2 == 0 else pair[::-1]:
                seconds, _ = workers[one].run(case)
                speeds.append(case.updates / seconds)
    alone = [speed for row in rows.values() for speed in row.fused]
    return [Row(FUSED, alone, alone), *rows.values()]
