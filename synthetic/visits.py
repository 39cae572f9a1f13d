"""A feature that one image excites: visited once an epoch, against gradients that arrive independently and as often.

Between arrivals Adam's running mean of squares v fades, and L2 pulls with 1 / sqrt(v). Independent arrivals leave gaps of
any length; from one epoch to the next a visit is at most two epochs away, so v cannot fade without end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynamics.simulate.together import simulate_together
from dynamics.theory import closed

ARRIVALS = ("independent", "once an epoch")


def epoch_ratio(epoch: int, beta2: float) -> float:
    """E[v^-1/2] over its mean on arrival where a gradient arrives once an epoch, at a random one of its `epoch` steps.

    With r = beta2^(-1/2) and F = (r^E - 1)(1 - r^-E) / (E^2 (r - 1)(1 - 1/r)), the mean of r^(difference of two places):
    (r^E F - 1) / (E (r - 1)); about ((e^x - 1)^2/x^2 - 1)/x, x = E/(2 tau). Finite for every epoch, growing as
    e^(E/tau). Approximate: a gap is taken to be independent of the v that it begins with; eps = 0. Source: derived here.
    """
    r = 1 / math.sqrt(beta2)
    places = (r**epoch - 1) * (1 - r**-epoch) / (epoch**2 * (r - 1) * (1 - 1 / r))
    return (r**epoch * places - 1) / (epoch * (r - 1))


@dataclass(frozen=True)
class Visits:
    """Adam, gradients of +1 or -1 with probability 1 / epoch a step; an epoch of `epochs` steps.

    beta2: RMSprop's alpha; with Adam's 0.999 all epochs are ten times as long. strength: of the pull that is measured on a
    weight that hardly moves (lr `slow`). rest: strength / (1 - sqrt(beta2)) of the L2 against which a gradient w - 1 on
    arrival holds a weight from 1 (lr `fast`). Every lane's first gradient arrives at step 0; `settled` steps are not counted.
    """

    epochs: tuple[int, ...] = (20, 33, 50, 67, 99, 133, 200, 400)
    beta2: float = 0.99
    slow: float = 1e-6
    strength: float = 1e-3
    fast: float = 1e-3
    rest: float = 0.2
    settled: int = 800
    steps: int = 8_800
    looks: int = 10
    seeds: int = 8
    lanes_a_seed: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """(arrivals, epoch, seed), means over lanes and steps: `inverse_root`, v^-1/2; `look`, the same over one of `looks`
        equal parts of the steps (their geometric mean); `on_arrival`, v^-1/2 when a gradient has come; `pull` of L2 in multiples of
        lr x strength; `rest`, the weight over the second half of the steps. (arrivals, epoch): `predicted`, the closed form
        of inverse_root / on_arrival, and `rests`, that of `rest`; NaN where there is none."""
        arrives, noise = self._gradients()
        shape = (len(ARRIVALS), len(self.epochs), self.seeds, self.lanes_a_seed)
        count = arrives.shape[1]

        def noisy(w: np.ndarray, t: int) -> np.ndarray:
            g: np.ndarray = noise[t]
            return g

        v = simulate_together(
            "adam", "none", noisy, np.ones(count), record=range(self.settled + 1, self.steps + 1), lr=0.0, beta2=self.beta2,
            fields=("v",),
        ).fields["v"]  # fmt: skip
        root = np.power(v, -0.5, out=v)
        came = arrives[self.settled :]
        found = {
            "inverse_root": root.mean(axis=0),
            "on_arrival": np.where(came, root, 0.0).sum(axis=0),
        }
        data = {name: values.reshape(shape).mean(axis=3) for name, values in found.items()}
        data["on_arrival"] /= came.sum(axis=0).reshape(shape).mean(axis=3)
        looks = [part.mean(axis=0).reshape(shape).mean(axis=3) for part in np.array_split(root, self.looks)]
        data["look"] = np.exp(np.mean(np.log(looks), axis=0))
        data |= self._weights(arrives, noise, shape)
        predicted = [[self._predicted(kind, epoch) for epoch in self.epochs] for kind in ARRIVALS]
        rests = [[self._rests(kind, epoch) for epoch in self.epochs] for kind in ARRIVALS]
        cell = ("arrivals", "epoch")
        dataset = xr.Dataset(
            {name: ((*cell, "seed"), values) for name, values in data.items()}
            | {"predicted": (cell, predicted), "rests": (cell, rests)},
            {"arrivals": list(ARRIVALS), "epoch": list(self.epochs), "seed": range(self.seeds)},
        )
        dataset["epoch"].attrs = {"units": "steps", "long_name": "steps from one arrival to the next, on average"}
        return dataset.assign_attrs(
            beta2=self.beta2,
            critical=closed.critical_arrival(self.beta2),
            rest=self.rest,
            looks=self.looks,
            steps=self.steps - self.settled,
            lanes_a_seed=self.lanes_a_seed,
        )

    def _weights(self, arrives: np.ndarray, noise: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """The pull, between weights without and with L2, and where a third is held."""
        critical = closed.critical_arrival(self.beta2)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            g = np.empty_like(w)
            g[:2] = noise[t]
            g[2] = arrives[t] * (w[2] - 1)
            return g

        half = self.steps // 2
        record = np.unique([self.settled, *np.linspace(half, self.steps, 100).astype(int)])
        w = simulate_together(
            "adam", "l2", gradient, np.ones((3, arrives.shape[1])), record=record, beta2=self.beta2,
            lr=np.array([self.slow, self.slow, self.fast])[:, None],
            strength=np.array([0.0, self.strength, self.rest * critical])[:, None],
        ).w  # fmt: skip
        behind = np.log(w[[0, -1], 0] / w[[0, -1], 1])
        pull = (behind[1] - behind[0]) / (self.steps - self.settled) / (self.slow * self.strength)
        found = {"pull": pull, "rest": w[1:, 2].mean(axis=0)}
        return {name: values.reshape(shape).mean(axis=3) for name, values in found.items()}

    def _predicted(self, kind: str, epoch: int) -> float:
        if kind == "once an epoch":
            return epoch_ratio(epoch, self.beta2)
        above = 1 / epoch > closed.critical_arrival(self.beta2)
        return closed.inverse_root_ratio(1 / epoch, self.beta2) if above else math.nan

    def _rests(self, kind: str, epoch: int) -> float:
        """p h w*/(p h + strength R), R being `_predicted`: the pull counts R times as much as the gradient (B6)."""
        ratio = self._predicted(kind, epoch)
        return 1 / (1 + epoch * self.rest * closed.critical_arrival(self.beta2) * ratio)

    def _gradients(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether a gradient arrives, (steps, lanes), and what it is; lanes: arrivals x epochs x seeds x lanes."""
        cells = (len(ARRIVALS), len(self.epochs), self.seeds)
        arrives = np.zeros((self.steps, *cells, self.lanes_a_seed), dtype=bool)
        sign = np.empty((self.steps, 1, 1, self.seeds, self.lanes_a_seed))
        lane = np.arange(self.lanes_a_seed)
        for seed in range(self.seeds):
            rng = np.random.default_rng(seed)
            sign[:, 0, 0, seed] = rng.choice([-1.0, 1.0], (self.steps, self.lanes_a_seed))
            chance = rng.random((self.steps, self.lanes_a_seed))
            for e, epoch in enumerate(self.epochs):
                arrives[:, 0, e, seed] = chance < 1 / epoch
                starts = np.arange(0, self.steps, epoch)[:, None]
                visits = starts + rng.integers(0, epoch, (len(starts), self.lanes_a_seed))
                visits[0] = 0
                inside = visits < self.steps
                arrives[visits[inside], 1, e, seed, np.broadcast_to(lane, visits.shape)[inside]] = True
        arrives[0] = True
        return arrives.reshape(self.steps, -1), (arrives * sign).reshape(self.steps, -1)
