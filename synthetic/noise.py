"""Weights under pure noise: they neither learn nor vanish, but reach a size at which steps and regularizer balance.

Noise is normal, of mean 0, arrives with probability p and has standard deviation size / sqrt(p) when it does. Every setting
has noise of its own, which all rules and couplings see. Section C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed

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
    seeds: int = 8
    weights: int = 16

    def run(self, threads: int = 1) -> xr.Dataset:
        """`mean_square`: (optimizer, coupling, strength, size, arrival, seed), w^2 over weights and over every tenth step
        from `settled` on; `predicted`: the same without seed, NaN outside the closed form's regime or without one.

        "signs" is Lion with beta1 = 0.
        """
        cells = (len(self.strengths), len(self.sizes), len(self.arrivals))
        strength, size, arrival = np.meshgrid(self.strengths, self.sizes, self.arrivals, indexing="ij")
        gradients = self._gradients(size, arrival)
        record = np.arange(self.settled, self.steps + 1, 10)
        found = np.empty((len(self.optimizers), len(COUPLINGS), *cells, self.seeds))
        for r, name in enumerate(self.optimizers):
            rule, hyper = self._rule(name)
            for c, coupling in enumerate(COUPLINGS):
                path = simulate_together(
                    rule,
                    coupling,
                    lambda w, t: gradients[t],
                    np.zeros(gradients.shape[1:]),
                    record=record,
                    lr=self.lr,
                    strength=strength[..., None, None],
                    **hyper,
                ).w
                found[r, c] = (path * path).mean(axis=(0, -1))
        predicted = [
            [
                [
                    self._predicted(name, coupling, *cell)
                    for cell in zip(*(x.flat for x in (strength, size, arrival)), strict=True)
                ]
                for coupling in COUPLINGS
            ]
            for name in self.optimizers
        ]
        axes = ("optimizer", "coupling", "strength", "size", "arrival")
        dataset = xr.Dataset(
            {
                "mean_square": ((*axes, "seed"), found),
                "predicted": (axes, np.reshape(predicted, found.shape[:-1])),
            },
            {
                "optimizer": list(self.optimizers),
                "coupling": list(COUPLINGS),
                "strength": list(self.strengths),
                "size": list(self.sizes),
                "arrival": list(self.arrivals),
                "seed": range(self.seeds),
            },
        )
        dataset["mean_square"].attrs = {"long_name": "E[w^2]"}
        dataset["size"].attrs = {"long_name": "root mean square of the gradient, sigma sqrt(p)"}
        dataset.attrs = {
            "lr": self.lr,
            "beta2": self.beta2,
            "critical_arrival": closed.critical_arrival(self.beta2),
            "settled": self.settled,
            "steps": self.steps,
            "weights": self.weights,
        }
        return dataset

    def _gradients(self, size: np.ndarray, arrival: np.ndarray) -> np.ndarray:
        """(steps, *cells, seeds, weights)."""
        p = arrival[..., None]
        found = np.empty((self.steps, *size.shape, self.seeds, self.weights))
        for seed in range(self.seeds):
            rng, shape = np.random.default_rng(seed), (self.steps, *size.shape, self.weights)
            u, z = rng.random(shape), rng.standard_normal(shape)
            found[..., seed, :] = np.where(u < p, z * (size[..., None] / np.sqrt(p)), 0.0)
        return found

    def _rule(self, name: str) -> tuple[str, dict[str, Any]]:
        if name == "signs":
            return "lion", {"beta1": 0.0}
        memory = RULES[name].memory
        return name, {memory: self.beta2} if memory else {}

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
