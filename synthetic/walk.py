"""A scale gamma that noise alone moves under SGD: how often does it come to 0? Section E.

The noise is normal, as the correction 0.583 of the closed form has it; made from the simulator's generator, for its lanes
have uniform numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.labelled import labelled, normal, numbers_of

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Walk:
    """sizes: of gamma at the start, in steps of one standard deviation of the noise."""

    sizes: tuple[float, ...] = (5.0, 10.0, 20.0)
    steps: int = 400
    seeds: int = 8
    weights: int = 1_600

    def run(self, threads: int = 1) -> xr.Dataset:
        """`collapsed`: (size, seed), share of walks that reach 0; `predicted`: (size)."""
        numbers = numbers_of(self.steps, (self.seeds, self.weights))
        start = np.broadcast_to(np.array(self.sizes)[:, None, None], (len(self.sizes), self.seeds, self.weights))
        hit = np.zeros(start.shape, dtype=bool)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            np.logical_or(hit, w <= 0, out=hit)
            return np.broadcast_to(normal(next(numbers)[1]), w.shape)

        last = simulate_together("sgd", "none", gradient, start, record=[self.steps], lr=1.0).w[0]
        return labelled(
            self,
            {
                "collapsed": (("size", "seed"), (hit | (last <= 0)).mean(-1)),
                "predicted": (("size",), [closed.collapse(size, 1.0, 1.0, self.steps) for size in self.sizes]),
            },
        )
