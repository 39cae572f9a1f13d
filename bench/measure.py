"""One case: every contestant runs once unmeasured (compilation, agreement), then in pairs with the one held beside all.

A ratio is formed within a pair of runs that follow one another, and pairs take turns, so that a neighbour's load or a
changing clock hits both sides; which of the two goes first alternates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.agreement import Weights, same_bits
from bench.contestants import Contestant
from bench.work import Work
from bench.workers import Worker


class DisagreementError(Exception):
    """A contestant computed something else: its speed means nothing."""


@dataclass(frozen=True)
class Row:
    """Speeds of one contestant, weight-steps a second, and of `base` beside each; one entry a repetition."""

    contestant: Contestant
    base: Contestant
    speeds: list[float]
    beside: list[float]

    @property
    def more_threads(self) -> bool:
        """Whether this is the kernel itself, on more cores than base."""
        return self.contestant.own and self.contestant.cores > self.base.cores

    @property
    def ratios(self) -> list[float]:
        """How many times as fast base is; for the kernel on more cores, it over base."""
        up, down = (self.speeds, self.beside) if self.more_threads else (self.beside, self.speeds)
        return [a / b for a, b in zip(up, down, strict=True)]


def measure(
    case: Work,
    base: Contestant,
    workers: Mapping[Contestant, Worker],
    repetitions: int,
    progress: Callable[[str], None],
) -> list[Row]:
    """A row for each contestant that has a worker, base first. Raises DisagreementError before a ratio is handed out."""

    def compare(contestant: Contestant, theirs: Weights) -> None:
        difference = None
        if not contestant.bound:
            difference = same_bits(ours, theirs) if contestant.own else case.difference(ours, theirs)
        if difference:
            raise DisagreementError(f"{contestant.name} disagrees with the {base.name}, {case.name}: {difference}")

    progress(f"{case.name}: compiling, comparing outcomes")
    _, ours = workers[base].run(case)
    others = [c for c in workers if c is not base]
    for contestant in others:
        # What is too slow to be timed twice has nothing to compile either, and is compared when it is timed.
        if not contestant.once:
            compare(contestant, workers[contestant].run(case)[1])

    rows = {c: Row(c, base, [], []) for c in others}
    for repetition in range(repetitions):
        for contestant, row in rows.items():
            if contestant.once and repetition:
                continue
            progress(f"{case.name}: repetition {repetition + 1} of {repetitions}, {contestant.name}")
            pair = [(base, row.beside), (contestant, row.speeds)]
            for one, speeds in pair if repetition % 2 == 0 else pair[::-1]:
                seconds, outcome = workers[one].run(case)
                speeds.append(case.updates / seconds)
                if one.once:
                    compare(one, outcome)
    alone = [speed for row in rows.values() for speed in row.beside]
    return [Row(base, base, alone, alone), *rows.values()]
