"""Where a selective weight comes to rest: L2 and weight decay against a loss that speaks with probability p = 1 - selectivity.

Four losses, each with a gradient on arrival and none otherwise: `restoring`, w - 1; `constant`, -1; `small`, the same
loss at a quarter of the scale; `noisy`, a mean of -pull under a noise of +1 or -1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.doors import BOTH, strengths

# (loss, coupling) of each column of lanes; `converted` is decay of the strength that B10 calls equal to L2's.
_COLUMNS = (
    *((loss, coupling) for loss in ("restoring", "constant", "small") for coupling in ("l2", "decoupled_lr")),
    *(("noisy", coupling) for coupling in ("l2", "converted")),
)
_SCALE = 0.25


@dataclass(frozen=True)
class Rest:
    """`times` the critical arrival 1 - sqrt(memory), memory being Adam's beta2 and RMSprop's alpha; Lion's beta2 is 0.99 too.

    restoring: strength / (1 - sqrt(memory)) against w - 1; strength: against the others; pull: the noisy loss' mean.
    rate: the share of the way to its rest that a weight goes in a step, by which the learning rate of each lane is chosen;
    four times as much in the first third of the steps. Weights start where the linear equation has them rest under L2, and
    count over the last third.
    """

    rules: tuple[str, ...] = ("sgd", "momentum", "adam", "rmsprop", "lion")
    times: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 10.0, 20.0, 40.0)
    memory: float = 0.99
    restoring: float = 0.2
    strength: float = 0.5
    pull: float = 0.2
    rate: float = 1e-3
    steps: int = 6_000
    seeds: int = 8
    lanes_a_seed: int = 4

    def run(self, threads: int = 1) -> xr.Dataset:
        """`rest`: (optimizer, loss, coupling, arrival, seed), the weight, a mean over lanes and the last third of the steps;
        `predicted`: (optimizer, loss, coupling, arrival), the closed form. NaN where there is none, or no such lane."""
        critical = closed.critical_arrival(self.memory)
        arrivals = np.array([k * critical for k in self.times])
        arrives, sign = self._gradients(arrivals)
        count = arrives.shape[1]
        third = self.steps // 3
        shape = (len(_COLUMNS), len(arrivals), self.seeds, self.lanes_a_seed)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            g = np.empty_like(w)
            g[:2], g[2:4], g[4:6], g[6:] = w[:2] - 1, -1.0, -_SCALE, sign[t] - self.pull
            g *= arrives[t]
            return g

        losses, couplings = (list(dict.fromkeys(names)) for names in zip(*_COLUMNS, strict=True))
        cells = (len(losses), len(couplings), len(arrivals))
        rest = np.full((len(self.rules), *cells, self.seeds), np.nan)
        predicted = np.full((len(self.rules), *cells), np.nan)
        each = self.seeds * self.lanes_a_seed
        start = np.array([[self._linear(loss, p) for p in arrivals] for loss, _ in _COLUMNS])
        for r, rule in enumerate(self.rules):
            strength = np.array([[self._strength(rule, *column, p) for p in arrivals] for column in _COLUMNS])
            rate = np.array(
                [
                    [self._lr(rule, *column, p, s) for p, s in zip(arrivals, row, strict=True)]
                    for column, row in zip(_COLUMNS, strength, strict=True)
                ]
            )
            doors = [
                strengths("l2" if coupling == "l2" else "decoupled_lr", np.repeat(row, each), (count,))
                for (_, coupling), row in zip(_COLUMNS, strength, strict=True)
            ]
            hyper: dict[str, Any] = {memory: self.memory} if (memory := RULES[rule].memory) else {}
            w = simulate_together(
                rule,
                BOTH,
                gradient,
                np.repeat(start, each, axis=1),
                record=np.linspace(2 * third, self.steps, 100).astype(int),
                lr=np.repeat(rate, each, axis=1),
                strength=np.stack(doors, axis=1),
                schedule=lambda t: np.where(t < third, 4.0, 1.0),
                **hyper,
            ).w
            means = w.mean(axis=0).reshape(shape).mean(axis=3)
            for k, (loss, coupling) in enumerate(_COLUMNS):
                place = (r, losses.index(loss), couplings.index(coupling))
                rest[place] = means[k]
                predicted[place] = [self._predicted(rule, loss, coupling, p) for p in arrivals]
        axes = ("optimizer", "loss", "coupling", "arrival")
        found = xr.Dataset(
            {"rest": ((*axes, "seed"), rest), "predicted": (axes, predicted)},
            {
                "optimizer": list(self.rules),
                "loss": losses,
                "coupling": couplings,
                "arrival": arrivals,
                "seed": range(self.seeds),
            },
        )
        found["arrival"].attrs = {"long_name": "probability that a gradient arrives, 1 - selectivity"}
        return found.assign_attrs(
            critical=critical,
            memory=self.memory,
            strength=self.strength,
            restoring=self.restoring,
            scale=_SCALE,
            steps=self.steps - 2 * third,
            lanes_a_seed=self.lanes_a_seed,
        )

    def _strength(self, rule: str, loss: str, coupling: str, arrival: float) -> float:
        if loss == "restoring":
            return self.restoring * closed.critical_arrival(self.memory)
        if coupling == "converted":
            # B10's conversion is written out, so that it can be seen to fail where it is not meant to hold.
            rms = math.sqrt(arrival * (1 + self.pull**2)) if RULES[rule].memory else 1.0
            return self.strength / rms / (1 - RULES[rule].defaults.get("momentum", 0.0))
        return self.strength

    def _linear(self, loss: str, arrival: float) -> float:
        """Where SGD with L2 rests (B6, B7)."""
        if loss == "restoring":
            return closed.l2_fixed_point(arrival, 1.0, 1.0, self._strength("sgd", loss, "l2", arrival))
        pull = {"constant": 1.0, "small": _SCALE, "noisy": self.pull}[loss]
        return closed.l2_under_constant_pull(arrival, pull, self.strength)

    def _lr(self, rule: str, loss: str, coupling: str, arrival: float, strength: float) -> float:
        """The learning rate at which a weight goes `rate` of the way to its rest in a step, to first order."""
        if rule == "lion":
            return self.rate / 10 if loss == "restoring" else self.rate / strength
        if coupling != "l2" and loss != "restoring":
            return self.rate / strength
        lr = self.rate * (1 - RULES[rule].defaults.get("momentum", 0.0))
        lr /= strength + (arrival if loss == "restoring" else 0.0)
        if not RULES[rule].memory:
            return lr
        # What the adaptive rules divide by: the root of p times the mean square on arrival, at rest strength / p.
        on_arrival = {"restoring": strength / arrival, "constant": 1.0, "small": _SCALE, "noisy": 1.0}[loss]
        return lr * math.sqrt(arrival) * on_arrival

    def _predicted(self, rule: str, loss: str, coupling: str, arrival: float) -> float:
        strength, momentum = self._strength(rule, loss, coupling, arrival), RULES[rule].defaults.get("momentum", 0.0)
        beta2 = self.memory if RULES[rule].memory else 0.0
        known = rule in Rest.rules  # of a rule of the user's own nothing is claimed
        if not known or loss == "noisy" or (rule == "lion" and (loss == "restoring" or coupling == "l2")):
            return math.nan
        try:
            if loss == "restoring" and coupling == "l2" and beta2:
                return closed.adam_l2_fixed_point(arrival, 1.0, 1.0, strength, beta2)
            if loss == "restoring":
                counts = strength if coupling == "l2" else strength * (1 - momentum)
                return math.nan if beta2 else closed.l2_fixed_point(arrival, 1.0, 1.0, counts)
            pull = 1.0 if loss == "constant" else _SCALE
            if coupling == "l2":
                return closed.l2_under_constant_pull(arrival, pull, strength, beta2)
            power = {"lion": 0.0, "adam": 0.5, "rmsprop": 0.5}.get(rule, 1.0)
            return closed.decay_under_constant_pull(arrival, pull, strength, power, momentum, self.memory)
        except InputError:  # outside the form's regime
            return math.nan

    def _gradients(self, arrivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether a gradient arrives, (steps, arrivals x seeds x lanes), and its noise. One number decides for all
        arrivals; the first arrives at step 0."""
        chance, sign = np.empty((2, self.steps, 1, self.seeds, self.lanes_a_seed))
        for seed in range(self.seeds):
            rng = np.random.default_rng(seed)
            chance[:, 0, seed] = rng.random((self.steps, self.lanes_a_seed))
            sign[:, 0, seed] = rng.choice([-1.0, 1.0], (self.steps, self.lanes_a_seed))
        arrives = chance < arrivals[:, None, None]
        arrives[0] = True
        return arrives.reshape(self.steps, -1), np.broadcast_to(sign, arrives.shape).reshape(self.steps, -1)
