"""Features that few images excite, trained on mini-batches: what the batch size does to them. Batches, gradients and death:
`synthetic.batches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from synthetic.batches import Gradients, held_and_noise
from synthetic.labelled import column, labelled, remembering

if TYPE_CHECKING:
    import xarray as xr

HORIZONS = ("epochs", "steps")


@dataclass(frozen=True)
class MiniBatch:
    """Time is compressed against a real training: beta2 (and RMSprop's alpha) is 0.99 and lr, one an optimizer, 0.01.
    Momentum's lr is a tenth of SGD's, so both move alike.

    `epochs` epochs of `images` images take every batch size to a different step ("epochs"); `steps` is the same for all
    ("steps"), and where the smallest batch is after `epochs`.

    What the regularizer alone does in these 2048 steps bounds what can be seen: a weight without any gradient goes from 1 to 0.13
    under SGD or momentum with L2, and to 0.81 under decay x lr, so neither reaches the floor but by noise.
    """

    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam", "rmsprop")
    lr: tuple[float, ...] = (0.1, 0.01, 0.01, 0.01)
    couplings: tuple[str, ...] = ("none", "l2", "decoupled_lr")
    strength: float = 0.01
    beta2: float = 0.99
    images: int = 512
    epochs: int = 4
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    exciting: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    pull: float = 1.0
    target: float = 1.0
    sigma: float = 0.3
    floor: float = 0.05
    seeds: int = 8
    features: int = 4

    @property
    def steps(self) -> int:
        return self.epochs * self.images // min(self.batches)

    def run(self, threads: int = 1) -> xr.Dataset:
        """dead (share of the features) and size (their mean weight): (horizon, optimizer, coupling, batch, exciting, seed);
        silent, the share of batches without an exciting image: (batch, exciting, seed), beside s^B and the exact value
        within epochs: (batch, exciting)."""
        held, drawn = held_and_noise(self.seeds, self.images, self.batches, self.exciting, self.steps, self.features)
        gradients = Gradients.of(
            held, column(self.batches, 0, 4), drawn, self.pull, self.target, self.sigma, self.floor
        )
        outcome = np.array(
            [self._outcome(gradients, rule, lr) for rule, lr in zip(self.optimizers, self.lr, strict=True)]
        )
        of_image = 1 - np.array(self.exciting) / self.images
        of_epoch = [[comb(self.images - k, b) / comb(self.images, b) for k in self.exciting] for b in self.batches]
        cell = ("batch", "exciting")
        across = ("horizon", "optimizer", "coupling", *cell, "seed")
        return labelled(
            self,
            {
                "dead": (across, outcome[:, 0].swapaxes(0, 1)),
                "size": (across, outcome[:, 1].swapaxes(0, 1)),
                "silent": ((*cell, "seed"), (held == 0).mean(axis=(0, -1))),
                "silent_independent": (cell, of_image ** np.array(self.batches)[:, None]),
                "silent_epoch": (cell, of_epoch),
            },
            {"horizon": list(HORIZONS), "selectivity": ("exciting", of_image)},
            {
                "batch": ("images in a batch", "images"),
                "dead": ("share of features that died",),
                "size": ("mean weight",),
            },
            steps=self.steps,
        )

    def _outcome(self, gradients: Gradients, rule: str, lr: float) -> np.ndarray:
        """(dead or size, horizon, coupling, batch, exciting, seed)."""
        ends = [self.epochs * self.images // batch for batch in self.batches]
        record, lanes, given = sorted({*ends, self.steps}), gradients.share.shape[1:], remembering(rule, self.beta2)
        until = np.array(ends)[:, None, None, None]
        found = []
        for coupling in self.couplings:
            w, died = gradients.train(
                rule, coupling, np.full(lanes, self.target), record, lr=lr, strength=self.strength, **given
            )
            rows = np.stack([w[record.index(end), b] for b, end in enumerate(ends)])
            dead, size = np.stack([died <= until, np.isfinite(died)]), np.stack([rows, w[-1]])
            found.append(np.stack([dead, size]).mean(axis=-1))
        return np.stack(found, axis=2)
