"""A weight without a gradient under every rule: what holds at any setting, and how far the closed forms reach.

Each law is tried on `draws` random settings (learning rate, strength, betas; log-uniform or uniform within the ranges below),
from weight 1. A law's own number for each setting is what is kept: a relative error, a ratio, a largest step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.rules import RULES
from dynamics.simulate.gradients import silent
from dynamics.theory import closed
from synthetic.labelled import labelled, spread_out

if TYPE_CHECKING:
    import xarray as xr

# Rules whose path may be free of the strength when eps is scaled with it.
_SCALED = ("adam", "amsgrad", "nadam", "rmsprop", "adagrad", "adamax", "lion", "radam", "adadelta", "adabelief")

_PASSED, _ENDS = ("adam", "adamax", "adagrad"), ("adam", "rmsprop")


@dataclass(frozen=True)
class Laws:
    """Settings of THEORY's section A: of lr, strength and betas, the ends of their ranges. eps is 1e-12, out of the way, but
    where the law is about it."""

    draws: int = 24
    seed: int = 0
    lr: tuple[float, float] = (4e-3, 2e-2)
    strength: tuple[float, float] = (1e-3, 1e-1)
    beta1: tuple[float, float] = (0.5, 0.9)
    beta2: tuple[float, float] = (0.98, 0.999)
    target: float = 1e-2
    steps: int = 1_500

    def run(self, threads: int = 1) -> xr.Dataset:
        """One variable a law: (draw) or (optimizer, draw); `passage` and `predicted` in steps."""
        rng = np.random.default_rng(self.seed)
        lr, strength = (
            np.exp(rng.uniform(np.log(low), np.log(high), self.draws)) for low, high in (self.lr, self.strength)
        )
        beta1, beta2 = (rng.uniform(*x, self.draws) for x in (self.beta1, self.beta2))
        settings: dict[str, Any] = {"lr": lr, "strength": strength}
        adam: dict[str, Any] = {"beta1": beta1, "beta2": beta2, "eps": 1e-12}
        data = {
            "momentum_error": self._momentum(**settings),
            "largest_step": self._largest_step(settings, adam),
            "adadelta_excess": self._adadelta(**settings),
            "half_life": self._residual(beta2, **settings),
            "lion_error": self._lion(**settings),
            "overshoot_error": self._overshoot(lr, strength),
        }
        steps, predicted = self._passages(settings, adam)
        growth, settled = self._end(beta1)
        return labelled(
            self,
            {name: (("draw",), values) for name, values in data.items()}
            | {
                "scaling_error": (("scaled", "draw"), self._scaling(settings)),
                "passage": (("rule", "draw"), steps),
                "predicted": (("rule", "draw"), predicted),
                "growth": (("rule_at_end", "side", "draw"), growth),
                "settled": (("rule_at_end", "draw"), settled),
            },
            {"scaled": list(_SCALED), "rule": list(_PASSED), "rule_at_end": list(_ENDS), "side": ["below", "above"]},
            {"passage": (f"steps from 1 to {self.target:g}", "steps")},
        )

    def _path(self, rule: str, coupling: str = "l2", **how: Any) -> np.ndarray:
        """Every weight of the path, (steps + 1, draws)."""
        record = range(how.pop("steps", self.steps) + 1)
        return spread_out(rule, coupling, silent, (self.draws,), record=record, **how).w

    def _momentum(self, lr: np.ndarray, strength: np.ndarray) -> np.ndarray:
        """Largest distance of heavy ball's path from the closed form, of the start."""
        steps = np.arange(self.steps + 1)
        exact = [closed.momentum_path(1.0, x, 0.9, steps) for x in lr * strength]
        return np.asarray(np.abs(self._path("momentum", lr=lr, strength=strength).T - exact).max(axis=1))

    def _scaling(self, settings: dict[str, Any]) -> np.ndarray:
        """Largest relative difference between the paths at (strength, eps) and at 8 times both."""
        error = np.empty((len(_SCALED), self.draws))
        for row, rule in enumerate(_SCALED):
            eps: dict[str, Any] = {"eps": 1e-6} if "eps" in RULES[rule].defaults else {}
            path = self._path(rule, **settings, **eps, steps=200)
            scaled = settings | {"strength": 8 * settings["strength"]} | {name: 8 * x for name, x in eps.items()}
            error[row] = np.abs(self._path(rule, **scaled, steps=200) / path - 1).max(axis=0)
        return error

    def _largest_step(self, settings: dict[str, Any], adam: dict[str, Any]) -> np.ndarray:
        """Largest step of fresh Adam before the weight changes sign, in learning rates."""
        path = self._path("adam", **settings, **adam)
        moved = np.abs(np.diff(path, axis=0)) / settings["lr"]
        before = np.logical_and.accumulate(path[:-1] > 0)
        return np.asarray(np.where(before, moved, 0.0).max(axis=0))

    def _passages(self, settings: dict[str, Any], adam: dict[str, Any]) -> np.ndarray:
        """Steps to `target`, simulated and by the closed form, of the rules `_PASSED`; NaN outside the form's regime."""
        steps = np.full((2, len(_PASSED), self.draws), np.nan)
        for row, rule in enumerate(_PASSED):
            hyper: dict[str, Any] = {"eps": 1e-12} if rule == "adagrad" else adam
            # Adagrad takes (1 / lr)^2 steps: five times the rate brings it through in time.
            rates = settings["lr"] * (5 if rule == "adagrad" else 1)
            path = self._path(
                rule, **settings | {"lr": rates}, **hyper, steps=3_200 if rule == "adagrad" else self.steps
            )
            below = np.abs(path) <= self.target
            steps[0, row] = np.where(below.any(axis=0), below.argmax(axis=0), np.nan)
            for k in range(self.draws):
                given = (1.0, self.target, rates[k], settings["strength"][k])
                if rule == "adagrad":
                    steps[1, row, k] = closed.adagrad_steps(*given, eps=1e-12)
                elif self._in_regime(adam, k, rates[k]):
                    form = closed.adam_steps if rule == "adam" else closed.adamax_steps
                    steps[1, row, k] = form(*given, adam["beta1"][k], adam["beta2"][k], 1e-12)
        return steps

    def _in_regime(self, adam: dict[str, Any], k: int, lr: float) -> bool:
        lag, memory = adam["beta1"][k] / (1 - adam["beta1"][k]), -1 / np.log(adam["beta2"][k])
        return bool(lr * lag <= 0.06 and lag <= memory / 5 and 0.02 <= lr * memory <= 20)

    def _adadelta(self, lr: np.ndarray, strength: np.ndarray) -> np.ndarray:
        """Least of (weight under L2) / (weight under decay) - 1 after the first step; Adadelta at its learning rate 1."""
        l2, decay = (self._path("adadelta", c, lr=1.0, strength=strength, steps=500) for c in ("l2", "decoupled_lr"))
        return np.asarray((l2 / decay - 1)[1:].min(axis=0))

    def _residual(self, beta2: np.ndarray, lr: np.ndarray, strength: np.ndarray) -> np.ndarray:
        """Half-life over its lower bound, where the gradient left sqrt(v) = 10 x strength; beta1 = 0."""
        sigma = 10 * strength
        state = {"v": sigma**2, "power1": 0.0, "power2": 0.0}
        hyper: dict[str, Any] = {"beta1": 0.0, "beta2": beta2, "eps": 1e-12}
        path = self._path("adam", lr=lr, strength=strength, state=state, **hyper, steps=3_000)
        half = (path <= 0.5).argmax(axis=0)
        bound = [closed.residual_steps(0.5, *x) for x in zip(lr, strength, sigma, beta2, strict=True)]
        return np.asarray(np.where(half > 0, half, np.nan) / bound)

    def _end(self, beta1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Near 0, where eps is the denominator: log growth a step just below and above the limit of lr strength / eps, and
        the relative error of the closed rate at a fifth of the limit."""
        growth, error = np.empty((len(_ENDS), 2, self.draws)), np.empty((len(_ENDS), self.draws))
        for row, rule in enumerate(_ENDS):
            first = beta1 if rule == "adam" else np.zeros(self.draws)
            limit = np.array([closed.settling_limit(b) for b in first])
            how: dict[str, Any] = {"eps": 1.0, "strength": 1.0, "start": 1e-60, "steps": 400}
            how |= {"beta1": first, "state": {"power1": 0.0, "power2": 0.0}} if rule == "adam" else {}
            for side, factor in enumerate((0.9, 1.1)):
                path = np.abs(self._path(rule, lr=factor * limit, **how))
                growth[row, side] = np.log(path[-50:].max(axis=0) / path[:50].max(axis=0)) / 350
            path = np.abs(self._path(rule, lr=limit / 5, **how))
            rate = np.array([closed.settled_rate(x / 5, b) for x, b in zip(limit, first, strict=True)])
            # Two complex roots turn the weight around 0: sizes are compared over a window as long as many turns.
            found = np.exp(np.log(path[200:400].max(axis=0) / path[:200].max(axis=0)) / 200)
            error[row] = found / rate - 1
        return growth, error

    def _lion(self, lr: np.ndarray, strength: np.ndarray) -> np.ndarray:
        """Largest distance of Lion under decay from the closed form, relative to where it ends, -1/strength."""
        steps = np.arange(self.steps + 1)
        path = self._path("lion", "decoupled_lr", lr=lr, strength=strength, state={"m": 0.1}).T
        exact = [closed.lion_decay_path(1.0, 1, a, b, steps) for a, b in zip(lr, strength, strict=True)]
        return np.asarray(np.abs(path - exact).max(axis=1) * strength)

    def _overshoot(self, lr: np.ndarray, strength: np.ndarray) -> np.ndarray:
        """How far below 0 Lion under L2 turns, less the closed form, in learning rates."""
        path = self._path("lion", lr=lr, strength=strength, steps=800)
        exact = np.array([closed.lion_overshoot(1.0, x) for x in lr])
        return np.asarray((-path.min(axis=0) - exact) / lr)
