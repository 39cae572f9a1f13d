"""A BatchNorm + ReLU feature without a gradient: what regularizers do to its scale gamma and shift beta. It is dead in the cone
beta <= -abs(gamma) x_max of `synthetic.plane`. Section E.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.simulate.gradients import silent
from dynamics.theory import closed
from synthetic.labelled import column, labelled, spread_out
from synthetic.plane import UPDATES, Plane

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Cone:
    """drift: from these starts. death: under Adam + L2, from gamma = 1 and the beta/gamma of `ratios`. passage: of a weight of 1
    under decay that takes the shares lr x strength."""

    starts: tuple[tuple[float, float], ...] = Plane.starts
    lr: float = 5e-3
    strength: float = 0.2
    steps: int = 1_200
    largest: float = 2.5
    ratios: tuple[float, ...] = (-1.2, -1.5, -2.0)
    beta2s: tuple[float, ...] = (0.9, 0.999)
    death_lr: float = 1e-3
    shares: tuple[float, ...] = (0.02, 0.05, 0.1)
    targets: tuple[float, ...] = (1e-3, 1e-12)

    def run(self, threads: int = 1) -> xr.Dataset:
        """`drift`: (update, start), largest relative change of beta/gamma. `death`, `predicted`: (beta2, ratio), steps to
        exact zero activation. `passage`: (share, target), steps."""
        drift = []
        for rule, coupling in UPDATES.values():
            how: dict[str, Any] = {"start": self.starts, "lr": self.lr, "strength": self.strength}
            w = spread_out(rule, coupling, silent, np.shape(self.starts), record=range(0, self.steps + 1, 10), **how).w
            ratio = w[..., 1] / w[..., 0]
            drift.append(np.abs(ratio / ratio[0] - 1).max(0))
        times = np.arange(int(1.05 * np.log(1 / min(self.targets)) / min(self.shares)))
        strength = 10 * np.array(self.shares)
        w = spread_out("adam", "decoupled_lr", silent, strength.shape, record=times, lr=0.1, strength=strength).w
        passage = np.stack([(w <= target).argmax(0) for target in self.targets], axis=-1)
        death, predicted = self._death()
        return labelled(
            self,
            {
                "drift": (("update", "start"), drift),
                "death": (("beta2", "ratio"), death),
                "predicted": (("beta2", "ratio"), predicted),
                "passage": (("share", "target"), passage.astype(float)),
            },
            {"update": list(UPDATES), "start": [f"({g:g}, {b:g})" for g, b in self.starts]},
            {"passage": ("steps from 1 to the target", "steps")},
        )

    def _death(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps until the cone is reached, and as predicted, NaN outside the form's regime."""
        start = np.stack(np.broadcast_arrays(1.0, np.array(self.ratios)), axis=-1)
        record = np.arange(3 * int(self.largest / self.death_lr / (self.largest - 1)))
        w = spread_out(
            "adam", "l2", silent, (len(self.beta2s), *start.shape), record=record, start=start, lr=self.death_lr,
            strength=self.strength, beta2=column(self.beta2s, 0, 3),
        ).w  # fmt: skip
        zero = w[..., 1] <= -np.abs(w[..., 0]) * self.largest
        # Not reached: the whole run, a lower bound.
        found, predicted = np.where(zero.any(0), zero.argmax(0), len(record)), np.full(zero.shape[1:], np.nan)
        for k, beta2 in enumerate(self.beta2s):
            if -self.death_lr / np.log(beta2) <= 0.01:
                predicted[k] = [closed.death_steps(1.0, r, self.death_lr, self.largest, beta2) for r in self.ratios]
        return found.astype(float), predicted
