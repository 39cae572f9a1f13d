"""Features of different selectivity that compete to fit one target: which of them die, under which optimizer?

A small network: output = sum_k w_k relu(gamma_k xhat_k + beta_k). Every feature is excited by a share of the images, its own,
and xhat is that excitation normalized over all images, as BatchNorm would. The target needs only some of the features, the
others are as able: unlike a feature that alone must fit its teacher (`synthetic.feature`), these can be done without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.room import check_room
from dynamics.simulate.together import simulate_together
from synthetic.labelled import labelled

if TYPE_CHECKING:
    import xarray as xr

# Seeds on which learning rates are tuned; none of them is reported.
_TUNING = 1_000
# Random orders of removal that are averaged over.
_DRAWS = 8
_ORDERS = ("most selective first", "random", "least selective first")


def backward(xhat: np.ndarray, w: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Gradient of the batch mean of (output - target)^2 / 2 at w (..., 3, K) = (gamma, beta, outgoing weights).

    xhat (..., B, K), target (..., B); leading axes broadcast.
    """
    z = w[..., 0:1, :] * xhat + w[..., 1:2, :]
    y = np.maximum(z, 0.0)
    outgoing = w[..., 2, :, None]
    residual = ((y @ outgoing)[..., 0] - target) / target.shape[-1]
    dz = residual[..., None] * (z > 0) * outgoing[..., None, :, 0]
    by_gamma = np.einsum("...bk,...bk->...k", dz, np.broadcast_to(xhat, dz.shape))
    return np.stack([by_gamma, dz.sum(-2), (residual[..., None, :] @ y)[..., 0, :]], axis=-2)


