"""A weight whose gradient arrives with probability p: how much stronger L2 pulls than weight decay of equal strength.

Three weights share every random number: one without a regularizer, one under L2, one under decay x lr. What a
regularizer moved is the difference to the first, so the noise that all three share cancels; it counts relative to the
weight it acts on. The rules start with settled running means: of squares at their mean, without bias correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynamics.rules import RULES
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed

_COUPLINGS = ("none", "l2", "decoupled_lr")


@dataclass(frozen=True)
class Selective:
    """Zero-mean gradients of standard deviation size / sqrt(p) on arrival: a size is the root of their mean square."""

    rules: tuple[str, ...] = ("sgd", "momentum", "nesterov", "adam", "rmsprop")
    lr: float = 1e-3
    strength: float = 1e-3
    arrivals: tuple[float, ...] = (0.02, 0.2, 1.0)
    sizes: tuple[float, ...] = (0.1, 0.3, 0.9, 1.1, 3.0)
    settled: int = 400
    steps: int = 1_600
    seeds: int = 10
    lanes_a_seed: int = 24

    def run(self, threads: int = 1) -> xr.Dataset:
        """`ratio` = displacement by L2 / displacement by decay after step `settled`: (optimizer, arrival, size, seed), a
        mean over lanes on both sides of the fraction; `predicted`: (optimizer, arrival, size), NaN outside the closed
        form's regime."""
        gradients = np.stack([self._gradients(seed) for seed in range(self.seeds)], axis=3)
        ratio = np.empty((len(self.rules), *gradients.shape[1:4]))
        size = np.asarray(self.sizes)[:, None, None]
        for r, rule in enumerate(self.rules):
            given: dict[str, Any] = {"lr": self.lr, "record": [self.settled, self.steps]}
            inner = RULES[rule].inner
            given["state"] = {"v": size**2} if "v" in inner else {}
            given["state"] |= {name: 0.0 for name in inner if name.startswith("power")}
            path = {
                c: simulate_together(
                    rule, c, lambda w, t: gradients[t], np.ones(gradients.shape[1:]), strength=self.strength, **given
                ).w.mean(axis=4)
                for c in _COUPLINGS
            }
            moved = {c: (path["none"][1] - path["none"][0]) - (w[1] - w[0]) for c, w in path.items()}
            l2, decay = (moved[c] / path[c].sum(axis=0) for c in _COUPLINGS[1:])
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

    def _gradients(self, seed: int) -> np.ndarray:
        """(steps, arrivals, sizes, lanes_a_seed): the same draws for all arrivals and sizes, uniform noise."""
        rng = np.random.default_rng(seed)
        u, z = rng.random((2, self.steps, 1, 1, self.lanes_a_seed))
        arrival, size = np.asarray(self.arrivals)[:, None, None], np.asarray(self.sizes)[:, None]
        return np.asarray(np.where(u < arrival, size / np.sqrt(arrival) * np.sqrt(12) * (z - 0.5), 0.0))

    def _predicted(self, rule: str, arrival: float, size: float) -> float:
        """The closed form of the ratio; the weight stays near its start, 1."""
        if rule not in Selective.rules:  # a rule of the user's own: nothing is claimed of it
            return float("nan")
        defaults = RULES[rule].defaults
        if "eps" in defaults:
            if arrival < 20 * closed.critical_arrival(defaults.get("beta2", defaults.get("alpha", 0.0))):
                return float("nan")
            return closed.l2_over_decay(arrival, size / arrival**0.5, self.strength, 1.0, defaults["eps"])
        return 1 / (1 - defaults.get("momentum", 0.0))
