"""One BatchNorm + ReLU feature that learns a teacher of given selectivity: when does it fall silent for good?

y = relu(gamma xhat + beta), xhat being the pre-activation X u normalized by its own batch's mean and biased variance. A
selective teacher is above zero on few images, so that most batches bring its student hardly any gradient but the
regularizer's pull. The backward pass is written out; all features of one optimizer advance together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.room import check_room
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.labelled import labelled

if TYPE_CHECKING:
    import xarray as xr

# Seeds on which learning rates are tuned; none of them is reported.
_TUNING = 1_000
# Laws of the inputs on which the bound of normalized values is tried: from light tails to one outlier among equals.
_LAWS: Mapping[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda draws, size: draws.normal(size=size),
    "Cauchy": lambda draws, size: draws.standard_cauchy(size),
    "outlier": lambda draws, size: 1e-3 * draws.normal(size=size) + 1e3 * (np.arange(size[1]) == 0),
}


def normalize(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(xhat, deviation) of h along its last axis, a batch: its own mean and biased variance, no eps."""
    centred = h - h.mean(-1, keepdims=True)
    return _scaled(centred)


def _scaled(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    deviation = np.sqrt(np.einsum("...b,...b->...", centred, centred) / centred.shape[-1])[..., None]
    return centred / deviation, deviation


def forward(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, xhat, deviation) of features w (..., features, d + 2) = (u, gamma, beta) on a batch x (..., B, d)."""
    # Centred inputs make centred pre-activations, and are fewer.
    centred = x - x.mean(-2, keepdims=True)
    xhat, deviation = _scaled(w[..., :-2] @ centred.swapaxes(-1, -2))
    return np.maximum(w[..., -2:-1] * xhat + w[..., -1:], 0.0), xhat, deviation


def backward(x: np.ndarray, w: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Gradient of the batch mean of (y - target)^2 / 2 at w (..., features, d + 2), target (..., features, B).

    Through mean and variance: dh = (dx - mean(dx) - xhat mean(dx xhat)) / deviation (Ioffe, Szegedy 2015, arXiv 1502.03167).
    """
    y, xhat, deviation = forward(x, w)
    dz = (y - target) * (y > 0) / x.shape[-2]
    by_gamma, by_beta = np.einsum("...b,...b->...", dz, xhat)[..., None], dz.sum(-1, keepdims=True)
    # dx = gamma dz, so that the two means are those of beta's and gamma's own gradients.
    dh = (dz - (by_beta + xhat * by_gamma) / x.shape[-2]) * (w[..., -2:-1] / deviation)
    return np.concatenate([dh @ x, by_gamma, by_beta], axis=-1)


@dataclass(frozen=True)
class Feature:
    """Students of teachers of known selectivity, `images` normal inputs of `inputs` numbers, visited once an epoch.

    A student starts in a random direction, with gamma = 1 and beta = 0. rates: candidates of each optimizer's learning
    rate; that of least loss under L2 of strength `reference` is taken, on `tuning_seeds` other seeds.
    """

    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam", "rmsprop")
    rates: tuple[tuple[float, ...], ...] = (
        (0.03, 0.1, 0.3),
        (0.003, 0.01, 0.03),
        (0.003, 0.01, 0.03),
        (0.003, 0.01, 0.03),
    )
    couplings: tuple[str, ...] = ("none", "l2", "decoupled_lr", "decoupled_schedule")
    strengths: tuple[float, ...] = (3e-2, 1e-1)
    reference: float = 3e-2
    selectivities: tuple[float, ...] = (0.8, 0.95, 0.98, 0.99)
    images: int = 128
    inputs: int = 8
    batch: int = 8
    epochs: int = 30
    seeds: int = 16
    tuning_seeds: int = 4
    silent: float = 1e-12
    small: float = 1e-3

    def run(self, threads: int = 1) -> xr.Dataset:
        """Each with (optimizer, coupling, strength, selectivity, seed): `inactive` (largest activation over the images below
        `silent`), `small` (abs(gamma) below `small`), `certified` (dead on every batch), `reborn` (gradient after a
        certificate), `certified_steps`, `violations` (steps certified, and with a gradient), `silent_images` (share), `loss`
        (that of a silent feature being 1), gamma, beta. `bound`: (law, seed), largest abs(xhat)/sqrt(N - 1) of random
        batches. `lr`: (optimizer); `rate`, `rate_loss`: (optimizer, candidate), what it was chosen from."""
        shape = (len(self.couplings), len(self.strengths), len(self.selectivities), self.seeds)
        found: dict[str, np.ndarray] = {}
        lr, tuned = np.empty(len(self.optimizers)), np.empty((len(self.optimizers), len(self.rates[0])))
        data, other = self._data(range(self.seeds)), self._data(range(_TUNING, _TUNING + self.tuning_seeds))
        for o, optimizer in enumerate(self.optimizers):
            rates = np.asarray(self.rates[o])
            tuned[o] = self._train(optimizer, "l2", rates, np.full(len(rates), self.reference), other)["loss"].mean(
                (1, 2)
            )
            lr[o] = rates[np.nanargmin(tuned[o])]
            # No regularizer is any coupling of strength 0: one run gives it and L2.
            strengths = np.array([0.0, *self.strengths])
            runs = {"l2": self._train(optimizer, "l2", np.full(len(strengths), lr[o]), strengths, data)}
            for coupling in set(self.couplings) - {"none", "l2"}:
                runs[coupling] = self._train(
                    optimizer, coupling, np.full(len(strengths) - 1, lr[o]), strengths[1:], data
                )
            for name in runs["l2"]:
                cells = found.setdefault(name, np.empty((len(self.optimizers), *shape)))
                for c, coupling in enumerate(self.couplings):
                    none = coupling == "none"
                    run = runs["l2" if none else coupling][name]
                    cells[o, c] = run[:1] if none else run[-len(self.strengths) :]
        axes = ("optimizer", "coupling", "strength", "selectivity", "seed")
        return labelled(
            self,
            {name: (axes, cells) for name, cells in found.items()}
            | {
                "bound": (("law", "seed"), self._bounds()),
                "lr": ("optimizer", lr),
                "rate": (("optimizer", "candidate"), self.rates),
                "rate_loss": (("optimizer", "candidate"), tuned),
            },
            {"law": list(_LAWS)},
            {"selectivity": ("share of images on which the teacher is silent",)},
            steps=self.epochs * (self.images // self.batch),
        )

    def _data(self, seeds: range) -> dict[str, np.ndarray]:
        """x (seeds, images, inputs), target (seeds, selectivities, images), start (seeds, selectivities, inputs + 2) and
        order (steps, seeds, batch); a seed's own generator makes all of its part."""
        each: list[tuple[np.ndarray, ...]] = []
        active = [max(1, round((1 - s) * self.images)) for s in self.selectivities]
        count = seeds.stop - seeds.start
        numbers = self.images * (self.inputs + len(active) + self.epochs) + len(active) * (self.inputs + 2)
        asked = f"{count:,} seeds with {self.images:,} images in {self.epochs:,} epochs"
        check_room(asked, 2 * 8 * count * numbers)  # of each seed, and put together
        for seed in seeds:
            draws = np.random.default_rng(seed)
            x = draws.normal(size=(self.images, self.inputs))
            u = draws.normal(size=(len(active), self.inputs))
            u /= np.linalg.norm(u, axis=1, keepdims=True)
            xhat, _ = normalize(u @ x.T)
            threshold = -np.sort(-xhat)[np.arange(len(active)), active]
            target = np.maximum(xhat - threshold[:, None], 0)
            # The root mean square over its own images is 1, so that teachers differ in how often, not how much.
            target *= np.sqrt(np.array(active) / (target**2).sum(1))[:, None]
            start = np.ones((len(active), self.inputs + 2))
            start[:, :-2] = draws.normal(size=u.shape) / np.sqrt(self.inputs)
            start[:, -1] = 0
            order = np.stack([draws.permutation(self.images) for _ in range(self.epochs)]).reshape(-1, self.batch)
            each.append((x, target, start, order))
        x, target, start, order = (np.stack(part) for part in zip(*each, strict=True))
        return {"x": x, "target": target, "start": start, "order": order.swapaxes(0, 1)}

    def _train(
        self, optimizer: str, coupling: str, rates: np.ndarray, strengths: np.ndarray, data: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """What became of each student, (settings, selectivities, seeds): a setting is a rate with its strength."""
        x, order, seed = data["x"], data["order"], np.arange(len(data["x"]))[:, None]
        shape = (len(x), len(self.selectivities), len(rates), self.inputs + 2)
        target = np.repeat(data["target"], len(rates), axis=1)
        count = {name: np.zeros(shape[:-1]) for name in ("certified_steps", "violations", "reborn")}
        # `closed.certified_dead`, spelled out where every step asks for it.
        ever, bound = np.zeros(shape[:-1], dtype=bool), -closed.normalized_bound(self.batch)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            batch = order[t]
            g = backward(x[seed, batch], w.reshape(len(x), -1, shape[-1]), target[seed, :, batch].swapaxes(1, 2))
            g = g.reshape(w.shape)
            dead = w[..., -1] <= bound * np.abs(w[..., -2])
            if ever.any() or dead.any():
                np.logical_or(ever, dead, out=ever)
                moved = (g != 0).any(-1)
                count["certified_steps"] += dead
                count["violations"] += dead & moved
                count["reborn"] += moved & ever
            return g

        each = np.broadcast_to(data["start"][:, :, None], shape)
        path = simulate_together(
            optimizer, coupling, gradient, each, record=[len(order)], lr=rates[:, None], strength=strengths[:, None]
        )
        w = path.w[-1]
        y = forward(x, w.reshape(len(x), -1, shape[-1]))[0]
        wanted = np.mean(target**2, axis=-1)
        gamma, beta = w[..., -2], w[..., -1]
        outcome = {
            "inactive": (y.max(-1) < self.silent).reshape(shape[:-1]),
            "small": np.abs(gamma) < self.small,
            "certified": closed.certified_dead(gamma, beta, self.batch),
            **count,
            "silent_images": (y <= 0).mean(-1).reshape(shape[:-1]),
            "loss": (np.mean((y - target) ** 2, axis=-1) / wanted).reshape(shape[:-1]),
            "gamma": gamma,
            "beta": beta,
        }
        outcome["reborn"] = outcome["reborn"] > 0
        return {name: np.moveaxis(cells.astype(np.float64), 0, -1).swapaxes(0, 1) for name, cells in outcome.items()}

    def _bounds(self) -> np.ndarray:
        """Largest abs(xhat) / sqrt(N - 1) over random batches of `batch`, (laws, seeds)."""
        found = np.empty((len(_LAWS), self.seeds))
        for seed in range(self.seeds):
            draws = np.random.default_rng((seed, 1))
            for k, law in enumerate(_LAWS.values()):
                xhat, _ = normalize(law(draws, (2_000, self.batch)))
                found[k, seed] = np.abs(xhat).max() / closed.normalized_bound(self.batch)
        return found
