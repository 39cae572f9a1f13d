"""Easy and hard tasks: what the difficulty of the task does to a feature.

What makes a task hard is a model of this project's own, in two parts. Scale: on an easy task the loss, and with it every
gradient, fades as it is learned; label noise or overlapping classes keep gradients large to the end. So `scale`
multiplies a feature's whole gradient, mean and noise. Patterns: a hard task has more patterns to tell apart. Each
pattern excites one of K features, chosen at random: an easy task leaves features that nothing ever excites. Mini-batches, gradients
and death are those of `synthetic.minibatch`. Neither part changes the probability that an image excites a feature, 1/K
on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthetic.batches import Gradients, patterns_in_batches
from synthetic.labelled import column, labelled, remembering

if TYPE_CHECKING:
    import xarray as xr

COUPLINGS = ("l2", "decoupled_lr")


@dataclass(frozen=True)
class Difficulty:
    """Constants as in `synthetic.minibatch`; every setting gets the same number of steps, and all scales the same draws.
    Of K = `network` features the first `followed` are simulated."""

    optimizers: tuple[str, ...] = ("sgd", "adam")
    lr: tuple[float, ...] = (0.1, 0.01)
    beta2: float = 0.99
    strength: float = 0.01
    network: int = 64
    scales: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    patterns: tuple[int, ...] = (32, 128, 512)
    batches: tuple[int, ...] = (2, 8, 32)
    steps: int = 2048
    pull: float = 1.0
    target: float = 1.0
    sigma: float = 0.3
    floor: float = 0.05
    seeds: int = 8
    followed: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """dead (share of the features) and size (their mean weight): (optimizer, coupling, scale, patterns, batch, seed);
        unused, the share that no pattern excites: (patterns, seed); silent (1 - 1/K)^B: (batch)."""
        held, drawn, unused = self._draw()
        once = Gradients.of(held, column(self.batches, 1, 4), drawn, self.pull, self.target, self.sigma, self.floor)
        by = column(self.scales, 0, 5)
        outcome = np.empty((2, len(self.optimizers), len(COUPLINGS), len(self.scales), *held.shape[1:-1]))
        for r, (rule, lr) in enumerate(zip(self.optimizers, self.lr, strict=True)):
            hyper = remembering(rule, self.beta2)
            for c, coupling in enumerate(COUPLINGS):
                start = np.full((len(self.scales), *held.shape[1:]), self.target)
                w, died = once.train(
                    rule, coupling, start, [self.steps], scale=by, lr=lr, strength=self.strength, **hyper
                )
                outcome[:, r, c] = np.isfinite(died).mean(axis=-1), w[-1].mean(axis=-1)
        across = ("optimizer", "coupling", "scale", "patterns", "batch", "seed")
        return labelled(
            self,
            {
                "dead": (across, outcome[0]),
                "size": (across, outcome[1]),
                "unused": (("patterns", "seed"), unused),
                "silent": (("batch",), (1 - 1 / self.network) ** np.array(self.batches)),
            },
            {"coupling": list(COUPLINGS)},
            {"scale": ("scale of the loss gradient",)},
        )

    def _draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Exciting patterns in each batch, normal numbers: (steps, patterns, batch, seed, feature); unused."""
        cells = (self.steps, len(self.patterns), len(self.batches))
        held, drawn = np.zeros((2, *cells, self.seeds, self.followed))
        unused = np.empty((len(self.patterns), self.seeds))
        for s in range(self.seeds):
            rng = np.random.default_rng(s)
            for n, patterns in enumerate(self.patterns):
                held[:, n, :, s], unused[n, s] = patterns_in_batches(
                    rng, patterns, self.network, self.batches, self.steps, self.followed
                )
            drawn[:, :, :, s] = rng.standard_normal((*cells, self.followed))
        return held, drawn, unused
