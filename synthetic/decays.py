"""Features on mini-batches under Adam: do more die by L2 than by either weight decay of equal strength? As in
`synthetic.minibatch`, after equally many steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthetic.batches import Gradients, held_and_noise
from synthetic.labelled import column, labelled

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Decays:
    """decoupled_schedule is the paper's decay, which has no factor lr."""

    couplings: tuple[str, ...] = ("l2", "decoupled_lr", "decoupled_schedule")
    strengths: tuple[float, ...] = (1e-3, 1e-2)
    lr: float = 0.01
    beta2: float = 0.99
    images: int = 512
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    exciting: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    steps: int = 2_048
    pull: float = 1.0
    target: float = 1.0
    sigma: float = 0.3
    floor: float = 0.05
    seeds: int = 8
    features: int = 2

    def run(self, threads: int = 1) -> xr.Dataset:
        """dead, share of the features over all batches and selectivities: (coupling, strength, seed)."""
        held, drawn = held_and_noise(self.seeds, self.images, self.batches, self.exciting, self.steps, self.features)
        gradients = Gradients.of(
            held, column(self.batches, 0, 4), drawn, self.pull, self.target, self.sigma, self.floor
        )
        start = np.full((len(self.strengths), *held.shape[1:]), self.target)
        given: dict[str, Any] = {"lr": self.lr, "beta2": self.beta2, "strength": column(self.strengths, 0, 5)}
        died = [gradients.train("adam", entry, start, [self.steps], **given)[1] for entry in self.couplings]
        dead = np.isfinite(np.stack(died)).mean(axis=(2, 3, -1))
        return labelled(
            self, {"dead": (("coupling", "strength", "seed"), dead)}, words={"dead": ("share of features that died",)}
        )
