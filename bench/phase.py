"""A phase diagram's work: lanes are a grid of strength x arrival, each feature can die, and when it does is noted.

Adam + L2 with gradients at random steps, as `dynamics.simulate.gradients.mortal` has them: pull (w - target) plus noise, until the
weight's size has come down to FLOOR. LR is such that about a third of the lanes die within 1,024 steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.agreement import Weights, same_fates

LR = 1e-2
STRENGTHS = (1e-5, 1e-1)
ARRIVALS = (1e-4, 1.0)
PULL, TARGET, SIGMA, FLOOR = 1.0, 1.0, 0.5, 1e-3
WIDTH = SIGMA * 12**0.5  # uniform noise of this width has standard deviation SIGMA


@dataclass(frozen=True)
class Phase:
    """A square number of lanes, steps updates of each, on so many threads where one can choose.

    A run's outcome is (2, lanes): the end weights, and the step after which each was first down at FLOOR, inf if none.
    """

    lanes: int
    steps: int
    threads: int = 2

    @property
    def name(self) -> str:
        """In words, for tables and messages."""
        return f"phase diagram, {self.lanes:,} weights x {self.steps:,} steps"

    @property
    def updates(self) -> int:
        """Weight-steps in one run."""
        return self.lanes * self.steps

    def grid(self) -> tuple[Weights, Weights]:
        """Strength and arrival of each lane, both geometric."""
        side = math.isqrt(self.lanes)
        strength, arrival = np.meshgrid(np.geomspace(*STRENGTHS, side), np.geomspace(*ARRIVALS, side), indexing="ij")
        return strength.ravel(), arrival.ravel()

    def difference(self, ours: Weights, theirs: Weights) -> str | None:
        """None if as many died, at like steps, and those alive have like weights."""
        return same_fates(ours, theirs, self.steps)
