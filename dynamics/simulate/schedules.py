"""Learning-rate schedules: the multiplier of the base learning rate at each step, 1 where it is largest.

A schedule is a function of an array of step numbers (0 is the first step) that returns an array of multipliers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dynamics.errors import InputError
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


def cosine(steps: int, final: float = 0.0) -> Schedule:
    """From 1 at step 0 along half a cosine to `final` at step `steps` and after.

    Args:
        steps: from 1 to 2^53.
        final: in [0, 1], dimensionless.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Raises:
        InputError: for another number of steps, and for a final outside [0, 1].

    Example:
        >>> cosine(4)(np.arange(6)).round(3).tolist()
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Source:
        Loshchilov, Hutter, arXiv 1608.03983, equation 5, without restarts.
    """
    last, low = whole("steps of a cosine", steps, 1, LAST), number("final", final, 0, 1)
    return lambda t: low + (1 - low) * (0.5 * (1 + np.cos(math.pi * np.minimum(t, last) / last)))


def linear(steps: int, final: float = 0.0) -> Schedule:
    """From 1 at step 0 along a line to `final` at step `steps` and after.

    Args:
        steps: from 1 to 2^53.
        final: in [0, 1], dimensionless.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Raises:
        InputError: for another number of steps, and for a final outside [0, 1].

    Example:
        >>> linear(4)(np.arange(6)).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]

    Source:
        torch.optim.lr_scheduler.LinearLR.
    """
    last, low = whole("steps of a line", steps, 1, LAST), number("final", final, 0, 1)
    return lambda t: 1 - (1 - low) * (np.minimum(t, last) / last)


def trapezoid(steps: int, decay_steps: int, final: float = 0.0) -> Schedule:
    """1, and over the last `decay_steps` of `steps` along a line to `final`, which it keeps after.

    Args:
        steps: from 1 to 2^53.
        decay_steps: from 1 to steps.
        final: in [0, 1], dimensionless.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Raises:
        InputError: for other numbers of steps, and for a final outside [0, 1].

    Example:
        >>> trapezoid(6, 4)(np.arange(7)).tolist()
        [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]

    Source:
        Hägele et al., arXiv 2405.18392, a constant learning rate with a cooldown; warmup-stable-decay of Hu et al.,
        arXiv 2404.06395, with a linear decay.
    """
    last = whole("steps of a trapezoid", steps, 1, LAST)
    fall = whole("decay_steps", decay_steps, 1, last)
    down = linear(fall, final)
    return lambda t: down(np.maximum(t - (last - fall), 0))


def warmed(schedule: Schedule, warmup: int) -> Schedule:
    """`schedule`, begun after `warmup` steps in which the multiplier rises along a line: (t + 1)/(warmup + 1) at step t.

    Args:
        schedule: steps (n,) to multipliers (n,).
        warmup: steps, from 0 to 2^53.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Raises:
        InputError: for another number of steps.

    Example:
        >>> warmed(linear(2), 3)(np.arange(6)).tolist()
        [0.25, 0.5, 0.75, 1.0, 0.5, 0.0]

    Source:
        torch.optim.lr_scheduler.LinearLR with start_factor 1/(warmup + 1), then another, in a SequentialLR.
    """
    rise = whole("warmup", warmup, 0, LAST)
    return lambda t: np.where(t < rise, (t + 1) / (rise + 1), schedule(np.maximum(t - rise, 0)))


def one_cycle(steps: int, warmup: float) -> Schedule:
    """Up along half a cosine from 1/25 to 1 at step warmup - 1, and down along another to 1/250,000 at the last step.

    Args:
        steps: from 1 to 2^53.
        warmup: in steps, a whole number or not, from 0 to steps; torch's pct_start times steps.

    Returns:
        A schedule: steps (n,) to multipliers (n,).

    Raises:
        InputError: for another number of steps, and for a warmup of 1 step, or of all, for which torch divides by 0.

    Example:
        >>> one_cycle(5, 3)(np.arange(5)).round(3).tolist()
        [0.04, 0.52, 1.0, 0.5, 0.0]

    Source:
        torch.optim.lr_scheduler.OneCycleLR with its defaults; Smith, Topin, arXiv 1708.07120.
    """
    last = whole("steps of a cycle", steps, 1, LAST) - 1
    top = number("warmup", warmup, 0, steps) - 1
    if top in (0, last):
        raise InputError(
            f"warmup {warmup:g} of {steps:,} steps: for one cycle neither 1 step nor all of them is accepted"
        )

    def multiplier(t: np.ndarray) -> np.ndarray:
        rising = t <= top
        begin, end = np.where(rising, 1 / 25, 1.0), np.where(rising, 1.0, 1 / 25 / 1e4)
        way = np.where(rising, t / top, (t - top) / (last - top))
        return np.asarray(end + (begin - end) / 2 * (1 + np.cos(math.pi * np.minimum(way, 1.0))))

    return multiplier
