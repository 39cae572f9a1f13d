"""A weight on the loss (w - w*)^2 / 2 with a regularizer: where it comes to rest, with and without noise; up to which
learning rate it comes to rest at all; and how large any gradients can make it. Section D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate.together import simulate_together
from dynamics.theory import closed
from synthetic.noise import COUPLINGS

# Rules whose denominator follows the gradient up and down: their steps of a steady gradient are lr.
CLIPPED = ("adam", "rmsprop", "adamax", "lion")
_MOMENTUM = 0.9


@dataclass(frozen=True)
class Quadratic:
    """Without noise: from 0 to `targets`, at `lr`. With it: arrivals p x noise sigma on arrival, target 1, at `noisy_lr`.

    beta2 is that of Adam, AMSGrad and Adamax and RMSprop's alpha; the bound of a step has the defaults (0.9, 0.999).
    """

    optimizers: tuple[str, ...] = ("sgd", "momentum", "rmsprop", "adam", "amsgrad", "adamax", "lion")
    lr: float = 0.006
    strengths: tuple[float, ...] = (0.5, 1.0)
    targets: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
    beta2: float = 0.99
    steps: int = 2_000
    noisy_lr: float = 0.05
    noisy_strength: float = 0.1
    arrivals: tuple[float, ...] = (0.1, 1.0)
    sigmas: tuple[float, ...] = (0.0, 5.0)
    settled: int = 600
    seeds: int = 8
    weights: int = 16
    fractions: tuple[float, ...] = (0.95, 0.98, 1.02, 1.05)
    pushed_steps: int = 2_000

    def run(self, threads: int = 1) -> xr.Dataset:
        """`rest`, `predicted_rest`: (optimizer, coupling, strength, target), the mean of the last tenth of the path;
        `noisy_rest`: (optimizer, coupling, arrival, sigma, seed) and `predicted_noisy_rest`, a mean over weights and steps;
        `growth`: (ruled, coupling, fraction), factor a step at that fraction of the stable learning rate;
        `largest`: (bounded, gradients, seed), the largest |w| x strength under decay. NaN where nothing is predicted."""
        axes = ("optimizer", "coupling")
        dataset = xr.Dataset(
            coords={
                "optimizer": list(self.optimizers),
                "coupling": list(COUPLINGS),
                "strength": list(self.strengths),
                "target": list(self.targets),
                "arrival": list(self.arrivals),
                "sigma": list(self.sigmas),
                "seed": range(self.seeds),
            }
        )
        noise = self._noise()
        found = [[self._rest(rule, coupling, *noise) for coupling in COUPLINGS] for rule in self.optimizers]
        for k, (name, over) in enumerate(
            {
                "rest": ("strength", "target"),
                "predicted_rest": ("strength", "target"),
                "noisy_rest": ("arrival", "sigma", "seed"),
                "predicted_noisy_rest": ("arrival", "sigma"),
            }.items()
        ):
            dataset[name] = ((*axes, *over), np.array([[cell[k] for cell in row] for row in found]))
        dataset = dataset.merge(self._growth()).merge(self._pushed())
        dataset["rest"].attrs = {"long_name": "weight at rest"}
        dataset["target"].attrs = {"long_name": "minimum of the loss, w*"}
        names = ("lr", "beta2", "steps", "noisy_lr", "noisy_strength", "weights")
        dataset.attrs = {name: getattr(self, name) for name in names}
        return dataset

    def _hyper(self, rule: str) -> dict[str, Any]:
        return {memory: self.beta2} if (memory := RULES[rule].memory) else {}

    def _rest(self, rule: str, coupling: str, comes: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, ...]:
        """Quiet weights, then noisy ones, in one flat array."""
        strength, target = (x.ravel() for x in np.meshgrid(self.strengths, self.targets, indexing="ij"))
        arrival, sigma = self._cells()
        quiet, cell = len(target), (len(arrival), self.seeds, self.weights)
        noisy = int(np.prod(cell))

        def joined(one: Any, other: float) -> np.ndarray:
            return np.concatenate([np.broadcast_to(one, quiet), np.full(noisy, other)])

        targets = joined(target, 1.0)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            g = w - targets
            g[quiet:] *= comes[t]
            g[quiet:] += noise[t]
            return np.asarray(g)

        fields = ("w", "vmax") if rule == "amsgrad" else ("w",)
        path = simulate_together(
            rule,
            coupling,
            gradient,
            joined(0.0, 0.5),
            record=range(self.settled, self.steps + 1, 10),
            lr=joined(self.lr, self.noisy_lr),
            strength=joined(strength, self.noisy_strength),
            fields=fields,
            **self._hyper(rule),
        )
        shape = (len(self.strengths), len(self.targets))
        last = path.w[-self.steps // 100 :, :quiet].mean(axis=0)
        largest = path.fields["vmax"][-1, :quiet] if rule == "amsgrad" else np.zeros(quiet)
        rest = [_rest(rule, coupling, *each) for each in zip(target, strength, np.sqrt(largest), strict=True)]
        mean = path.w[:, quiet:].reshape(-1, *cell).mean(axis=(0, -1))
        noisy_rest = [self._noisy_rest(rule, coupling, *each) for each in zip(arrival, sigma, strict=True)]
        cells = (len(self.arrivals), len(self.sigmas))
        return (
            last.reshape(shape),
            np.reshape(rest, shape),
            mean.reshape(*cells, self.seeds),
            np.reshape(noisy_rest, cells),
        )

    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Arrival and sigma of the noisy settings, in one row."""
        arrival, sigma = np.meshgrid(self.arrivals, self.sigmas, indexing="ij")
        return arrival.ravel(), sigma.ravel()

    def _noise(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether a gradient comes, and its noise: (steps, noisy weights). Every other weight has its neighbour's noise with
        the sign turned, which cancels in their mean and leaves what the noise does to the resting place."""
        arrival, sigma = self._cells()
        half = (self.steps, len(arrival), self.weights // 2)
        comes, noise = (np.empty((self.steps, len(arrival), self.seeds, self.weights)) for _ in range(2))
        for seed in range(self.seeds):
            rng = np.random.default_rng(seed)
            comes[:, :, seed] = np.repeat(rng.random(half) < arrival[:, None], 2, axis=-1)
            signs = np.multiply.outer(rng.standard_normal(half), (1.0, -1.0)).reshape(comes[:, :, seed].shape)
            noise[:, :, seed] = signs * sigma[:, None] * comes[:, :, seed]
        return comes.reshape(self.steps, -1), noise.reshape(self.steps, -1)

    def _noisy_rest(self, rule: str, coupling: str, arrival: float, sigma: float) -> float:
        try:
            if rule in ("sgd", "momentum"):
                share = 1 - _MOMENTUM if (rule, coupling) == ("momentum", "decoupled_lr") else 1.0
                return closed.l2_minimum(arrival, 1.0, self.noisy_strength * share)
            if coupling == "l2" and rule in ("adam", "rmsprop"):
                return closed.adam_l2_fixed_point(arrival, 1.0, 1.0, self.noisy_strength, self.beta2)
            if coupling == "decoupled_lr" and rule in ("adam", "rmsprop") and sigma:
                return closed.noisy_adamw_fixed_point(arrival, 1.0, self.noisy_strength, sigma * arrival**0.5)
        except InputError:
            pass
        return float("nan")

    def _growth(self) -> xr.Dataset:
        """Frozen Adam: eps = 1 is the denominator, weights of 1e-30 leave v at nothing, and no bias is corrected."""
        strength, fractions = 0.5, np.asarray(self.fractions)
        rules = ("sgd", "momentum", "adam")
        growth = np.empty((len(rules), len(COUPLINGS), len(fractions)))
        for c, coupling in enumerate(COUPLINGS):
            decays = coupling == "decoupled_lr"
            limits = {
                "sgd": closed.sgd_limit(1.0, strength),
                "momentum": closed.momentum_limit(1.0, strength, _MOMENTUM, decays),
                "adam": closed.adam_limit(1.0, strength, 1.0, decoupled=decays),
            }
            for r, rule in enumerate(rules):
                frozen: dict[str, Any] = {"eps": 1.0, "state": {"power1": 0.0, "power2": 0.0}} if rule == "adam" else {}
                path = simulate_together(
                    rule,
                    coupling,
                    lambda w, t: w,
                    np.full(len(fractions), 1e-30),
                    record=range(201),
                    lr=limits[rule] * fractions,
                    strength=strength,
                    **frozen,
                ).w
                size = np.abs(path)
                growth[r, c] = (size[161:].max(axis=0) / size[61:101].max(axis=0)) ** 0.01
        return xr.Dataset(
            {"growth": (("ruled", "coupling", "fraction"), growth)},
            {"ruled": list(rules), "coupling": list(COUPLINGS), "fraction": list(self.fractions)},
        )

    def _pushed(self) -> xr.Dataset:
        """Gradients that ask much of AdamW and of Lion with decay: (steps, gradients, seeds). "growing" grows by beta2/beta1
        a step, which Cauchy and Schwarz name as the worst for Adam."""
        steps, strength = self.pushed_steps, 1.0
        names = ("steady", "normal", "Cauchy", "growing")
        g = np.empty((steps, len(names), self.seeds))
        for seed in range(self.seeds):
            rng = np.random.default_rng(seed)
            g[:, 0, seed] = 1.0
            g[:, 1, seed] = rng.standard_normal(steps)
            g[:, 2, seed] = rng.standard_cauchy(steps)
            g[:, 3, seed] = 1e-60 * (0.999 / 0.9) ** np.arange(steps)
        rules: dict[str, dict[str, Any]] = {"adam": {"eps": 0.0}, "lion": {}}
        largest = [
            np.abs(
                simulate_together(
                    rule,
                    "decoupled_lr",
                    lambda w, t: g[t],
                    np.zeros(g.shape[1:]),
                    record=range(0, steps + 1, 5),
                    lr=0.05,
                    strength=strength,
                    **hyper,
                ).w
            ).max(axis=0)
            for rule, hyper in rules.items()
        ]
        return xr.Dataset(
            {"largest": (("bounded", "gradients", "seed"), np.array(largest) * strength)},
            {"bounded": list(rules), "gradients": list(names), "seed": range(self.seeds)},
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
    return closed.decay_fixed_point(1.0, target, strength, _MOMENTUM if rule == "momentum" else 0.0)
