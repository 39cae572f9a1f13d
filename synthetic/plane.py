"""The plane of a BatchNorm + ReLU feature's scale gamma and shift beta: where decay leads in it, and what noise does.

Below beta = -abs(gamma) x_max, x_max being the feature's largest normalized activation, no image excites it and no gradient
comes: the dead cone. Outside, the loss pulls the mean activation towards a teacher's; the law of xhat is normal there.
Beside the picture: paths without any gradient (E4), after gradients of unequal size (E5), to 1e-12 (E6), by noise alone (E10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynamics.simulate.together import simulate_together
from dynamics.theory import closed

# Rule and coupling of each update.
UPDATES = {"sgd": ("sgd", "l2"), "adamw": ("adam", "decoupled_lr"), "adam_l2": ("adam", "l2")}


@dataclass(frozen=True)
class Plane:
    """One learning rate and strength for all updates; adam's state is fresh at every start."""

    lr: float = 5e-3
    strength: float = 0.2
    largest: float = 2.5
    count: int = 16
    teacher: tuple[float, float] = (1.0, -0.5)
    starts: tuple[tuple[float, float], ...] = (
        (0.35, -1.6),
        (0.8, -2.6),
        (0.7, -1.5),
        (1.05, -2.1),
        (1.5, -1.1),
        (0.5, -0.1),
        (1.0, 0.6),
    )
    steps: int = 1_200
    records: int = 121
    gammas: tuple[float, float, int] = (0.05, 1.65, 15)
    betas: tuple[float, float, int] = (-3.2, 0.8, 15)
    look: int = 20
    # E4: without a gradient at all, from gamma = 1 and these beta/gamma.
    ratios: tuple[float, ...] = (-1.2, -1.5, -2.0)
    beta2s: tuple[float, ...] = (0.9, 0.999)
    death_lr: float = 1e-3
    # E5: roots of v of gamma and of beta when the gradient stops.
    residues: tuple[tuple[float, float], ...] = ((1.0, 0.2), (1.0, 0.5), (1.0, 0.8), (0.8, 1.0), (0.5, 1.0), (0.2, 1.0))
    residue_beta2: float = 0.99
    residue_steps: tuple[int, int] = (700, 500)
    # E6 and E10.
    shares: tuple[float, ...] = (0.02, 0.05, 0.1)
    sizes: tuple[float, ...] = (5.0, 10.0, 20.0)
    walk_steps: int = 400
    walks: int = 400
    seeds: int = 8

    def run(self, threads: int = 1) -> xr.Dataset:
        """`gamma`, `beta`: (update, start, step). `field_gamma`, `field_beta`: (update, y, x), movement a step, a mean over
        the first `look`. `drift`: (update, start), largest relative change of beta/gamma without a gradient.
        `death`, `death_predicted`: (beta2, ratio), steps to exact zero activation under Adam + L2. `revival`,
        `revival_predicted`: (residue), a at the end / a when the gradient stopped. `passage`: (share, target), steps.
        `collapsed`: (size, seed), share of walks that reach 0; `collapsed_predicted`: (size)."""
        steps = np.unique(np.linspace(0, self.steps, self.records).astype(int))
        x, y = np.linspace(*self.gammas), np.linspace(*self.betas)
        nodes = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        data: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        paths, fields, drifts = [], [], []
        for rule, coupling in UPDATES.values():
            lr, strength = self.lr, self.strength
            path = simulate_together(
                rule, coupling, self._gradient, self.starts, record=steps, lr=lr, strength=strength
            )
            field = simulate_together(
                rule, coupling, self._gradient, nodes, record=[self.look], lr=lr, strength=strength
            )
            silent = simulate_together(rule, coupling, _silent, self.starts, record=steps, lr=lr, strength=strength).w
            paths.append(path.w)
            fields.append(((field.w[0] - nodes) / self.look).reshape(len(y), len(x), 2))
            ratio = silent[..., 1] / silent[..., 0]
            drifts.append(np.abs(ratio / ratio[0] - 1).max(0))
        for k, name in enumerate(("gamma", "beta")):
            data[name] = (("update", "start", "step"), np.stack(paths)[..., k].swapaxes(1, 2))
            data[f"field_{name}"] = (("update", "y", "x"), np.stack(fields)[..., k])
        data["drift"] = (("update", "start"), np.stack(drifts))
        data |= self._death() | self._revival() | self._passage() | self._collapse()
        coords = {
            "update": list(UPDATES),
            "start": [f"({g:g}, {b:g})" for g, b in self.starts],
            "step": steps,
            "x": x,
            "y": y,
            "beta2": list(self.beta2s),
            "ratio": list(self.ratios),
            "residue": [f"{g:g}, {b:g}" for g, b in self.residues],
            "share": list(self.shares),
            "target": [1e-3, 1e-12],
            "size": list(self.sizes),
            "seed": range(self.seeds),
        }
        dataset = xr.Dataset(data, coords)
        dataset["x"].attrs, dataset["y"].attrs = {"long_name": "gamma"}, {"long_name": "beta"}
        dataset.attrs = {
            "lr": self.lr,
            "strength": self.strength,
            "largest": self.largest,
            "bound": closed.normalized_bound(self.count),
            "count": self.count,
            "look": self.look,
            "walks": self.walks,
        }
        return dataset

    def _gradient(self, w: np.ndarray, t: int) -> np.ndarray:
        """Of (E[y] - the teacher's)^2 / 2 at w (..., 2) = (gamma, beta); 0 in the dead cone."""
        gamma, beta = w[..., 0], w[..., 1]
        residual = closed.mean_activation(gamma, beta) - closed.mean_activation(*self.teacher)
        slopes = np.stack(closed.activation_slopes(gamma, beta), axis=-1)
        return np.where((beta <= -np.abs(gamma) * self.largest)[..., None], 0.0, residual[..., None] * slopes)

    def _death(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        start = np.stack(np.broadcast_arrays(1.0, np.array(self.ratios)), axis=-1)
        found, predicted = (np.full((len(self.beta2s), len(self.ratios)), np.nan) for _ in range(2))
        record = np.arange(3 * int(self.largest / self.death_lr / (self.largest - 1)))
        w = simulate_together(
            "adam",
            "l2",
            _silent,
            np.broadcast_to(start, (len(self.beta2s), *start.shape)),
            record=record,
            lr=self.death_lr,
            strength=self.strength,
            beta2=np.array(self.beta2s)[:, None, None],
        ).w
        zero = w[..., 1] <= -np.abs(w[..., 0]) * self.largest
        # Not reached: the whole run, a lower bound.
        found[:] = np.where(zero.any(0), zero.argmax(0), len(record))
        for k, beta2 in enumerate(self.beta2s):
            if -self.death_lr / np.log(beta2) <= 0.01:
                predicted[k] = [closed.death_steps(1.0, r, self.death_lr, self.largest, beta2) for r in self.ratios]
        axes = ("beta2", "ratio")
        return {"death": (axes, found), "death_predicted": (axes, predicted)}

    def _revival(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        before, after = self.residue_steps
        roots = np.array(self.residues)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            # Signs that alternate fill v and leave the mean at about 0.
            return roots * ((-1.0) ** t if t < before else 0.0)

        lr, strength, memory = 2e-3, 5e-3, self.residue_beta2
        start = np.broadcast_to([1.0, -1.5], roots.shape)
        record = [before, before + after]
        w = simulate_together("adam", "l2", gradient, start, record=record, lr=lr, strength=strength, beta2=memory).w
        a = w[..., 1] / np.abs(w[..., 0])
        left = [[float(closed.residual_path(1.0, lr, strength, s, memory, after)) for s in pair] for pair in roots]
        return {
            "revival": (("residue",), a[1] / a[0]),
            "revival_predicted": (("residue",), np.array([by_beta / by_gamma for by_gamma, by_beta in left])),
        }

    def _passage(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        record = np.arange(int(1.05 * np.log(1e12) / min(self.shares)))
        shares = np.array(self.shares)
        w = simulate_together(
            "adam", "decoupled_lr", _silent, np.ones(shares.shape), record=record, lr=0.1, strength=10 * shares
        ).w
        taken = np.stack([(w <= target).argmax(0) for target in (1e-3, 1e-12)], axis=-1)
        return {"passage": (("share", "target"), taken.astype(float))}

    def _collapse(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        draws = [np.random.default_rng(seed).normal(size=(self.walk_steps, self.walks)) for seed in range(self.seeds)]
        noise = np.stack(draws, axis=1)
        start = np.broadcast_to(np.array(self.sizes)[:, None, None], (len(self.sizes), self.seeds, self.walks))
        hit = np.zeros(start.shape, dtype=bool)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            np.logical_or(hit, w <= 0, out=hit)
            return np.broadcast_to(noise[t], w.shape)

        last = simulate_together("sgd", "none", gradient, start, record=[self.walk_steps], lr=1.0).w[0]
        predicted = [closed.collapse(size, 1.0, 1.0, self.walk_steps) for size in self.sizes]
        return {
            "collapsed": (("size", "seed"), (hit | (last <= 0)).mean(-1)),
            "collapsed_predicted": (("size",), np.array(predicted)),
        }


def _silent(w: np.ndarray, t: int) -> np.ndarray:
    return np.zeros_like(w)
