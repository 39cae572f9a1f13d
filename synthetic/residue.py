"""Gradients of gamma and of beta that were of unequal size and stop: where Adam + L2 takes a = beta/abs(gamma). Section E."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.simulate.gradients import silent
from dynamics.theory import closed
from synthetic.labelled import labelled, spread_out

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Residue:
    """residues: roots of the v that the gradients of gamma and of beta have left, of mean 0. From gamma = 1, beta = -1.5."""

    residues: tuple[tuple[float, float], ...] = ((1.0, 0.2), (1.0, 0.5), (1.0, 0.8), (0.8, 1.0), (0.5, 1.0), (0.2, 1.0))
    lr: float = 2e-3
    strength: float = 5e-3
    beta2: float = 0.99
    steps: int = 500

    def run(self, threads: int = 1) -> xr.Dataset:
        """`revival`, a at the end / a when the gradient stopped, and `predicted`: (residue)."""
        roots = np.array(self.residues)
        w = spread_out(
            "adam", "l2", silent, roots.shape, record=[self.steps], start=[1.0, -1.5], lr=self.lr, strength=self.strength,
            state={"v": roots**2, "power1": 0.0, "power2": 0.0}, beta2=self.beta2,
        ).w[0]  # fmt: skip
        # Of 1, by gamma's residue and by beta's.
        left = [
            [closed.residual_path(1.0, self.lr, self.strength, s, self.beta2, self.steps) for s in pair]
            for pair in roots
        ]
        return labelled(
            self,
            {
                "revival": (("residue",), w[:, 1] / np.abs(w[:, 0]) / -1.5),
                "predicted": (("residue",), [float(by_beta / by_gamma) for by_gamma, by_beta in left]),
            },
            {"residue": [f"{g:g}, {b:g}" for g, b in self.residues]},
        )
