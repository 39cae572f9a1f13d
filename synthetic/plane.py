"""The plane of a BatchNorm + ReLU feature's scale gamma and shift beta: where decay leads in it.

Below beta = -abs(gamma) x_max, x_max being the feature's largest normalized activation, no image excites it and no gradient
comes: the dead cone. Outside, the loss pulls the mean activation towards a teacher's; the law of xhat is normal there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.labelled import labelled

if TYPE_CHECKING:
    import xarray as xr

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

    def run(self, threads: int = 1) -> xr.Dataset:
        """`gamma`, `beta`: (update, start, step). `field_gamma`, `field_beta`: (update, y, x), movement a step, a mean over
        the first `look`."""
        steps = np.unique(np.linspace(0, self.steps, self.records).astype(int))
        x, y = np.linspace(*self.gammas), np.linspace(*self.betas)
        nodes = np.stack(np.meshgrid(x, y), axis=-1)
        how: dict[str, Any] = {"lr": self.lr, "strength": self.strength}
        paths = np.stack(
            [simulate_together(*u, self._gradient, self.starts, record=steps, **how).w for u in UPDATES.values()]
        )
        ends = np.stack(
            [simulate_together(*u, self._gradient, nodes, record=[self.look], **how).w[0] for u in UPDATES.values()]
        )
        field = (ends - nodes) / self.look
        return labelled(
            self,
            {
                "gamma": (("update", "start", "step"), paths[..., 0].swapaxes(1, 2)),
                "beta": (("update", "start", "step"), paths[..., 1].swapaxes(1, 2)),
                "field_gamma": (("update", "y", "x"), field[..., 0]),
                "field_beta": (("update", "y", "x"), field[..., 1]),
            },
            {
                "update": list(UPDATES),
                "start": [f"({g:g}, {b:g})" for g, b in self.starts],
                "step": steps,
                "x": x,
                "y": y,
            },
            {"x": ("gamma",), "y": ("beta",)},
            bound=closed.normalized_bound(self.count),
        )

    def _gradient(self, w: np.ndarray, t: int) -> np.ndarray:
        """Of (E[y] - the teacher's)^2 / 2 at w (..., 2) = (gamma, beta); 0 in the dead cone."""
        gamma, beta = w[..., 0], w[..., 1]
        residual = closed.mean_activation(gamma, beta) - closed.mean_activation(*self.teacher)
        slopes = np.stack(closed.activation_slopes(gamma, beta), axis=-1)
        return np.where((beta <= -np.abs(gamma) * self.largest)[..., None], 0.0, residual[..., None] * slopes)
