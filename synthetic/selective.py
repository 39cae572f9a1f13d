"""A weight whose gradient arrives with probability p: how much stronger L2 pulls than weight decay of equal strength.

Three weights share every random number: one without a regularizer, one under L2, one under decay x lr. What a
regularizer moved is the difference to the first, so the noise that all three share cancels; it counts relative to the
weight it acts on. The rules start with settled running means: of squares at their mean, without bias correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.rules import RULES
from dynamics.simulate.gradients import selective
from dynamics.theory import closed
from synthetic.labelled import column, labelled, memory_of, spread_out

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Selective:
    """Zero-mean gradients of standard deviation size / sqrt(p) on arrival: a size is the root of their mean square."""

    optimizers: tuple[str, ...] = ("sgd", "momentum", "nesterov", "adam", "rmsprop")
    lr: float = 1e-3
    strength: float = 1e-3
    arrivals: tuple[float, ...] = (0.02, 0.2, 1.0)
    sizes: tuple[float, ...] = (0.1, 0.3, 0.9, 1.1, 3.0)
    settled: int = 400
    steps: int = 1_600
    seeds: int = 10
    weights: int = 24

    def run(self, threads: int = 1) -> xr.Dataset:
        """`ratio` = displacement by L2 / displacement by decay after step `settled`: (optimizer, arrival, size, seed), a
        mean over weights on both sides of the fraction; `predicted`: (optimizer, arrival, size), NaN outside the closed
        form's regime."""
        shape = (3, len(self.arrivals), len(self.sizes), self.seeds, self.weights)
        arrival, size = column(self.arrivals, 1, 5), column(self.sizes, 2, 5)
        ratio = np.empty((len(self.optimizers), *shape[1:4]))
        for r, rule in enumerate(self.optimizers):
            inner = RULES[rule].inner
            # The same draws for all couplings, arrivals and sizes.
            w = spread_out(
                rule, column(["none", "l2", "decoupled_lr"], 0, 5), selective, shape,
                record=[self.settled, self.steps],
                state=({"v": size**2} if "v" in inner else {}) | {name: 0.0 for name in inner if name.startswith("power")},
                seed=column(range(self.seeds), 3, 5), stream=range(self.weights), lr=self.lr, strength=self.strength,
                arrival=arrival, pull=0.0, target=1.0, sigma=size / np.sqrt(arrival),
            ).w.mean(axis=-1)  # fmt: skip
            moved = (w[1, 0] - w[0, 0]) - (w[1, 1:] - w[0, 1:])
            l2, decay = moved / w[:, 1:].sum(axis=0)
            ratio[r] = l2 / decay
        predicted = [[[self._predicted(r, a, s) for s in self.sizes] for a in self.arrivals] for r in self.optimizers]
        cell = ("optimizer", "arrival", "size")
        return labelled(
            self,
            {"ratio": ((*cell, "seed"), ratio), "predicted": (cell, predicted)},
            words={"size": ("root mean square of the gradient, sigma sqrt(p)",)},
        )

    def _predicted(self, rule: str, arrival: float, size: float) -> float:
        """The closed form of the ratio; the weight stays near its start, 1."""
        if rule not in Selective.optimizers:  # a rule of the user's own: nothing is claimed of it
            return float("nan")
        defaults = RULES[rule].defaults
        if not memory_of(rule):
            return 1 / (1 - defaults.get("momentum", 0.0))
        if arrival < 20 * closed.critical_arrival(defaults[memory_of(rule)]):
            return float("nan")
        return closed.l2_over_decay(arrival, size / arrival**0.5, self.strength, 1.0, defaults["eps"])
