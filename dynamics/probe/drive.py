"""What an optimizer is led through: weights, gradients and learning rates, chosen so that its parts show apart.

Each entry of a parameter is a lane. Sizes of gradients run over ten powers of ten, so that an eps shows wherever it
stands; some gradients are rare, so that memories show; some weights never get one, so that nothing but a decay can move
them; the learning rate changes on the way, so that what is multiplied by it shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS = 32
# No side of a matrix is below 4: some take narrower ones for vectors.
SHAPES = {1: (20,), 2: (5, 4), 3: (5, 2, 2), 4: (5, 2, 2, 1)}
LANES = 20
# Of a number in float32, and in bfloat16, half a unit in the last place.
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-9}
# Held for some steps each: what a change of lr does to a memory of steps takes time to show.
_MULTIPLIERS = (1.0, 0.5, 2.0, 0.25)


@dataclass(frozen=True, eq=False)
class Drive:
    """One run of one parameter.

    start: (*shape), the weights; gradients: (steps, *shape); multipliers: (steps,), the schedule's part of the learning
    rate, 1 at first; base: the learning rate over the one that is claimed; pinned: before each step the weights are put
    back to where they started, so that each step shows by itself.
    """

    start: Array
    gradients: Array
    multipliers: Array
    base: float = 1.0
    pinned: bool = False

    @property
    def steps(self) -> int:
        """How many."""
        return len(self.gradients)

    def constant(self) -> Drive:
        """The same at the learning rate as it is."""
        return replace(self, base=1.0, multipliers=np.ones(self.steps))


@cache
def schedule() -> Array:
    """Multipliers that stay for a while, all above 0."""
    return np.repeat(_MULTIPLIERS, STEPS // len(_MULTIPLIERS))


@cache
def gradients(even: bool) -> Array:
    """(STEPS, LANES): of all sizes and habits, or, where a whole tensor's norm decides, all of about one size."""
    random = np.random.default_rng(7)
    found = random.normal(size=(STEPS, LANES)) + np.linspace(-0.6, 0.6, LANES)
    if even:
        return found
    sizes = 10.0 ** np.array([2, 1, 0, -1, -2, -4, -6, -7, -8, -9])
    found[:, : len(sizes)] *= sizes
    t = np.arange(STEPS)
    found[:, 10] = 1.0
    found[:, 11] = np.where(t % 2, -0.5, 0.7)
    found[:, 12] = np.where(t % 5 == 2, found[:, 12], 0.0)  # rare, and none at first
    found[:, 13] = np.where(t % 7 == 0, 1e-3 * found[:, 13], 0.0)
    found[:, 14] = np.where(t < 3, found[:, 14], 0.0)  # silent from then on
    found[:, 15:] = 0.0
    return found


@cache
def weights(even: bool) -> Array:
    """(LANES,): of both signs, some large against their gradients, and one 0."""
    found = np.random.default_rng(11).uniform(0.3, 2.0, LANES) * np.where(np.arange(LANES) % 3, 1.0, -1.0)
    if not even:
        found[[0, 1]] *= 30.0
        found[17] = 0.0
    return found


def update_drive(ndim: int, even: bool) -> Drive:
    """One that shows the rule alone: the weights are 0 before each step, so that no regularizer has anything to take."""
    shape = SHAPES[ndim]
    given = gradients(even).reshape(STEPS, *shape)
    return Drive(np.zeros(shape), given, schedule(), pinned=True)


def decay_drives(ndim: int, even: bool, bases: tuple[float, ...]) -> tuple[Drive, ...]:
    """Those that show the regularizer: weights as they go, at several learning rates."""
    shape = SHAPES[ndim]
    given = gradients(even).reshape(STEPS, *shape)
    return tuple(Drive(weights(even).reshape(shape), given, schedule(), base) for base in bases)
