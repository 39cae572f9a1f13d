"""Weights under pure noise: they neither learn nor vanish, but reach a size at which steps and regularizer balance.

Noise is normal, of mean 0, arrives with probability p and has standard deviation size / sqrt(p) when it does. Every setting
has noise of its own, which all rules and couplings see. Section C. Lion's formula needs normal noise, which the simulator's
lanes, with uniform numbers and arithmetic alone, do not draw: the gradients are made here from the same generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import InputError
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.labelled import labelled, normal, numbers_of, remembering

if TYPE_CHECKING:
    import xarray as xr

COUPLINGS = ("l2", "decoupled_lr")


def lion_mean_square(lr: float, strength: float, beta1: float = 0.9, beta2: float = 0.99) -> float:
    """E[w^2] of Lion with decay x lr under normal noise at every step: lr^2/(1-a^2) (1 + 2 sum_k a^k R_k), a = 1 - lr strength.

    R_k = (2/pi) arcsin(rho_k) correlates signs k steps apart, rho_k what is under them: beta1 times the running mean plus
    (1 - beta1) times the gradient. At beta1 = 0 it is `closed.sign_mean_square`. Exact; sums until a^k is below 1e-12.
    Source: arcsine law of normal variables; derived here (C).
    """
    a = 1 - lr * strength
    k = np.arange(1, int(np.ceil(-28 / np.log(a))) + 1)
    mean = (1 - beta2) / (1 + beta2)  # variance of the running mean of unit noise
    variance = beta1**2 * mean + (1 - beta1) ** 2
    covariance = beta1**2 * mean * beta2**k + beta1 * (1 - beta1) * (1 - beta2) * beta2 ** (k - 1.0)
    signs = 2 / np.pi * np.arcsin(covariance / variance)
    return float(lr**2 / (1 - a * a) * (1 + 2 * np.sum(a**k * signs)))


@dataclass(frozen=True)
class Noise:
    """sizes: root mean squares of the gradient; arrivals: the probabilities p. beta2 is Adam's and RMSprop's (alpha)."""

    optimizers: tuple[str, ...] = ("sgd", "momentum", "rmsprop", "adam", "signs", "lion")
    lr: float = 0.1
    strengths: tuple[float, ...] = (0.09, 0.36)
    sizes: tuple[float, ...] = (0.5, 2.0)
    arrivals: tuple[float, ...] = (0.01, 0.11, 0.6, 1.0)
    beta2: float = 0.99
    settled: int = 600
    steps: int = 1_400
    seeds: int = 32
    weights: int = 32

    def run(self, threads: int = 1) -> xr.Dataset:
        """`mean_square`: (optimizer, coupling, strength, size, arrival, seed), w^2 over weights and over every tenth step
        from `settled` on; `predicted`: the same without seed, NaN outside the closed form's regime or without one.

        "signs" is Lion with beta1 = 0.
        """
        cells = (len(self.strengths), len(self.sizes), len(self.arrivals))
        strength, size, arrival = np.meshgrid(self.strengths, self.sizes, self.arrivals, indexing="ij")
        gradients = self._gradients(size, arrival)
        found = np.empty((len(self.optimizers), len(COUPLINGS), self.seeds, *cells))
        for r, name in enumerate(self.optimizers):
            hyper: dict[str, Any] = {"beta1": 0.0} if name == "signs" else remembering(name, self.beta2)
            for c, coupling in enumerate(COUPLINGS):
                path = simulate_together(
                    "lion" if name == "signs" else name,
                    coupling,
                    lambda w, t: gradients[t],
                    np.zeros(gradients.shape[1:]),
                    record=np.arange(self.settled, self.steps + 1, 10),
                    lr=self.lr,
                    strength=strength[..., None],
                    **hyper,
                ).w
                found[r, c] = (path * path).mean(axis=(0, -1))
        every = list(zip(*(x.flat for x in (strength, size, arrival)), strict=True))
        predicted = [[[self._predicted(n, c, *cell) for cell in every] for c in COUPLINGS] for n in self.optimizers]
        axes = ("optimizer", "coupling", "strength", "size", "arrival")
        return labelled(
            self,
            {
                "mean_square": ((*axes, "seed"), np.moveaxis(found, 2, -1)),
                "predicted": (axes, np.reshape(predicted, (*found.shape[:2], *cells))),
            },
            {"coupling": list(COUPLINGS)},
            {"mean_square": ("E[w^2]",), "size": ("root mean square of the gradient, sigma sqrt(p)",)},
            critical=closed.critical_arrival(self.beta2),
        )

    def _gradients(self, size: np.ndarray, arrival: np.ndarray) -> np.ndarray:
        """(steps, seeds, *cells, weights)."""
        p = arrival[..., None]
        numbers = numbers_of(self.steps, (self.seeds, *size.shape, self.weights))
        return np.stack([np.where(u < p, normal(z) * (size[..., None] / np.sqrt(p)), 0.0) for u, z in numbers])

    def _predicted(self, name: str, coupling: str, strength: float, size: float, arrival: float) -> float:
        sigma, decays = size / arrival**0.5, coupling == "decoupled_lr"
        try:
            if name == "sgd":
                return closed.sgd_mean_square(self.lr, strength, size)
            if name == "momentum":
                if not decays:
                    return closed.momentum_mean_square(self.lr, strength, size)
                # The buffer is Adam's running mean over 1 - momentum, and nothing divides it.
                return closed.adamw_mean_square(self.lr, strength, 0.9, self.beta2) * (size / (1 - 0.9)) ** 2
            if name in ("adam", "rmsprop"):
                beta1 = 0.9 if name == "adam" else 0.0
                if decays:
                    return closed.adamw_mean_square(self.lr, strength, beta1, self.beta2, arrival)
                return closed.adam_l2_mean_square(self.lr, strength, sigma, arrival, beta1, self.beta2)
            if name == "signs" and decays:
                return closed.sign_mean_square(self.lr, strength, arrival)
            if name == "lion" and decays and arrival == 1:
                return lion_mean_square(self.lr, strength)
        except InputError:
            pass
        return float("nan")
