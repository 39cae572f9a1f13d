"""A weight on the loss w^2 / 2 with a regularizer: up to which learning rate it comes to rest at all. Section D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.simulate.gradients import quadratic
from dynamics.theory import closed
from synthetic.labelled import column, labelled, spread_out
from synthetic.noise import COUPLINGS
from synthetic.quadratic import MOMENTUM

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Stability:
    """Rates are `fractions` of the largest stable one. Adam is frozen: eps = 1 is the denominator, weights of 1e-30 leave v at
    nothing, and no bias is corrected."""

    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam")
    strength: float = 0.5
    fractions: tuple[float, ...] = (0.95, 0.98, 1.02, 1.05)

    def run(self, threads: int = 1) -> xr.Dataset:
        """`growth`, factor a step: (optimizer, coupling, fraction)."""
        growth = []
        for rule in self.optimizers:
            frozen: dict[str, Any] = {"eps": 1.0, "state": {"power1": 0.0, "power2": 0.0}} if rule == "adam" else {}
            limits = np.array([[self._limit(rule, coupling == "decoupled_lr")] for coupling in COUPLINGS])
            size = np.abs(
                spread_out(
                    rule, column(COUPLINGS, 0, 2), quadratic, (len(COUPLINGS), len(self.fractions)), record=range(201),
                    start=1e-30, lr=limits * self.fractions, strength=self.strength, target=0.0, **frozen,
                ).w
            )  # fmt: skip
            growth.append((size[161:].max(axis=0) / size[61:101].max(axis=0)) ** 0.01)
        return labelled(
            self, {"growth": (("optimizer", "coupling", "fraction"), growth)}, {"coupling": list(COUPLINGS)}
        )

    def _limit(self, rule: str, decays: bool) -> float:
        if rule == "adam":
            return closed.adam_limit(1.0, self.strength, 1.0, decoupled=decays)
        if rule == "momentum":
            return closed.momentum_limit(1.0, self.strength, MOMENTUM, decays)
        return closed.sgd_limit(1.0, self.strength)
