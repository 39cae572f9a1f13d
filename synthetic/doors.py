"""L2 and weight decay in one run of `dynamics.simulate.together.simulate_together`: each lane has a strength for either door."""

from __future__ import annotations

import numpy as np

from dynamics.couplings import Coupling


def _joins(strength, lr, multiplier):
    return strength[0]


def _taken_off(strength, lr, multiplier):
    return lr * strength[1]


BOTH = Coupling("both", "L2 and weight decay x lr", "", gradient=_joins, before=_taken_off)


def strengths(coupling: str, strength: np.ndarray | float, lanes: tuple[int, ...]) -> np.ndarray:
    """The strengths of `lanes` that are under `coupling` (none, l2 or decoupled_lr), (2, *lanes): of L2 and of decay."""
    both = np.zeros((2, *lanes))
    if coupling != "none":
        both[("l2", "decoupled_lr").index(coupling)] = strength
    return both
