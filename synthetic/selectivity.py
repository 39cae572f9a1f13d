"""How hard L2 and weight decay pull at a weight, against how selective its feature is: every rule on the same gradients.

Four weights share every gradient: one without a regularizer, one under L2, one under decay x lr, and one without a
regularizer whose gradients are a little larger on one side, a loss that pulls as L2 would at every arrival. What a pull
does is the distance to the first weight, so the noise that all share cancels. The learning rate is so small that no weight
moves by more than a few thousandths: what is measured is how each rule answers to a small constant pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.rules import BUILT_IN
from dynamics.simulate.gradients import signed
from dynamics.theory.closed import critical_arrival
from synthetic.labelled import column, labelled, remembering, spread_out

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Selectivity:
    """Gradients of +1 or -1 that arrive with probability 1 - selectivity: `arrivals`, and `times` the critical arrival
    1 - sqrt(beta2), which only selective features come down to.

    beta2: by how much every rule that forgets squares keeps them a step (RMSprop's default; Adam's, 0.999, would take ten
    times the steps). Every lane's first gradient arrives at step 0; pulls count from step `settled` on.
    """

    optimizers: tuple[str, ...] = BUILT_IN
    arrivals: tuple[float, ...] = (1.0, 0.5, 0.25, 0.12)
    times: tuple[float, ...] = (10.0, 4.0, 2.0, 1.0, 0.5)
    beta2: float = 0.99
    lr: float = 1e-6
    strength: float = 1e-3
    settled: int = 400
    steps: int = 1_200
    seeds: int = 8
    weights: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """`pull`: (optimizer, coupling, arrival, seed), the share of the weight that the regularizer takes off a step,
        in multiples of lr x strength, a mean over steps and weights. `loss`: (optimizer, arrival, seed), the same for a
        pull of that size that joins the gradient only when one arrives."""
        critical = critical_arrival(self.beta2)
        arrivals = np.array(sorted([*self.arrivals, *(k * critical for k in self.times)], reverse=True))
        shape = (4, len(arrivals), self.seeds, self.weights)
        shares = np.empty((len(self.optimizers), 3, *shape[1:3]))
        for row, rule in enumerate(self.optimizers):
            # One number decides for all arrivals, so a frequent feature has every gradient of a rarer one. L2's pull at
            # the weight 1 is its strength; the loss pulls the same way, when it does.
            w = spread_out(
                rule, column(["none", "l2", "decoupled_lr", "none"], 0, 4), signed, shape,
                record=[self.settled, self.steps],
                seed=column(range(self.seeds), 2, 4), stream=range(self.weights), lr=self.lr, strength=self.strength,
                arrival=column(arrivals, 1, 4), pull=0.0, target=0.0, push=column([0, 0, 0, -self.strength], 0, 4),
                size=1.0, **remembering(rule, self.beta2),
            ).w  # fmt: skip
            behind = np.log(w[:, :1] / w[:, 1:])
            share = (behind[1] - behind[0]) / (self.steps - self.settled) / (self.lr * self.strength)
            shares[row] = share.mean(axis=3)
        return labelled(
            self,
            {
                "pull": (("optimizer", "coupling", "arrival", "seed"), shares[:, :2]),
                "loss": (("optimizer", "arrival", "seed"), shares[:, 2]),
            },
            {"coupling": ["l2", "decoupled_lr"], "arrival": arrivals},
            {
                "pull": ("share of the weight that the pull takes off a step", "lr x strength"),
                "arrival": ("probability that a gradient arrives, 1 - selectivity",),
            },
            critical=critical,
            counted=self.steps - self.settled,
        )
