"""A weight whose gradient has fallen silent: L2 against weight decay, for every rule.

L2 enters the adaptive update, which rescales whatever gradient it sees to about the learning rate: a weight without
a gradient is pulled at nearly full speed, whatever the strength. Weight decay stays proportional to the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamics.answers.decay_time import decay_time
from dynamics.answers.setting import Setting
from dynamics.couplings import COUPLINGS
from dynamics.rules import RULES
from dynamics.simulate.gradients import silent
from dynamics.theory import closed
from synthetic.labelled import column, labelled, memory_of, spread_out

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Silence:
    """The rules at one learning rate from w = 1, fresh, step by step for `steps` steps; closed forms go on to `horizon`."""

    optimizers: tuple[str, ...] = ("sgd", "momentum", "nesterov", "adam", "rmsprop")
    lr: float = 1e-3
    strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    couplings: tuple[str, ...] = ("l2", "decoupled_lr")
    steps: int = 5_000
    horizon: int = 1_000_000
    records: int = 240
    target: float = 1e-3

    def run(self, threads: int = 1) -> xr.Dataset:
        """w, NaN after `steps`, and its closed form where there is one: (optimizer, coupling, strength, step); `passage`
        is the number of steps to `target`: (optimizer, coupling, strength), NaN where it was not reached."""
        times = np.unique(
            np.concatenate([[0, self.steps], np.geomspace(1, self.horizon, self.records).astype(np.int64)])
        )
        stepped = times[times <= self.steps]
        shape = (len(self.couplings), len(self.strengths))
        w, exact = np.full((2, len(self.optimizers), *shape, len(times)), np.nan)
        passages = np.full((len(self.optimizers), *shape), np.nan)
        for r, rule in enumerate(RULES[name] for name in self.optimizers):
            path = spread_out(
                rule, column(self.couplings, 0, 2), silent, shape, record=stepped, lr=self.lr, strength=self.strengths
            )
            w[r, ..., : len(stepped)] = np.moveaxis(path.w, 0, -1)
            for c, coupling in enumerate(self.couplings):
                for s, strength in enumerate(self.strengths):
                    exact[r, c, s] = self._closed(rule.name, coupling, strength, times)
                    setting = Setting(rule, COUPLINGS[coupling], self.lr, strength, rule.defaults)
                    taken = decay_time(setting, 1.0, self.target).steps
                    passages[r, c, s] = np.nan if taken is None else taken
        cell = ("optimizer", "coupling", "strength")
        return labelled(
            self,
            {"w": ((*cell, "step"), w), "closed": ((*cell, "step"), exact), "passage": (cell, passages)},
            {"step": times},
            {"passage": (f"steps from 1 to {self.target:g} without a gradient", "steps")},
        )

    def _closed(self, rule: str, coupling: str, strength: float, steps: np.ndarray) -> np.ndarray:
        if coupling == "decoupled_lr" or rule == "sgd":
            return closed.geometric(1.0, self.lr * strength, steps)
        if rule in ("momentum", "nesterov"):
            return closed.momentum_path(
                1.0, self.lr * strength, RULES[rule].defaults["momentum"], steps, rule == "nesterov"
            )
        if rule not in ("adam", "rmsprop"):
            return np.full(len(steps), np.nan)
        # The scaled time at which each size is passed, read the other way round.
        memory = RULES[rule].defaults[memory_of(rule)]
        sizes = np.geomspace(0.999, 1e-6, 400)
        times = closed.silent_time(-self.lr / np.log(memory), sizes, corrected=rule == "adam") / self.lr
        return np.asarray(np.exp(np.interp(steps, np.append(0, times), np.append(0, np.log(sizes)), right=np.nan)))
