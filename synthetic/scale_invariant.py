"""d weights followed by a normalization: their size and how far they turn a step, once steps and regularizer balance.

The loss does not see |w|, so its gradient is orthogonal to w and of norm G/|w|: here in a random direction, since what is
learned is not the matter: normal numbers of the simulator's generator. The weights share their norm, so no lane is alone.
Section C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.labelled import labelled, normal, numbers_of, remembering
from synthetic.noise import COUPLINGS, lion_mean_square

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class ScaleInvariant:
    """slopes: the G of the gradient; all start at |w| = 1. beta2 is Adam's and RMSprop's (alpha)."""

    optimizers: tuple[str, ...] = ("sgd", "momentum", "rmsprop", "adam", "lion")
    lr: float = 0.01
    strength: float = 0.4
    slopes: tuple[float, ...] = (2.0, 20.0)
    dimensions: int = 50
    beta2: float = 0.99
    settled: int = 900
    steps: int = 1_100
    seeds: int = 32

    def run(self, threads: int = 1) -> xr.Dataset:
        """`norm` and `rotation` (radians a step): (optimizer, coupling, slope, seed), means over the steps from `settled`
        on; `predicted_norm`, `predicted_rotation`: (optimizer, coupling, slope), NaN where there is no closed form."""
        slope = np.asarray(self.slopes)[:, None]
        numbers = numbers_of(self.steps + 1, (self.seeds, self.dimensions))
        directions = np.stack([normal(z) for _, z in numbers])
        start = np.broadcast_to(directions[-1], (len(self.slopes), self.seeds, self.dimensions)).astype(np.float64)
        start /= np.linalg.norm(start, axis=-1, keepdims=True)

        lengths = np.einsum("tsd,tsd->ts", directions, directions)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            square, along = np.einsum("gsd,gsd->gs", w, w), np.einsum("sd,gsd->gs", directions[t], w)
            # By Pythagoras, the length of what is left of the direction off w.
            scale = slope / np.sqrt(square * lengths[t] - along * along)
            return np.asarray(scale[..., None] * directions[t] - (scale * along / square)[..., None] * w)

        shape = (len(self.optimizers), len(COUPLINGS), len(self.slopes), self.seeds)
        norm, rotation = np.empty(shape), np.empty(shape)
        predicted = np.full((2, *shape[:-1]), np.nan)
        for r, rule in enumerate(self.optimizers):
            hyper = remembering(rule, self.beta2)
            for c, coupling in enumerate(COUPLINGS):
                window = range(self.settled, self.steps + 1)
                path = simulate_together(
                    rule, coupling, gradient, start, record=window, lr=self.lr, strength=self.strength, **hyper
                ).w
                length = np.linalg.norm(path, axis=-1)
                cosine = np.einsum("t...d,t...d->t...", path[1:], path[:-1]) / (length[1:] * length[:-1])
                norm[r, c], rotation[r, c] = length.mean(axis=0), np.arccos(np.minimum(cosine, 1)).mean(axis=0)
                predicted[:, r, c] = np.transpose([self._predicted(rule, coupling, s) for s in self.slopes])
        axes = ("optimizer", "coupling", "slope")
        return labelled(
            self,
            {
                "norm": ((*axes, "seed"), norm),
                "rotation": ((*axes, "seed"), rotation),
                "predicted_norm": (axes, predicted[0]),
                "predicted_rotation": (axes, predicted[1]),
            },
            {"coupling": list(COUPLINGS)},
            {
                "norm": ("|w|",),
                "rotation": ("angle turned a step", "radians"),
                "slope": ("G, the gradient's norm times |w|",),
            },
        )

    def _predicted(self, rule: str, coupling: str, slope: float) -> tuple[float, float]:
        """Norm and rotation."""
        lr, strength, d = self.lr, self.strength, self.dimensions
        nothing = float("nan")
        if rule not in ScaleInvariant.optimizers:  # a rule of the user's own: nothing is claimed of it
            return nothing, nothing
        if rule == "sgd":
            return closed.scale_invariant_sgd_norm(lr, strength, slope), closed.sgd_rotation(lr, strength)
        if rule == "momentum":
            # To leading order SGD with the learning rate lr/(1-mu), which a decoupled share does not see.
            share = 1.0 if coupling == "l2" else 1 - 0.9
            return closed.scale_invariant_sgd_norm(lr / (1 - 0.9), strength * share, slope), nothing
        if rule == "lion":
            if coupling == "l2":
                return nothing, nothing
            return (d * lion_mean_square(lr, strength)) ** 0.5, nothing
        if coupling == "l2":
            return closed.scale_invariant_adam_l2_norm(lr, strength, slope, d), nothing
        beta1 = 0.9 if rule == "adam" else 0.0
        return closed.scale_invariant_adamw_norm(lr, strength, d), closed.adamw_rotation(lr, strength, beta1)
