"""Regularizers under a learning-rate schedule: a weight without a gradient, and the size that weights keep under noise.

Constant, a tenth from half-way on, and a cosine to 0, over the same number of steps. Section F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.simulate.gradients import selective, silent
from dynamics.simulate.schedules import Schedule, constant, cosine, step_decay
from dynamics.theory import closed
from synthetic.labelled import column, labelled, spread_out
from synthetic.noise import COUPLINGS

if TYPE_CHECKING:
    import xarray as xr

SCHEDULES = ("constant", "step", "cosine")
SIZED = ("decoupled_lr", "corrected")


@dataclass(frozen=True)
class Scheduled:
    """Silent weights start at 1 with `silent_lr`, `silent_strength`; noisy ones at the equilibrium of `lr`, `strength`.

    beta2 is AdamW's, whose beta1 is 0 here, as in the recursion for its size.
    """

    optimizers: tuple[str, ...] = ("sgd", "momentum", "rmsprop", "adam", "amsgrad", "adamax", "lion")
    silent_lr: float = 1e-3
    silent_strength: float = 0.5
    silent_steps: int = 600
    lr: float = 0.1
    strength: float = 0.5
    beta2: float = 0.99
    steps: int = 800
    every: int = 8
    seeds: int = 8
    weights: int = 1_024
    averaged_steps: int = 200

    def run(self, threads: int = 1) -> xr.Dataset:
        """`silent`, w: (schedule, optimizer, coupling, silent_step), with `gone`, the sum of learning rates so far, and
        `decayed`, the closed form of decay: (schedule, silent_step). `mean_square`, of AdamW over weights: (schedule,
        sized, seed, step), with `followed`, its recursion: (schedule, sized, step), and `rates`, the learning rate:
        (schedule, step). `end`, `average`: (optimizer, seed), a weight under decay and what the mean of its updates says."""
        silent_step, step = np.arange(self.silent_steps + 1), np.arange(0, self.steps + 1, self.every)
        silent_w = np.empty((len(SCHEDULES), len(self.optimizers), len(COUPLINGS), len(silent_step)))
        size = np.empty((len(SCHEDULES), len(SIZED), self.seeds, len(step)))
        gone, decayed = np.zeros((2, len(SCHEDULES), len(silent_step)))
        rates, followed = np.empty((len(SCHEDULES), len(step))), np.empty((len(SCHEDULES), len(SIZED), len(step)))
        first = self.lr / (2 * self.strength)
        for s, schedule in enumerate(SCHEDULES):
            short, long = _schedule(schedule, self.silent_steps), _schedule(schedule, self.steps)
            silent_rates = self.silent_lr * short(silent_step[:-1])
            gone[s, 1:] = np.cumsum(silent_rates)
            decayed[s] = closed.scheduled_decay(1.0, silent_rates, self.silent_strength)
            for r, rule in enumerate(self.optimizers):
                silent_w[s, r] = spread_out(
                    rule, COUPLINGS, silent, (len(COUPLINGS),), record=silent_step, schedule=short, lr=self.silent_lr,
                    strength=self.silent_strength,
                ).w.T  # fmt: skip
            all_rates = self.lr * long(np.arange(self.steps + 1))
            rates[s] = all_rates[step]
            for c, coupling in enumerate(SIZED):
                followed[s, c] = closed.lagging_mean_square(
                    first, all_rates[:-1], self.strength, corrected=coupling == "corrected"
                )[step]
            # All start at the equilibrium's root mean square.
            path = spread_out(
                "adam", column(SIZED, 0, 3), selective, (len(SIZED), self.seeds, self.weights), record=step,
                schedule=long, start=np.sqrt(first), beta1=0.0, beta2=self.beta2, **self._noise(),
            ).w  # fmt: skip
            size[s] = np.moveaxis((path * path).mean(axis=-1), 0, -1)
        end, average = self._averages()
        return labelled(
            self,
            {
                "silent": (("schedule", "optimizer", "coupling", "silent_step"), silent_w),
                "gone": (("schedule", "silent_step"), gone),
                "decayed": (("schedule", "silent_step"), decayed),
                "mean_square": (("schedule", "sized", "seed", "step"), size),
                "followed": (("schedule", "sized", "step"), followed),
                "rates": (("schedule", "step"), rates),
                "end": (("optimizer", "seed"), end),
                "average": (("optimizer", "seed"), average),
            },
            {
                "schedule": list(SCHEDULES),
                "coupling": list(COUPLINGS),
                "silent_step": silent_step,
                "sized": list(SIZED),
                "step": step,
            },
            {"mean_square": ("E[w^2]",)},
        )

    def _noise(self) -> dict[str, Any]:
        """Gradients of mean 0 and variance 1 at every step, for lanes whose last two axes are seeds and weights."""
        seed = np.arange(self.seeds)[:, None]
        lanes = {"arrival": 1.0, "pull": 0.0, "target": 0.0, "sigma": 1.0, "lr": self.lr, "strength": self.strength}
        return {"seed": seed, "stream": range(self.weights), **lanes}

    def _averages(self) -> tuple[np.ndarray, np.ndarray]:
        """The updates of a rule do not read the weight: those without decay are those with it."""
        ends, averages = [], []
        for rule in self.optimizers:
            free, held = spread_out(
                rule, column(["none", "decoupled_lr"], 0, 3), selective, (2, self.seeds, 1),
                record=range(self.averaged_steps + 1), **self._noise() | {"stream": 0},
            ).w[..., 0].swapaxes(0, 1)  # fmt: skip
            updates = -np.diff(free, axis=0) / self.lr
            ends.append(held[-1])
            averages.append([closed.averaged_updates(1.0, u, self.lr, self.strength) for u in updates.T])
        return np.array(ends), np.array(averages)


def _schedule(name: str, steps: int) -> Schedule:
    return {"constant": constant(), "step": step_decay([steps // 2]), "cosine": cosine(steps)}[name]
