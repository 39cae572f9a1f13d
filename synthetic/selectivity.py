"""How hard L2 and weight decay pull at a weight, against how selective its feature is: every rule on the same gradients.

Four weights share every gradient: one without a regularizer, one under L2, one under decay x lr, and one without a
regularizer whose gradients are a little larger on one side, a loss that pulls as L2 would at every arrival. What a pull
does is the distance to the first weight, so the noise that all share cancels. The learning rate is so small that no weight
moves by more than a few thousandths: what is measured is how each rule answers to a small constant pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynamics.rules import BUILT_IN, RULES
from dynamics.simulate.together import simulate_together
from dynamics.theory.closed import critical_arrival
from synthetic.doors import BOTH, strengths

_LANES = ("none", "l2", "decoupled_lr", "none")


@dataclass(frozen=True)
class Selectivity:
    """Gradients of +1 or -1 that arrive with probability 1 - selectivity: `arrivals`, and `times` the critical arrival
    1 - sqrt(memory), which only selective features come down to.

    memory: by how much every rule that forgets squares keeps them a step (RMSprop's default; Adam's, 0.999, would take ten
    times the steps). Every lane's first gradient arrives at step 0; pulls count from step `settled` on.
    """

    rules: tuple[str, ...] = BUILT_IN
    arrivals: tuple[float, ...] = (1.0, 0.5, 0.25, 0.12)
    times: tuple[float, ...] = (10.0, 4.0, 2.0, 1.0, 0.5)
    memory: float = 0.99
    lr: float = 1e-6
    strength: float = 1e-3
    settled: int = 400
    steps: int = 1_200
    seeds: int = 8
    lanes_a_seed: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """`pull`: (optimizer, coupling, arrival, seed), the share of the weight that the regularizer takes off a step,
        in multiples of lr x strength, a mean over steps and lanes. `loss`: (optimizer, arrival, seed), the same for a
        pull of that size that joins the gradient only when one arrives."""
        critical = critical_arrival(self.memory)
        arrivals = np.array([*self.arrivals, *(k * critical for k in self.times)])
        arrives, noise = self._gradients(arrivals)
        count = arrives.shape[1]
        strength = np.stack([strengths(name, self.strength, (count,)) for name in _LANES], axis=1)
        # L2's pull at the weight 1 is its strength; the loss pulls the same way, when it does.
        loss = np.array([0.0, 0.0, 0.0, self.strength])[:, None]

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            g: np.ndarray = noise[t] + loss * arrives[t]
            return g

        moved = np.empty((len(self.rules), 3, len(arrivals), self.seeds))
        for row, rule in enumerate(self.rules):
            hyper: dict[str, Any] = {memory: self.memory} if (memory := RULES[rule].memory) else {}
            path = simulate_together(
                rule,
                BOTH,
                gradient,
                np.ones((4, count)),
                record=[self.settled, self.steps],
                lr=self.lr,
                strength=strength,
                **hyper,
            ).w
            behind = np.log(path[:, :1] / path[:, 1:])
            share = (behind[1] - behind[0]) / (self.steps - self.settled) / (self.lr * self.strength)
            moved[row] = share.reshape(3, len(arrivals), self.seeds, self.lanes_a_seed).mean(axis=3)
        coords = {
            "optimizer": list(self.rules),
            "coupling": ["l2", "decoupled_lr"],
            "arrival": arrivals,
            "seed": range(self.seeds),
        }
        found = xr.Dataset(
            {
                "pull": (("optimizer", "coupling", "arrival", "seed"), moved[:, :2]),
                "loss": (("optimizer", "arrival", "seed"), moved[:, 2]),
            },
            coords,
        )
        found["pull"].attrs = {
            "units": "lr x strength",
            "long_name": "share of the weight that the pull takes off a step",
        }
        found["arrival"].attrs = {"long_name": "probability that a gradient arrives, 1 - selectivity"}
        return found.assign_attrs(
            critical=critical,
            memory=self.memory,
            lr=self.lr,
            strength=self.strength,
            steps=self.steps - self.settled,
            lanes_a_seed=self.lanes_a_seed,
        )

    def _gradients(self, arrivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether a gradient arrives (1 or 0), and what it is without a loss; (steps, arrivals x seeds x lanes) both.

        One number decides for all arrivals, so a frequent feature has every gradient of a rarer one.
        """
        chance, sign = np.empty((2, self.steps, 1, self.seeds, self.lanes_a_seed))
        for seed in range(self.seeds):
            rng = np.random.default_rng(seed)
            chance[:, 0, seed] = rng.random((self.steps, self.lanes_a_seed))
            sign[:, 0, seed] = rng.choice([-1.0, 1.0], (self.steps, self.lanes_a_seed))
        arrives = (chance < arrivals[:, None, None]).astype(np.float64)
        arrives[0] = 1.0
        return arrives.reshape(self.steps, -1), (arrives * sign).reshape(self.steps, -1)
