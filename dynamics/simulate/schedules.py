"""Learning-rate schedules: the multiplier of the base learning rate at each step, 1 at the start.

A schedule is a function of an array of step numbers (0 is the first step) that returns an array of multipliers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dynamics.given import items, number, whole

Schedule = Callable[[np.ndarray], np.ndarray]
# The last step number that a float64 holds exactly, and more than anybody can take.
LAST = 2**53


def constant() -> Schedule:
    """1 at every step.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Example:
        >>> constant()(np.arange(3)).tolist()
        [1.0, 1.0, 1.0]
    """
    return lambda t: np.ones(len(t))


def step_decay(milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """Multiplied by `factor` at each milestone.

    Args:
        milestones: step numbers.
        factor: in [0, 1], dimensionless.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Raises:
        InputError: for a factor outside [0, 1], and for milestones that are no step numbers.

    Example:
        >>> step_decay([2, 4])(np.arange(6)).round(3).tolist()
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    share = number("factor", factor, 0, 1)
    edges = np.sort([whole("milestone", step, 0, LAST) for step in items("milestones", milestones, "step numbers")])
    return lambda t: np.power(share, np.searchsorted(edges, t, side="right"))


def cosine(steps: int) -> Schedule:
    """From 1 at step 0 along half a cosine to 0 at step `steps` and after.

    Args:
        steps: from 1 to 2^53.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Raises:
        InputError: for another number of steps.

    Example:
        >>> cosine(4)(np.arange(6)).round(3).tolist()
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Source:
        Loshchilov, Hutter, arXiv 1608.03983, equation 5, without restarts.
    """
    last = whole("steps of a cosine", steps, 1, LAST)
    return lambda t: 0.5 * (1 + np.cos(math.pi * np.minimum(t, last) / last))
