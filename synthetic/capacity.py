"""Networks of more or fewer features for the same task: what capacity does to a feature.

Two models. Arrivals: each of C patterns excites one of K features, chosen at random, so an image brings a feature a gradient
with probability 1/K on average, and many features none ever where K outgrows C; mini-batches, gradients and death are those
of `synthetic.minibatch`. Shared: all K features see every step and fit one target together, loss (sum p_k w_k - Y)^2/2,
without noise; p_k is about 1/K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.simulate.schedules import cosine
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.batches import Gradients, patterns_in_batches
from synthetic.labelled import column, labelled, remembering

if TYPE_CHECKING:
    import xarray as xr

COUPLINGS = ("l2", "decoupled_lr")


@dataclass(frozen=True)
class Capacity:
    """Constants as in `synthetic.minibatch`; every setting gets the same number of steps. Of K features the first
    `followed` are simulated, for no feature acts on another."""

    optimizers: tuple[str, ...] = ("sgd", "adam")
    lr: tuple[float, ...] = (0.1, 0.01)
    beta2: float = 0.99
    strength: float = 0.01
    patterns: int = 512
    networks: tuple[int, ...] = (16, 64, 256, 1024)
    batches: tuple[int, ...] = (2, 8, 32)
    steps: int = 2048
    pull: float = 1.0
    target: float = 1.0
    sigma: float = 0.3
    floor: float = 0.05
    seeds: int = 8
    followed: int = 16
    # Shared target: Adam with a learning rate that falls to 0, from equal weights of half the target.
    shared_lr: float = 0.01
    shared_steps: int = 2048
    unevenness: float = 3.0

    def run(self, threads: int = 1) -> xr.Dataset:
        """dead (share of the features) and size (their mean weight): (optimizer, coupling, network, batch, seed); unused,
        the share that no pattern excites: (network, seed); silent (1 - 1/K)^B: (network, batch); shared, mean weight under
        Adam, its closed form, off, the largest relative error of a weight, and uneven, the weight of the most universal
        feature over that of the most selective one (whose p is smaller `unevenness` times): (coupling, network)."""
        dead, size, unused = self._arrivals()
        shared, expected, off, uneven = self._shared()
        across, pair = ("optimizer", "coupling", "network", "batch", "seed"), ("coupling", "network")
        silent = (1 - 1 / np.array(self.networks)[:, None]) ** np.array(self.batches)
        return labelled(
            self,
            {
                "dead": (across, dead),
                "size": (across, size),
                "unused": (("network", "seed"), unused),
                "silent": (("network", "batch"), silent),
                "shared": (pair, shared),
                "shared_closed": (pair, expected),
                "shared_off": (pair, off),
                "shared_uneven": (pair, uneven),
            },
            {"coupling": list(COUPLINGS)},
            {"network": ("features in the network", "features")},
        )

    def _arrivals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cells = (self.steps, len(self.networks), len(self.batches))
        held, drawn = np.zeros((2, *cells, self.seeds, self.followed))
        unused = np.empty((len(self.networks), self.seeds))
        for s in range(self.seeds):
            rng = np.random.default_rng(s)
            for n, network in enumerate(self.networks):
                held[:, n, :, s], unused[n, s] = patterns_in_batches(
                    rng, self.patterns, network, self.batches, self.steps, self.followed
                )
            drawn[:, :, :, s] = rng.standard_normal((*cells, self.followed))
        gradients = Gradients.of(
            held, column(self.batches, 1, 4), drawn, self.pull, self.target, self.sigma, self.floor
        )
        start, record = np.full(held.shape[1:], self.target), [self.steps]
        dead, size = np.empty((2, len(self.optimizers), len(COUPLINGS), *held.shape[1:-1]))
        for r, (rule, lr) in enumerate(zip(self.optimizers, self.lr, strict=True)):
            hyper = remembering(rule, self.beta2)
            for c, coupling in enumerate(COUPLINGS):
                w, died = gradients.train(rule, coupling, start, record, lr=lr, strength=self.strength, **hyper)
                dead[r, c], size[r, c] = np.isfinite(died).mean(axis=-1), w[-1].mean(axis=-1)
        return dead, size, unused

    def _shared(self) -> np.ndarray:
        """(mean weight, closed form, largest relative error, uneven) x coupling x network."""
        counts = np.array(self.networks)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        shares = [np.linspace(2, 2 * self.unevenness, k) / (1 + self.unevenness) / k for k in self.networks]
        p = np.concatenate(shares)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            return np.asarray(p * np.repeat(np.add.reduceat(p * w, first) - self.target, counts))

        found = np.empty((4, len(COUPLINGS), len(counts)))
        for c, coupling in enumerate(COUPLINGS):
            w = simulate_together(
                "adam",
                coupling,
                gradient,
                np.full(len(p), self.target / 2),
                record=[self.shared_steps],
                lr=self.shared_lr,
                strength=self.strength,
                schedule=cosine(self.shared_steps),
                beta2=self.beta2,
            ).w[0]
            form = closed.shared_l2 if coupling == "l2" else closed.shared_adamw
            for k, (of, each) in enumerate(zip(shares, np.split(w, first[1:]), strict=True)):
                expected = form(of, self.target, self.strength)
                error = np.abs(each / expected - 1).max()
                found[:, c, k] = each.mean(), np.mean(expected), error, each[-1] / each[0]
        return found
