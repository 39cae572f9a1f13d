"""A weight on the loss (w - 1)^2 / 2 whose gradient arrives now and then, with noise or without: where it rests. Section D."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from dynamics.errors import InputError
from dynamics.simulate.gradients import selective
from dynamics.theory import closed
from synthetic.labelled import column, labelled, remembering, spread_out
from synthetic.noise import COUPLINGS
from synthetic.quadratic import MOMENTUM

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class NoisyQuadratic:
    """Arrivals p x noise sigma on arrival. Each weight has a twin that meets the same noise with its sign turned: it cancels
    in their mean, and leaves what the noise does to the resting place. beta2 as in `synthetic.quadratic`."""

    optimizers: tuple[str, ...] = ("sgd", "momentum", "rmsprop", "adam", "amsgrad", "adamax", "lion")
    lr: float = 0.05
    strength: float = 0.1
    arrivals: tuple[float, ...] = (0.1, 1.0)
    sigmas: tuple[float, ...] = (0.0, 5.0)
    beta2: float = 0.99
    settled: int = 600
    steps: int = 2_000
    seeds: int = 8
    twins: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """`rest`, a mean over weights and every tenth step from `settled` on: (optimizer, coupling, arrival, sigma, seed);
        `predicted`, its closed form, NaN without one: (optimizer, coupling, arrival, sigma)."""
        shape = (len(COUPLINGS), len(self.arrivals), len(self.sigmas), self.seeds, self.twins, 2)
        rest = [
            spread_out(
                rule, column(COUPLINGS, 0, 6), selective, shape, record=range(self.settled, self.steps + 1, 10), start=0.5,
                seed=column(range(self.seeds), 3, 6), stream=column(range(self.twins), 4, 6), lr=self.lr,
                strength=self.strength, arrival=column(self.arrivals, 1, 6), pull=1.0, target=1.0,
                sigma=column(self.sigmas, 2, 6) * [1.0, -1.0], **remembering(rule, self.beta2),
            ).w.mean(axis=(0, -2, -1))
            for rule in self.optimizers
        ]  # fmt: skip
        predicted = [
            [[[self._predicted(rule, c, p, s) for s in self.sigmas] for p in self.arrivals] for c in COUPLINGS]
            for rule in self.optimizers
        ]
        axes = ("optimizer", "coupling", "arrival", "sigma")
        return labelled(
            self,
            {"rest": ((*axes, "seed"), rest), "predicted": (axes, predicted)},
            {"coupling": list(COUPLINGS)},
            {"rest": ("weight at rest",)},
        )

    def _predicted(self, rule: str, coupling: str, arrival: float, sigma: float) -> float:
        try:
            if rule in ("sgd", "momentum"):
                share = 1 - MOMENTUM if (rule, coupling) == ("momentum", "decoupled_lr") else 1.0
                return closed.l2_minimum(arrival, 1.0, self.strength * share)
            if coupling == "l2" and rule in ("adam", "rmsprop"):
                return closed.adam_l2_fixed_point(arrival, 1.0, 1.0, self.strength, self.beta2)
            if coupling == "decoupled_lr" and rule in ("adam", "rmsprop") and sigma:
                return closed.noisy_adamw_fixed_point(arrival, 1.0, self.strength, sigma * arrival**0.5)
        except InputError:  # outside the form's regime
            return nan
        return nan
