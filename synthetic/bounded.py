"""Gradients that ask much of AdamW and of Lion with decay: how large can any make a weight that starts at 0? Section D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.words import power, sqrt
from synthetic.labelled import column, labelled, spread_out

if TYPE_CHECKING:
    import xarray as xr

GRADIENTS = ("steady", "uniform", "heavy-tailed", "growing")


def demanding(w, t, u, z, steady, uniform, heavy, growth):
    """A gradient of 1, one uniform in [-1, 1], one of Student's law with 2 degrees of freedom, whose variance is infinite,
    and one that grows by `growth` a step from 1e-60; each times its share (growth 0: none)."""
    even = 2 * u - 1
    return steady + uniform * even + heavy * (even / sqrt(2 * u * (1 - u) + 2.0**-33)) + 1e-60 * power(growth, t)


@dataclass(frozen=True)
class Bounded:
    """Adam with eps = 0. "growing" grows by beta2/beta1 a step, which Cauchy and Schwarz name as the worst for Adam."""

    optimizers: tuple[str, ...] = ("adam", "lion")
    lr: float = 0.05
    strength: float = 1.0
    steps: int = 2_000
    seeds: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """`largest`, the largest |w| x strength at every fifth step, under decay: (optimizer, gradients, seed)."""
        shares: dict[str, Any] = {
            name: column(np.arange(len(GRADIENTS)) == k, 0, 2)
            for k, name in enumerate(("steady", "uniform", "heavy", "growth"))
        }
        shares["growth"] = shares["growth"] * (0.999 / 0.9)
        largest = [
            np.abs(
                spread_out(
                    rule, "decoupled_lr", demanding, (len(GRADIENTS), self.seeds), record=range(0, self.steps + 1, 5),
                    start=0.0, seed=range(self.seeds), lr=self.lr, strength=self.strength,
                    **shares | ({"eps": 0.0} if rule == "adam" else {}),
                ).w
            ).max(axis=0)
            for rule in self.optimizers
        ]  # fmt: skip
        return labelled(
            self,
            {"largest": (("optimizer", "gradients", "seed"), np.array(largest) * self.strength)},
            {"gradients": list(GRADIENTS)},
        )
