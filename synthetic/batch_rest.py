"""Features on mini-batches where noise dominates and nothing dies: what the batch size does to where Adam leaves a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.theory import closed
from synthetic.batches import Gradients, held_and_noise
from synthetic.labelled import column, labelled

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class BatchRest:
    """Features that `exciting` of the images excite. strength: one a coupling, L2 and decay x lr. Each feature has a twin that
    meets the same noise with its sign turned: in their mean, fluctuations nearly cancel."""

    couplings: tuple[str, ...] = ("l2", "decoupled_lr")
    strength: tuple[float, ...] = (0.25, 0.125)
    lr: float = 0.02
    beta2: float = 0.99
    images: int = 512
    batches: tuple[int, ...] = (1, 4, 16)
    exciting: int = 128
    steps: int = 2_048
    pull: float = 1.0
    target: float = 1.0
    sigma: float = 8.0
    seeds: int = 8
    twins: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """rest, mean weight over the second half of the steps: (coupling, batch, seed); predicted, l2_fixed_point and
        noisy_adamw_fixed_point: (coupling, batch)."""
        drawn = held_and_noise(self.seeds, self.images, self.batches, [self.exciting], self.steps, self.twins, 2)
        once = Gradients.of(
            *drawn[:1], column(self.batches, 0, 4), drawn[1], self.pull, self.target, self.sigma, -np.inf
        )
        twins = Gradients(
            np.tile(once.share, 2), np.concatenate([once.noise, -once.noise], axis=-1), self.target, -np.inf
        )
        record = range(self.steps // 2, self.steps + 1, 16)
        start = np.full(twins.share.shape[1:], self.target / 2)
        paths = [
            twins.train("adam", name, start, record, strength=strength, lr=self.lr, beta2=self.beta2)[0]
            for name, strength in zip(self.couplings, self.strength, strict=True)
        ]
        predicted = [
            [self._predicted(*setting, batch) for batch in self.batches]
            for setting in zip(self.couplings, self.strength, strict=True)
        ]
        return labelled(
            self,
            {
                "rest": (("coupling", "batch", "seed"), np.stack(paths).mean(axis=(1, 3, -1))),
                "predicted": (("coupling", "batch"), predicted),
            },
            words={"rest": ("weight at rest",), "batch": ("images in a batch", "images")},
        )

    def _predicted(self, coupling: str, strength: float, batch: int) -> float:
        p = self.exciting / self.images
        if coupling == "l2":
            return closed.l2_fixed_point(p, self.pull, self.target, strength)
        return closed.noisy_adamw_fixed_point(p * self.pull, self.target, strength, self.sigma * (p / batch) ** 0.5)
