"""A feature that one image excites: visited once an epoch, against gradients that arrive independently and as often.

Between arrivals Adam's running mean of squares v fades, and L2 pulls with 1 / sqrt(v). Independent arrivals leave gaps of
any length; from one epoch to the next a visit is at most two epochs away, so v cannot fade without end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.simulate.gradients import once_an_epoch, signed
from dynamics.theory import closed
from synthetic.labelled import column, labelled, spread_out

if TYPE_CHECKING:
    import xarray as xr

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
    weight that hardly moves (at `lr`). rest: strength / (1 - sqrt(beta2)) of the L2 against which a gradient w - 1 on
    arrival holds a weight from 1 (at `rest_lr`). Every lane's first gradient arrives at step 0; `settled` steps are not
    counted.
    """

    epochs: tuple[int, ...] = (20, 33, 50, 67, 99, 133, 200, 400)
    beta2: float = 0.99
    lr: float = 1e-6
    strength: float = 1e-3
    rest_lr: float = 1e-3
    rest: float = 0.2
    settled: int = 800
    steps: int = 8_800
    looks: int = 10
    seeds: int = 32
    weights: int = 4

    def run(self, threads: int = 1) -> xr.Dataset:
        """(arrivals, epoch, seed), means over weights and steps: `inverse_root`, v^-1/2; `look`, the same over one of `looks`
        equal parts of the steps (their geometric mean); `on_arrival`, v^-1/2 when a gradient has come; `pull` of L2 in multiples of
        lr x strength; `rest`, the weight over the second half of the steps. (arrivals, epoch): `predicted`, the closed form
        of inverse_root / on_arrival, and `rests`, that of `rest`; NaN where there is none."""
        each = [self._kind(kind) for kind in ARRIVALS]
        cell = ("arrivals", "epoch")
        predicted = [[self._predicted(kind, epoch) for epoch in self.epochs] for kind in ARRIVALS]
        rests = [[self._rests(kind, epoch) for epoch in self.epochs] for kind in ARRIVALS]
        return labelled(
            self,
            {name: ((*cell, "seed"), np.stack([found[name] for found in each])) for name in each[0]}
            | {"predicted": (cell, predicted), "rests": (cell, rests)},
            {"arrivals": list(ARRIVALS)},
            {"epoch": ("steps from one arrival to the next, on average", "steps")},
            critical=closed.critical_arrival(self.beta2),
            counted=self.steps - self.settled,
        )

    def _kind(self, kind: str) -> dict[str, np.ndarray]:
        """Each variable of one kind of arrivals, (epoch, seed)."""
        shape = (3, len(self.epochs), self.seeds, self.weights)
        epoch = column(self.epochs, 0, 3)
        when: dict[str, Any] = {"epoch": epoch} if kind == "once an epoch" else {"arrival": 1 / epoch}
        gradient = once_an_epoch if kind == "once an epoch" else signed
        when |= {"seed": column(range(self.seeds), 1, 3), "stream": range(self.weights), "beta2": self.beta2}
        v = spread_out(
            "adam", "none", gradient, shape[1:], record=range(self.settled, self.steps + 1), fields=("v",), lr=0.0,
            pull=0.0, target=0.0, push=0.0, size=1.0, **when,
        ).fields["v"]  # fmt: skip
        came = v[1:] > v[:-1]  # without a gradient v only fades
        root = 1 / np.sqrt(v[1:])
        looks = [part.mean(axis=0).mean(axis=-1) for part in np.array_split(root, self.looks)]
        # The pull, between weights without and with L2, and where a third is held.
        half, rest = self.steps // 2, self.rest * closed.critical_arrival(self.beta2)
        w = spread_out(
            "adam", "l2", gradient, shape, target=1.0, push=0.0,
            record=np.unique([self.settled, *np.linspace(half, self.steps, 100).astype(int)]),
            lr=column([self.lr, self.lr, self.rest_lr], 0, 4), strength=column([0.0, self.strength, rest], 0, 4),
            pull=column([0, 0, 1], 0, 4), size=column([1, 1, 0], 0, 4), **when,
        ).w  # fmt: skip
        behind = np.log(w[[0, -1], 0] / w[[0, -1], 1])
        pull = (behind[1] - behind[0]) / (self.steps - self.settled) / (self.lr * self.strength)
        return {
            "inverse_root": root.mean(axis=(0, -1)),
            "on_arrival": np.where(came, root, 0.0).sum(axis=(0, -1)) / came.sum(axis=(0, -1)),
            "look": np.exp(np.mean(np.log(looks), axis=0)),
            "pull": pull.mean(axis=-1),
            "rest": w[1:, 2].mean(axis=(0, -1)),
        }

    def _predicted(self, kind: str, epoch: int) -> float:
        if kind == "once an epoch":
            return epoch_ratio(epoch, self.beta2)
        above = 1 / epoch > closed.critical_arrival(self.beta2)
        return closed.inverse_root_ratio(1 / epoch, self.beta2) if above else math.nan

    def _rests(self, kind: str, epoch: int) -> float:
        """p h w*/(p h + strength R), R being `_predicted`: the pull counts R times as much as the gradient (B6)."""
        ratio = self._predicted(kind, epoch)
        return 1 / (1 + epoch * self.rest * closed.critical_arrival(self.beta2) * ratio)
