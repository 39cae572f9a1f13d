"""A feature that one image excites: how long does it go without it, in epochs that visit each image once and otherwise?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.theory import closed
from synthetic.batches import exciting_in_batches, longest_silence
from synthetic.labelled import labelled

if TYPE_CHECKING:
    import xarray as xr

SAMPLINGS = ("independent", "epochs")


@dataclass(frozen=True)
class Starvation:
    """An epoch is `images` images."""

    images: int = 512
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    lengths: tuple[int, ...] = (64, 128, 256, 512)
    steps: int = 2_048
    seeds: int = 8
    features: int = 32

    def run(self, threads: int = 1) -> xr.Dataset:
        """starved, the share of features which saw `length` steps or more without the image: (sampling, batch, length, seed);
        predicted, the closed form for independent batches: (batch, length)."""
        starved = np.empty((len(SAMPLINGS), len(self.batches), len(self.lengths), self.seeds))
        arrivals = [1 - closed.silent_batch(1 - 1 / self.images, batch) for batch in self.batches]
        for s in range(self.seeds):
            rng = np.random.default_rng((s, 1))
            for b, batch in enumerate(self.batches):
                free = rng.random((self.steps, self.features), dtype=np.float32) >= arrivals[b]
                held = exciting_in_batches(rng, 1, self.images, batch, self.steps, self.features)
                for k, silent in enumerate((free, held == 0)):
                    starved[k, b, :, s] = (longest_silence(silent)[:, None] >= self.lengths).mean(axis=0)
        exact = [[closed.starvation_exact(p, length, self.steps) for length in self.lengths] for p in arrivals]
        return labelled(
            self,
            {
                "starved": (("sampling", "batch", "length", "seed"), starved),
                "predicted": (("batch", "length"), exact),
            },
            {"sampling": list(SAMPLINGS)},
            {"batch": ("images in a batch", "images"), "length": ("steps without the image", "steps")},
        )
