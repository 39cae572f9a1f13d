"""A weight on the loss (w - w*)^2 / 2 with a regularizer and without noise: where it comes to rest. Section D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.simulate.gradients import quadratic
from dynamics.theory import closed
from synthetic.labelled import column, labelled, remembering, spread_out
from synthetic.noise import COUPLINGS

if TYPE_CHECKING:
    import xarray as xr

# Rules whose denominator follows the gradient up and down: their steps of a steady gradient are lr.
CLIPPED = ("adam", "rmsprop", "adamax", "lion")
MOMENTUM = 0.9


@dataclass(frozen=True)
class Quadratic:
    """From 0 to `targets`. beta2 is that of Adam, AMSGrad and Adamax and RMSprop's alpha."""

    optimizers: tuple[str, ...] = ("sgd", "momentum", "rmsprop", "adam", "amsgrad", "adamax", "lion")
    lr: float = 0.006
    strengths: tuple[float, ...] = (0.5, 1.0)
    targets: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
    beta2: float = 0.99
    steps: int = 2_000

    def run(self, threads: int = 1) -> xr.Dataset:
        """`rest`, the mean of the last tenth of the path, and `predicted`, its closed form, NaN without one: (optimizer,
        coupling, strength, target)."""
        shape = (len(COUPLINGS), len(self.strengths), len(self.targets))
        rest, predicted = np.empty((2, len(self.optimizers), *shape))
        for r, rule in enumerate(self.optimizers):
            path = spread_out(
                rule, column(COUPLINGS, 0, 3), quadratic, shape, start=0.0,
                record=range(self.steps, self.steps - max(1, self.steps // 10), -10)[::-1],
                fields=("w", "vmax") if rule == "amsgrad" else ("w",), lr=self.lr,
                strength=column(self.strengths, 1, 3), target=self.targets, **remembering(rule, self.beta2),
            )  # fmt: skip
            rest[r] = path.w.mean(axis=0)
            largest = path.fields["vmax"][-1] if rule == "amsgrad" else np.zeros(shape)
            for c, s, k in np.ndindex(shape):
                of = (self.targets[k], self.strengths[s], float(largest[c, s, k]) ** 0.5)
                predicted[r, c, s, k] = _rest(rule, COUPLINGS[c], *of)
        axes = ("optimizer", "coupling", "strength", "target")
        return labelled(
            self,
            {"rest": (axes, rest), "predicted": (axes, predicted)},
            {"coupling": list(COUPLINGS)},
            {"rest": ("weight at rest",), "target": ("minimum of the loss, w*",)},
        )


def _rest(rule: str, coupling: str, target: float, strength: float, root: float) -> float:
    """root: that of AMSGrad's largest square."""
    if rule not in Quadratic.optimizers:  # a rule of the user's own: nothing is claimed of it
        return float("nan")
    if coupling == "l2":
        return closed.l2_minimum(1.0, target, strength)
    if rule in CLIPPED:
        return float(closed.clipped_fixed_point(target, strength))
    if rule == "amsgrad":
        return closed.l2_minimum(1.0, target, strength * root)
    return closed.decay_fixed_point(1.0, target, strength, MOMENTUM if rule == "momentum" else 0.0)
