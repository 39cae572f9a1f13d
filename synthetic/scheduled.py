"""Regularizers under a learning-rate schedule: a weight without a gradient, and the size that weights keep under noise.

Constant, a tenth from half-way on, and a cosine to 0, over the same number of steps. Section F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynamics.simulate.schedules import Schedule, constant, cosine, step_decay
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.noise import COUPLINGS

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
        silent = np.empty((len(SCHEDULES), len(self.optimizers), len(COUPLINGS), len(silent_step)))
        size = np.empty((len(SCHEDULES), len(SIZED), self.seeds, len(step)))
        gone, decayed = np.zeros((2, len(SCHEDULES), len(silent_step)))
        rates, followed = np.empty((len(SCHEDULES), len(step))), np.empty((len(SCHEDULES), len(SIZED), len(step)))
        noise, start = self._noise()
        for s, schedule in enumerate(SCHEDULES):
            short, long = _schedule(schedule, self.silent_steps), _schedule(schedule, self.steps)
            silent_rates = self.silent_lr * short(silent_step[:-1])
            gone[s, 1:] = np.cumsum(silent_rates)
            decayed[s] = closed.scheduled_decay(1.0, silent_rates, self.silent_strength)
            for r, rule in enumerate(self.optimizers):
                for c, coupling in enumerate(COUPLINGS):
                    silent[s, r, c] = simulate_together(
                        rule,
                        coupling,
                        lambda w, t: 0.0 * w,
                        1.0,
                        record=silent_step,
                        lr=self.silent_lr,
                        strength=self.silent_strength,
                        schedule=short,
                    ).w
            all_rates = self.lr * long(np.arange(self.steps + 1))
            rates[s] = all_rates[step]
            for c, coupling in enumerate(SIZED):
                first = self.lr / (2 * self.strength)
                followed[s, c] = closed.lagging_mean_square(
                    first, all_rates[:-1], self.strength, corrected=coupling == "corrected"
                )[step]
                path = simulate_together(
                    "adam",
                    coupling,
                    lambda w, t: noise[t],
                    start,
                    record=step,
                    lr=self.lr,
                    strength=self.strength,
                    schedule=long,
                    beta1=0.0,
                    beta2=self.beta2,
                ).w
                size[s, c] = (path * path).mean(axis=-1).T
        end, average = self._averages(noise[: self.averaged_steps, :, 0])
        dataset = xr.Dataset(
            {
                "silent": (("schedule", "optimizer", "coupling", "silent_step"), silent),
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
                "optimizer": list(self.optimizers),
                "coupling": list(COUPLINGS),
                "silent_step": silent_step,
                "sized": list(SIZED),
                "seed": range(self.seeds),
                "step": step,
            },
        )
        dataset["mean_square"].attrs = {"long_name": "E[w^2]"}
        dataset.attrs = {
            name: getattr(self, name)
            for name in ("silent_lr", "silent_strength", "lr", "strength", "beta2", "steps", "weights")
        }
        return dataset

    def _noise(self) -> tuple[np.ndarray, np.ndarray]:
        """(steps, seeds, weights) of unit variance, and starts of the equilibrium's mean square."""
        draws = [np.random.default_rng(s).standard_normal((self.steps + 1, self.weights)) for s in range(self.seeds)]
        both = np.stack(draws, axis=1)
        first = both[-1] / np.sqrt((both[-1] ** 2).mean(axis=-1, keepdims=True))
        return both[:-1], first * np.sqrt(self.lr / (2 * self.strength))

    def _averages(self, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """g: (steps, seeds). The updates of a rule do not read the weight: those without decay are those with it."""
        steps = len(g)
        ends, averages = [], []
        for rule in self.optimizers:
            shared: dict[str, Any] = {"record": range(steps + 1), "lr": self.lr, "strength": self.strength}
            free, held = (
                simulate_together(rule, coupling, lambda w, t: g[t], np.ones(g.shape[1]), **shared).w
                for coupling in ("none", "decoupled_lr")
            )
            updates = -np.diff(free, axis=0) / self.lr
            ends.append(held[-1])
            averages.append([closed.averaged_updates(1.0, u, self.lr, self.strength) for u in updates.T])
        return np.array(ends), np.array(averages)


def _schedule(name: str, steps: int) -> Schedule:
    return {"constant": constant(), "step": step_decay([steps // 2]), "cosine": cosine(steps)}[name]
