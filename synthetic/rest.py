"""Where a selective weight comes to rest: L2 and weight decay against a loss that speaks with probability p = 1 - selectivity.

Four losses, each with a gradient on arrival and none otherwise: `restoring`, w - 1; `constant`, -1; `small`, the same
loss at a quarter of the scale; `noisy`, a mean of -pull under a noise of +1 or -1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate.gradients import signed
from dynamics.theory import closed
from synthetic.labelled import column, labelled, memory_of, remembering, spread_out

if TYPE_CHECKING:
    import xarray as xr

# (loss, coupling) of each column of lanes; `converted` is decay of the strength that B10 calls equal to L2's.
_COLUMNS = (
    *((loss, coupling) for loss in ("restoring", "constant", "small") for coupling in ("l2", "decoupled_lr")),
    *(("noisy", coupling) for coupling in ("l2", "converted")),
)
_SCALE = 0.25


@dataclass(frozen=True)
class Rest:
    """`times` the critical arrival 1 - sqrt(beta2), beta2 being RMSprop's alpha, too; Lion's beta2 is 0.99 by itself.

    restoring: strength / (1 - sqrt(beta2)) against w - 1; strength: against the others; pull: the noisy loss' mean.
    rate: the share of the way to its rest that a weight goes in a step, by which the learning rate of each lane is chosen;
    four times as much in the first third of the steps. Weights start where the linear equation has them rest under L2, and
    count over the last third.
    """

    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam", "rmsprop", "lion")
    times: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 10.0, 20.0, 40.0)
    beta2: float = 0.99
    restoring: float = 0.2
    strength: float = 0.5
    pull: float = 0.2
    rate: float = 1e-3
    steps: int = 6_000
    seeds: int = 32
    weights: int = 4

    def run(self, threads: int = 1) -> xr.Dataset:
        """`rest`: (optimizer, loss, coupling, arrival, seed), the weight, a mean over weights and the last third of the steps;
        `predicted`: (optimizer, loss, coupling, arrival), the closed form. NaN where there is none, or no such lane."""
        critical = closed.critical_arrival(self.beta2)
        arrivals = np.array([k * critical for k in self.times])
        shape, third = (len(_COLUMNS), len(arrivals), self.seeds, self.weights), self.steps // 3
        losses, couplings = (list(dict.fromkeys(names)) for names in zip(*_COLUMNS, strict=True))
        cells = (len(self.optimizers), len(losses), len(couplings), len(arrivals))
        rest, predicted = np.full((*cells, self.seeds), np.nan), np.full(cells, np.nan)
        # One number decides for all arrivals.
        gradient: dict[str, Any] = {"arrival": column(arrivals, 1, 4), "target": 1.0} | {
            name: column([of.get(loss, 0.0) for loss, _ in _COLUMNS], 0, 4)
            for name, of in {
                "pull": {"restoring": 1.0},
                "push": {"constant": 1.0, "small": _SCALE, "noisy": self.pull},
                "size": {"noisy": 1.0},
            }.items()
        }
        for r, rule in enumerate(self.optimizers):
            strength, lr, start = np.empty((3, *shape[:2], 1, 1))
            for k, (loss, coupling) in enumerate(_COLUMNS):
                for a, p in enumerate(arrivals):
                    strength[k, a] = self._strength(rule, loss, coupling, p)
                    lr[k, a] = self._lr(rule, loss, coupling, p, float(strength[k, a, 0, 0]))
                    start[k, a] = self._linear(loss, p)
            w = spread_out(
                rule, column([c.replace("converted", "decoupled_lr") for _, c in _COLUMNS], 0, 4), signed, shape,
                record=np.linspace(2 * third, self.steps, 100).astype(int),
                start=start, seed=column(range(self.seeds), 2, 4), stream=range(self.weights),
                schedule=lambda t: np.where(t < third, 4.0, 1.0),
                lr=lr, strength=strength, **gradient, **remembering(rule, self.beta2),
            ).w  # fmt: skip
            means = w.mean(axis=(0, -1))
            for k, (loss, coupling) in enumerate(_COLUMNS):
                place = (r, losses.index(loss), couplings.index(coupling))
                rest[place] = means[k]
                predicted[place] = [self._predicted(rule, loss, coupling, p) for p in arrivals]
        axes = ("optimizer", "loss", "coupling", "arrival")
        return labelled(
            self,
            {"rest": ((*axes, "seed"), rest), "predicted": (axes, predicted)},
            {"loss": losses, "coupling": couplings, "arrival": arrivals},
            {"arrival": ("probability that a gradient arrives, 1 - selectivity",)},
            critical=critical,
            scale=_SCALE,
            counted=self.steps - 2 * third,
        )

    def _strength(self, rule: str, loss: str, coupling: str, arrival: float) -> float:
        if loss == "restoring":
            return self.restoring * closed.critical_arrival(self.beta2)
        if coupling == "converted":
            # B10's conversion is written out, so that it can be seen to fail where it is not meant to hold.
            rms = math.sqrt(arrival * (1 + self.pull**2)) if memory_of(rule) else 1.0
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
        if not memory_of(rule):
            return lr
        # What the adaptive rules divide by: the root of p times the mean square on arrival, at rest strength / p.
        on_arrival = {"restoring": strength / arrival, "constant": 1.0, "small": _SCALE, "noisy": 1.0}[loss]
        return lr * math.sqrt(arrival) * on_arrival

    def _predicted(self, rule: str, loss: str, coupling: str, arrival: float) -> float:
        strength, momentum = self._strength(rule, loss, coupling, arrival), RULES[rule].defaults.get("momentum", 0.0)
        beta2 = self.beta2 if memory_of(rule) else 0.0
        known = rule in Rest.optimizers  # of a rule of the user's own nothing is claimed
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
            return closed.decay_under_constant_pull(arrival, pull, strength, power, momentum, self.beta2)
        except InputError:  # outside the form's regime
            return math.nan
