"""The work that every contestant does: Adam with L2 in the gradient, float64, many weights, many steps.

silent: the loss has no gradient; L2 alone moves the weights. Every contestant must end at the same numbers.
random: at every step every weight sees a gradient with probability ARRIVAL, uniform noise of standard deviation SIGMA,
and otherwise none. Every contestant draws two uniform numbers a weight and step from its own fastest generator; the
weights all start at 1, so that those at the end are a sample that can be compared.

LR is so small that no weight comes near 0 within a run, where a relative difference would mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.agreement import Weights, same_moments, same_weights

LR = 2e-5
STRENGTH = 0.1
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
ARRIVAL = 0.5
SIGMA = 1.0
WIDTH = SIGMA * 12**0.5  # uniform noise of this width has standard deviation SIGMA


class Work(Protocol):
    """What a contestant is given; equal works are the same work, so that one compiled for it is kept."""

    @property
    def name(self) -> str:
        """In words, for tables and messages."""
        ...

    @property
    def updates(self) -> int:
        """Weight-steps in one run."""
        ...

    def difference(self, ours: Weights, theirs: Weights) -> str | None:
        """None if another's outcome can be that of the same work, else the difference in words."""
        ...


@dataclass(frozen=True)
class Case:
    """lanes weights, steps updates of each, with or without random gradients."""

    lanes: int
    steps: int
    random: bool

    @property
    def name(self) -> str:
        """In words, for tables and messages."""
        return f"{self.lanes:,} weights x {self.steps:,} steps, {'random' if self.random else 'silent'} gradient"

    @property
    def updates(self) -> int:
        """Weight-steps in one run."""
        return self.lanes * self.steps

    def start(self) -> Weights:
        """The weights before the first step."""
        return np.ones(self.lanes) if self.random else np.linspace(0.5, 1.5, self.lanes)

    def difference(self, ours: Weights, theirs: Weights) -> str | None:
        """None if the end weights agree: as samples where gradients are random, number by number where none is."""
        return (same_moments if self.random else same_weights)(ours, theirs)


def cases(lanes: tuple[int, ...], updates: int) -> list[Case]:
    """Silent and random at each number of lanes, `updates` weight-steps each."""
    return [Case(n, updates // n, random) for n in lanes for random in (False, True)]