@dataclass(frozen=True)
class Compete:
    """`copies` features of each selectivity, a share `needed` of which makes the target; images visited once an epoch.

    rates: candidates of each optimizer's learning rate; that of least loss under L2 of strength `reference` is taken, on
    `tuning_seeds` other seeds. removed: shares of the live features that are taken away in the three orders.
    """

    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam", "rmsprop")
    rates: tuple[tuple[float, ...], ...] = (
        (0.1, 0.2, 0.4),
        (0.01, 0.02, 0.04),
        (0.003, 0.01, 0.03),
        (0.003, 0.01, 0.03),
    )
    couplings: tuple[str, ...] = ("none", "l2", "decoupled_lr")
    strengths: tuple[float, ...] = (1e-3, 5e-3, 2e-2)
    reference: float = 5e-3
    selectivities: tuple[float, ...] = (0.5, 0.75, 0.875, 0.9375, 0.96875)
    copies: int = 4
    needed: float = 0.5
    images: int = 64
    batch: int = 8
    epochs: int = 80
    seeds: int = 8
    tuning_seeds: int = 4
    silent: float = 1e-12
    small: float = 1e-3
    removed: tuple[float, ...] = (0.25, 0.5)

    def run(self, threads: int = 1) -> xr.Dataset:
        """A feature each, (optimizer, coupling, strength, selectivity, copy, seed): `inactive` (largest activation below
        `silent`), `small` (abs(gamma) below `small`), `selective` (its selectivity in the end, NaN if inactive).
        A network each, (optimizer, coupling, strength, seed): `loss` (that of output 0 being 1/2), `without_inactive`,
        `without_small` (largest change of an output when these are removed). `cost`: (optimizer, coupling, strength, order,
        removed, seed), rise of the loss. `lr`: (optimizer); `rate`, `rate_loss`: (optimizer, candidate), with
        `rate_inactive`: (optimizer, candidate, tuning_seed), share of the features."""
        data, other = self._data(range(self.seeds)), self._data(range(_TUNING, _TUNING + self.tuning_seeds))
        found: dict[str, np.ndarray] = {}
        lr, tuned = np.empty(len(self.optimizers)), np.empty((len(self.optimizers), len(self.rates[0])))
        lost = np.empty((*tuned.shape, self.tuning_seeds))
        for o, optimizer in enumerate(self.optimizers):
            rates = np.asarray(self.rates[o])
            w = self._train(optimizer, "l2", rates, np.full(len(rates), self.reference), other)
            tried = self._outcome(w, other)
            tuned[o], lost[o] = tried["loss"].mean(-1), tried["inactive"].mean((1, 2))
            lr[o] = rates[np.nanargmin(tuned[o])]
            # No regularizer is any coupling of strength 0: one run gives it and L2.
            strengths = np.array([0.0, *self.strengths])
            for c, coupling in enumerate(self.couplings):
                if coupling == "none":
                    continue
                w = self._train(optimizer, coupling, np.full(len(strengths), lr[o]), strengths, data)
                for name, cells in self._outcome(w, data).items():
                    shape = (len(self.optimizers), len(self.couplings), len(self.strengths), *cells.shape[1:])
                    whole = found.setdefault(name, np.empty(shape))
                    whole[o, c] = cells[1:]
                    whole[o, self.couplings.index("none")] = cells[:1]
        cell = ("optimizer", "coupling", "strength")
        axes: dict[str, tuple[str, ...]] = dict.fromkeys(found, (*cell, "seed"))
        for name in ("inactive", "small", "selective"):
            axes[name] = (*cell, "selectivity", "copy", "seed")
        axes["cost"] = (*cell, "order", "removed", "seed")
        return labelled(
            self,
            {name: (axes[name], cells) for name, cells in found.items()}
            | {
                "lr": ("optimizer", lr),
                "rate": (("optimizer", "candidate"), self.rates),
                "rate_loss": (("optimizer", "candidate"), tuned),
                "rate_inactive": (("optimizer", "candidate", "tuning_seed"), lost),
            },
            {"order": list(_ORDERS), "removed": list(self.removed)},
            {"selectivity": ("share of images that do not excite the feature",)},
            features=len(self.selectivities) * self.copies,
            steps=self.epochs * (self.images // self.batch),
        )

    def _data(self, seeds: range) -> dict[str, np.ndarray]:
        """xhat (seeds, images, K), target (seeds, images), start (seeds, 3, K), order (steps, seeds, batch); a seed's own
        generator makes all of its part. K runs over selectivities, then copies."""
        excited = np.repeat([max(1, round((1 - s) * self.images)) for s in self.selectivities], self.copies)
        wanted = np.tile(np.arange(self.copies) < self.needed * self.copies, len(self.selectivities))
        each: list[tuple[np.ndarray, ...]] = []
        count = seeds.stop - seeds.start
        numbers = self.images * (len(excited) + 1 + self.epochs) + 3 * len(excited)
        asked = f"{count:,} seeds with {self.images:,} images in {self.epochs:,} epochs"
        check_room(asked, 2 * 8 * count * numbers)  # of each seed, and put together
        for seed in seeds:
            draws = np.random.default_rng(seed)
            x = draws.uniform(0.5, 1.5, (self.images, len(excited)))
            x *= np.argsort(draws.random(x.shape), axis=0) < excited
            xhat = (x - x.mean(0)) / x.std(0)
            target = np.maximum(xhat, 0) @ (wanted * draws.choice([-1.0, 1.0], len(excited)))
            outgoing = draws.normal(size=len(excited)) / np.sqrt(len(excited))
            start = np.stack([np.ones(len(excited)), np.zeros(len(excited)), outgoing])
            order = np.stack([draws.permutation(self.images) for _ in range(self.epochs)]).reshape(-1, self.batch)
            each.append((xhat, (target - target.mean()) / target.std(), start, order))
        xhat, target, start, order = (np.stack(part) for part in zip(*each, strict=True))
        return {"xhat": xhat, "target": target, "start": start, "order": order.swapaxes(0, 1)}

    def _train(
        self, optimizer: str, coupling: str, rates: np.ndarray, strengths: np.ndarray, data: dict[str, np.ndarray]
    ) -> np.ndarray:
        """The weights in the end, (settings, seeds, 3, K): a setting is a rate with its strength."""
        xhat, target, order = data["xhat"], data["target"], data["order"]
        seed = np.arange(len(xhat))[:, None]

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            return backward(xhat[seed, order[t]], w, target[seed, order[t]])

        start = np.broadcast_to(data["start"], (len(rates), *data["start"].shape))
        settings = (slice(None), None, None, None)
        path = simulate_together(
            optimizer, coupling, gradient, start, record=[len(order)], lr=rates[settings], strength=strengths[settings]
        )
        return np.asarray(path.w[-1])

    def _outcome(self, w: np.ndarray, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What `run` reports of weights (settings, seeds, 3, K); the seed comes last."""
        xhat, target = data["xhat"], data["target"]
        y = np.maximum(w[..., 0:1, :] * xhat + w[..., 1:2, :], 0.0)
        parts, most = y * w[..., 2:3, :], y.max(-2)
        residual = parts.sum(-1) - target
        inactive, small = most < self.silent, np.abs(w[..., 0, :]) < self.small
        # Selectivity as Mehta et al. measure it: below a thousandth of the feature's own maximum.
        selective = np.where(inactive, np.nan, (y < 1e-3 * most[..., None, :]).mean(-2))
        grid = (*w.shape[:2], len(self.selectivities), self.copies)
        outcome = {
            name: np.moveaxis(cells.astype(np.float64).reshape(grid), 1, -1)
            for name, cells in {"inactive": inactive, "small": small, "selective": selective}.items()
        }
        outcome["loss"] = (residual**2).mean(-1) / 2
        for name, gone in {"without_inactive": inactive, "without_small": small}.items():
            outcome[name] = np.abs((parts * gone[..., None, :]).sum(-1)).max(-1)
        cost = np.stack([self._cost(parts, residual, keys) for keys in self._keys(selective)], axis=1)
        return outcome | {"cost": cost}

    def _keys(self, selective: np.ndarray) -> list[list[np.ndarray]]:
        """What features are removed by, least first, for each of `_ORDERS`: inactive ones last; several draws if random."""
        # Of each seed its own, the same in all its networks; equal selectivities are put in order by chance, too.
        draws = [np.random.default_rng((k, 1)).random((_DRAWS, selective.shape[-1])) for k in range(selective.shape[1])]
        chance = [np.broadcast_to(draw, selective.shape) for draw in np.stack(draws, axis=1)]
        tied = selective + 1e-6 * chance[0]
        dead = np.isnan(selective)
        return [[np.where(dead, np.inf, key) for key in keys] for keys in ([-tied], chance, [tied])]

    def _cost(self, parts: np.ndarray, residual: np.ndarray, keys: list[np.ndarray]) -> np.ndarray:
        """Rise of the loss when the least `removed` shares of the live features by each key go, (settings, removed, seeds):
        a mean over keys."""
        found = []
        for key in keys:
            rank, alive = np.argsort(np.argsort(key, axis=-1), axis=-1), np.isfinite(key).sum(-1, keepdims=True)
            rises = []
            for share in self.removed:
                left = residual - (parts * (rank < np.round(share * alive))[..., None, :]).sum(-1)
                rises.append((left**2 - residual**2).mean(-1) / 2)
            found.append(np.stack(rises, axis=1))
        return np.asarray(np.mean(found, axis=0))
