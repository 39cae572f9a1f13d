"""A weight whose gradient arrives with probability p: how much stronger L2 pulls than weight decay of equal strength.

Three weights share every random number: one without a regularizer, one under L2, one under decay x lr. What a
regularizer moved is the difference to the first, so the noise that all three share cancels; it counts relative to the
weight it acts on, and from the step on at which the rule's running means have settled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynamics import closed
from dynamics.gradients import selective
from dynamics.rules import RULES
from dynamics.simulator import simulate

_COUPLINGS = ("none", "l2", "decoupled_lr")


@dataclass(frozen=True)
class Selective:
    """Zero-mean gradients of standard deviation size / sqrt(p) on arrival: a size is the root of their mean square."""

    rules: tuple[str, ...] = ("sgd", "momentum", "nesterov", "adam", "rmsprop")
    lr: float = 1e-3
    strength: float = 1e-3
    arrivals: tuple[float, ...] = (0.02, 0.2, 1.0)
    sizes: tuple[float, ...] = (0.1, 0.3, 0.9, 1.1, 3.0)
    settled: int = 2_500
    steps: int = 5_000
    seeds: int = 10
    lanes_a_seed: int = 32

    def run(self, threads: int = 1) -> xr.Dataset:
        """`ratio` = displacement by L2 / displacement by decay: (optimizer, arrival, size, seed), a mean over lanes on
        both sides of the fraction; `predicted`: (optimizer, arrival, size), NaN outside the closed form's regime."""
        axes = (len(_COUPLINGS), len(self.arrivals), len(self.sizes), self.seeds, self.lanes_a_seed)
        index = np.indices(axes).reshape(len(axes), -1)
        arrival, size = np.asarray(self.arrivals)[index[1]], np.asarray(self.sizes)[index[2]]
        lanes = {"lr": self.lr, "strength": np.where(index[0] == 0, 0.0, self.strength)}
        lanes |= {"arrival": arrival, "sigma": size / np.sqrt(arrival), "pull": 0.0, "target": 0.0}
        shared = {"seed": index[3], "stream": index[4], "lanes": lanes, "threads": threads}
        couplings = [_COUPLINGS[i] for i in index[0]]
        ratio = np.empty((len(self.rules), *axes[1:4]))
        for r, rule in enumerate(self.rules):
            path = simulate(rule, couplings, selective, record=[self.settled, self.steps], **shared).w
            first, last = path.reshape(2, *axes).mean(axis=5)
            moved = (last - first)[0] - (last - first)[1:]
            l2, decay = moved / (first + last)[1:]
            ratio[r] = l2 / decay
        predicted = np.array(
            [[[self._predicted(r, a, s) for s in self.sizes] for a in self.arrivals] for r in self.rules]
        )
        coords = {
            "optimizer": list(self.rules),
            "arrival": list(self.arrivals),
            "size": list(self.sizes),
            "seed": range(self.seeds),
        }
        cell = ("optimizer", "arrival", "size")
        dataset = xr.Dataset({"ratio": ((*cell, "seed"), ratio), "predicted": (cell, predicted)}, coords)
        dataset["size"].attrs = {"long_name": "root mean square of the gradient, sigma sqrt(p)"}
        dataset.attrs = {
            "lr": self.lr,
            "strength": self.strength,
            "steps": self.steps,
            "lanes_a_seed": self.lanes_a_seed,
        }
        return dataset

    def _predicted(self, rule: str, arrival: float, size: float) -> float:
        """The closed form of the ratio; the weight stays near its start, 1."""
        defaults = RULES[rule].defaults
        if "eps" in defaults:
            if arrival < 20 * closed.critical_arrival(defaults.get("beta2", defaults.get("alpha", 0.0))):
                return float("nan")
            return closed.l2_over_decay(arrival, size / arrival**0.5, self.strength, 1.0, defaults["eps"])
        return 1 / (1 - defaults.get("momentum", 0.0))
