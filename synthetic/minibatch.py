"""Features that few images excite, trained on mini-batches: what the batch size does to them.

An epoch is every image once, in a new random order; a batch of B images holds k of those that excite a feature, and its
gradient is the mean over the batch: (k/B) pull (w - target) plus noise of standard deviation sigma sqrt(k)/B. With k = 0
it is exactly 0. A feature whose weight has fallen to the floor excites nothing any more and gets no gradient again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import comb

import numpy as np
import xarray as xr

from dynamics.theory import closed
from synthetic.batches import Gradients, exciting_in_batches, longest_silence

COUPLINGS = ("none", "l2", "decoupled_lr")
ENTRIES = ("l2", "decoupled_lr", "decoupled_schedule")
SAMPLINGS = ("independent", "epochs")
HORIZONS = ("epochs", "steps")


@dataclass(frozen=True)
class MiniBatch:
    """Time is compressed against a real training: beta2 is 0.99 for Adam too, the default of RMSprop, and lr 0.01.

    `epochs` epochs of `images` images take every batch size to a different step ("epochs"); `steps` is the same for all
    ("steps"), and where the smallest batch is after `epochs`. Momentum's lr is a tenth of SGD's, so both move alike.

    What the regularizer alone does in these 2048 steps bounds what can be seen: a weight without any gradient goes from 1 to 0.13
    under SGD or momentum with L2, and to 0.81 under decay x lr, so neither reaches the floor but by noise.
    """

    rules: tuple[str, ...] = ("sgd", "momentum", "adam", "rmsprop")
    lrs: tuple[float, ...] = (0.1, 0.01, 0.01, 0.01)
    beta2: float = 0.99
    strength: float = 0.01
    # Adam at other strengths too, and under the paper's decay, which has no factor lr; that many of the features.
    strengths: tuple[float, ...] = (1e-3, 1e-2)
    compared: int = 2
    compared_lr: float = 0.01
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
    # Starvation: features that one image excites.
    lengths: tuple[int, ...] = (64, 128, 256, 512)
    watched: int = 32
    # Where noise dominates and nothing dies: features that a quarter of the images excites.
    rest_batches: tuple[int, ...] = (1, 4, 16)
    rest_strength: tuple[float, ...] = (0.25, 0.125)
    rest_sigma: float = 8.0
    rest_lr: float = 0.02
    rest_pairs: int = 8

    @property
    def steps(self) -> int:
        return self.epochs * self.images // min(self.batches)

    def run(self, threads: int = 1) -> xr.Dataset:
        """dead (share of the features) and size (their mean weight): (horizon, optimizer, coupling, batch, exciting, seed);
        dead_by_strength, under Adam at equal steps, over all batches and selectivities: (entry, strength, seed);
        silent, the share of batches without an exciting image: (batch, exciting, seed), beside s^B and the exact value
        within epochs: (batch, exciting); starved, the share of features that one image excites which saw `length` steps
        or more without it: (sampling, batch, length, seed), beside the closed form for independent batches; rest, mean
        weight under Adam where noise dominates: (regularizer, rest_batch, seed), beside its closed form."""
        held, drawn = self._draw()
        batch = np.array(self.batches)[:, None, None, None]
        gradients = Gradients.of(held, batch, drawn, self.pull, self.target, self.sigma, self.floor)
        outcome = np.array([self._outcome(gradients, rule, lr) for rule, lr in zip(self.rules, self.lrs, strict=True)])
        by_strength = self._by_strength(gradients)
        of_image = 1 - np.array(self.exciting) / self.images
        starved, starved_closed = self._starvation()
        rest, rest_closed = self._rest()
        across = ("horizon", "optimizer", "coupling", "batch", "exciting", "seed")
        dataset = xr.Dataset(
            {
                "dead": (across, outcome[:, 0].swapaxes(0, 1)),
                "size": (across, outcome[:, 1].swapaxes(0, 1)),
                "dead_by_strength": (("entry", "strength", "seed"), by_strength),
                "silent": (across[3:], (held == 0).mean(axis=(0, -1))),
                "silent_independent": (across[3:5], of_image ** np.array(self.batches)[:, None]),
                "silent_epoch": (across[3:5], self._silent_in_epochs()),
                "starved": (("sampling", "batch", "length", "seed"), starved),
                "starved_closed": (("batch", "length"), starved_closed),
                "rest": (("regularizer", "rest_batch", "seed"), rest),
                "rest_closed": (("regularizer", "rest_batch"), rest_closed),
            },
            {
                "horizon": list(HORIZONS),
                "optimizer": list(self.rules),
                "coupling": list(COUPLINGS),
                "batch": list(self.batches),
                "exciting": list(self.exciting),
                "selectivity": ("exciting", of_image),
                "entry": list(ENTRIES),
                "strength": list(self.strengths),
                "sampling": list(SAMPLINGS),
                "length": list(self.lengths),
                "regularizer": list(COUPLINGS[1:]),
                "rest_batch": list(self.rest_batches),
                "seed": range(self.seeds),
            },
        )
        dataset["batch"].attrs = {"units": "images", "long_name": "images in a batch"}
        dataset["dead"].attrs = {"long_name": "share of features that died"}
        dataset["size"].attrs = {"long_name": "mean weight"}
        names = ("beta2", "strength", "images", "epochs", "sigma", "floor", "features", "watched")
        dataset.attrs = {name: getattr(self, name) for name in names} | {"steps": self.steps}
        return dataset

    def _silent_in_epochs(self) -> np.ndarray:
        return np.array(
            [[comb(self.images - k, b) / comb(self.images, b) for k in self.exciting] for b in self.batches]
        )

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Exciting images in each batch, and normal numbers: (steps, batch, exciting, seed, feature)."""
        cells = (self.steps, len(self.batches), len(self.exciting))
        held, drawn = np.empty((2, *cells, self.seeds, self.features))
        for s in range(self.seeds):
            rng = np.random.default_rng((s, 0))
            for (b, batch), (e, exciting) in product(enumerate(self.batches), enumerate(self.exciting)):
                held[:, b, e, s] = exciting_in_batches(rng, exciting, self.images, batch, self.steps, self.features)
            drawn[:, :, :, s] = rng.standard_normal((*cells, self.features))
        return held, drawn

    def _outcome(self, gradients: Gradients, rule: str, lr: float) -> np.ndarray:
        """(dead or size, horizon, coupling, batch, exciting, seed)."""
        hyper = {"beta2": self.beta2} if rule == "adam" else {}
        ends = [self.epochs * self.images // batch for batch in self.batches]
        record = sorted({*ends, self.steps})
        lanes = gradients.share.shape[1:]
        # Without a regularizer is with L2 of strength 0: the two share a descent.
        strengths = np.array([0.0, self.strength]).reshape(2, *[1] * len(lanes))
        parts = [
            gradients.train(
                rule, coupling, np.full((len(at), *lanes), self.target), record, lr=lr, strength=at, **hyper
            )
            for coupling, at in (("l2", strengths), ("decoupled_lr", strengths[1:]))
        ]
        w = np.concatenate([part[0] for part in parts], axis=1)
        died = np.concatenate([part[1] for part in parts])
        rows = np.stack([w[record.index(end), :, b] for b, end in enumerate(ends)], axis=1)
        until = np.array(ends)[:, None, None, None]
        dead = np.stack([died <= until, np.isfinite(died)]).mean(axis=-1)
        return np.stack([dead, np.stack([rows, w[-1]]).mean(axis=-1)])

    def _by_strength(self, gradients: Gradients) -> np.ndarray:
        """Share of dead features at equal steps: (entry, strength, seed)."""
        some = replace(
            gradients, share=gradients.share[..., : self.compared], noise=gradients.noise[..., : self.compared]
        )
        lanes = some.share.shape[1:]
        strength = np.array(self.strengths).reshape(-1, *[1] * len(lanes))
        start, setting = np.full((len(strength), *lanes), self.target), {"lr": self.compared_lr, "beta2": self.beta2}
        died = [some.train("adam", entry, start, [self.steps], strength=strength, **setting)[1] for entry in ENTRIES]
        return np.asarray(np.isfinite(np.stack(died)).mean(axis=(2, 3, -1)))

    def _starvation(self) -> tuple[np.ndarray, np.ndarray]:
        starved = np.empty((len(SAMPLINGS), len(self.batches), len(self.lengths), self.seeds))
        arrivals = [1 - closed.silent_batch(1 - 1 / self.images, batch) for batch in self.batches]
        for s in range(self.seeds):
            rng = np.random.default_rng((s, 1))
            for b, batch in enumerate(self.batches):
                free = rng.random((self.steps, self.watched), dtype=np.float32) >= arrivals[b]
                held = exciting_in_batches(rng, 1, self.images, batch, self.steps, self.watched)
                for k, silent in enumerate((free, held == 0)):
                    starved[k, b, :, s] = (longest_silence(silent)[:, None] >= self.lengths).mean(axis=0)
        exact = [[closed.starvation_exact(p, length, self.steps) for length in self.lengths] for p in arrivals]
        return starved, np.array(exact)

    def _rest(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean over the second half of `steps`; and l2_fixed_point, noisy_adamw_fixed_point."""
        exciting, shape = self.images // 4, (len(self.rest_batches), self.seeds, self.rest_pairs)
        held, drawn = np.empty((2, self.steps, *shape))
        for s in range(self.seeds):
            rng = np.random.default_rng((s, 2))
            for b, size in enumerate(self.rest_batches):
                held[:, b, s] = exciting_in_batches(rng, exciting, self.images, size, self.steps, self.rest_pairs)
            drawn[:, :, s] = rng.standard_normal((self.steps, len(self.rest_batches), self.rest_pairs))
        batch = np.array(self.rest_batches)[:, None, None]
        gradients = Gradients.of(held, batch, drawn, self.pull, self.target, self.rest_sigma, -np.inf)
        record, setting = range(self.steps // 2, self.steps + 1, 16), {"lr": self.rest_lr, "beta2": self.beta2}
        # Each feature has a twin that meets the same noise with its sign turned: in their mean, fluctuations nearly cancel.
        twins = Gradients(
            np.tile(gradients.share, 2),
            np.concatenate([gradients.noise, -gradients.noise], axis=-1),
            self.target,
            -np.inf,
        )
        half = np.full((*shape[:-1], 2 * shape[-1]), self.target / 2)
        paths = [
            twins.train("adam", name, half, record, strength=strength, **setting)[0]
            for name, strength in zip(COUPLINGS[1:], self.rest_strength, strict=True)
        ]
        p, (l2, decay) = exciting / self.images, self.rest_strength
        expected = [
            [
                closed.l2_fixed_point(p, self.pull, self.target, l2),
                closed.noisy_adamw_fixed_point(p * self.pull, self.target, decay, self.rest_sigma * (p / size) ** 0.5),
            ]
            for size in self.rest_batches
        ]
        return np.stack(paths).mean(axis=(1, -1)), np.array(expected).T
