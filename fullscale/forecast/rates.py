"""What a rule makes of gradients of a size: how far it moves by a small force, and how fast it is pulled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dynamics.answers.pull_rate import Gradients, formula_rate, pull_rates
from dynamics.answers.setting import Setting
from dynamics.couplings import find_coupling

Array = NDArray[np.float64]

# Sizes at which a rate is measured where no closed form is known, a factor of 4 apart.
_FACTOR, _POINTS = 4.0, 9
# A force so much smaller than the gradients leaves their mean square as it is.
_SMALL = 1e-2


@dataclass(frozen=True)
class Rates:
    """Of one setting, at its own learning rate; both fall with the schedule's multiplier.

    Closed forms where they are known (B1, B3 of docs/theory.md), else measured on the rule itself by
    `dynamics.answers.pull_rate`, at sizes around `typical`, and read off between them.

    Args:
        setting: the rule, its coupling and numbers.
        typical: root mean square of a typical gradient.
        weight: size of a typical weight, which some couplings count with.
    """

    setting: Setting
    typical: float
    weight: float

    def at(self, rms: Array, root: Array) -> tuple[Array, Array]:
        """Under gradients of this root mean square the displacement a step by a small constant force of 1, and the share of a
        weight that the regularizer takes off a step, each of rms's shape.

        root: what the rule divides by now. Rules that divide by a sum, or a largest mean, never come below it, and move by
        lr / root.
        """
        setting = self.setting
        if setting.rule.divides_by in ("sum", "largest mean"):
            mobility = np.asarray(setting.lr / np.maximum(root, rms), dtype=np.float64)
        elif self._constant is not None:
            mobility = np.full_like(rms, self._constant)
        elif self._over is not None:
            mobility = np.asarray(self._over / (rms + setting.hyper["eps"]), dtype=np.float64)
        else:
            mobility = _read_off(rms, *self._mobilities)
        share = setting.coupling.gradient
        if not setting.strength or not setting.coupling.doors:
            pull = np.zeros_like(rms)
        elif share is not None and len(setting.coupling.doors) == 1 and not setting.rule.takes_pull:
            pull = np.asarray(share(setting.strength, setting.lr, 1.0) * mobility, dtype=np.float64)
        else:
            pull = _read_off(rms, *self._pulls)
        return mobility, pull

    @cached_property
    def _constant(self) -> float | None:
        """The mobility of a rule that is linear in the gradients."""
        return None if self.setting.rule.adaptive else self._known

    @cached_property
    def _over(self) -> float | None:
        """What is divided by the root mean square and eps, under a rule that divides by the root of a running mean."""
        if self.setting.rule.divides_by != "mean" or self._known is None:
            return None
        return self._known * (self.typical + self.setting.hyper["eps"])

    @cached_property
    def _known(self) -> float | None:
        """The mobility at the typical size by closed form."""
        alike = self._weak
        rate = formula_rate(alike, Gradients(self.typical))
        return None if rate is None else rate / alike.strength

    @cached_property
    def _weak(self) -> Setting:
        """With an L2 so weak that the gradients' size stays what it is: it is a force of strength times weight."""
        strength = _SMALL * float(self._sizes[0]) / self.weight
        return replace(self.setting, coupling=find_coupling("l2"), strength=strength)

    @cached_property
    def _sizes(self) -> Array:
        return np.asarray(self.typical * _FACTOR ** (np.arange(_POINTS) - (_POINTS - 1) / 2), dtype=np.float64)

    @cached_property
    def _mobilities(self) -> tuple[Array, Array]:
        sizes, shares = self._rates(self._weak)
        return sizes, np.asarray(shares / self._weak.strength, dtype=np.float64)

    @cached_property
    def _pulls(self) -> tuple[Array, Array]:
        return self._rates(self.setting)

    def _rates(self, setting: Setting) -> tuple[Array, Array]:
        found = [formula_rate(setting, Gradients(float(size))) for size in self._sizes]
        if all(rate is not None for rate in found):
            return self._sizes, np.array(found, dtype=np.float64)
        measured = pull_rates(setting, self._sizes, 1.0, self.weight)[-1].mean(axis=-1)
        known = np.isfinite(measured) & (measured > 0)
        return self._sizes[known], measured[known]


def _read_off(rms: Array, sizes: Array, rates: Array) -> Array:
    """Between the sizes by their logarithms, beyond them as between the last two."""
    if not len(sizes):
        return np.zeros_like(rms)
    if len(sizes) == 1:
        return np.full_like(rms, rates[0])
    x, y = np.log(sizes), np.log(rates)
    at = np.log(np.maximum(rms, np.finfo(float).tiny))
    place = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    slope = (y[place + 1] - y[place]) / (x[place + 1] - x[place])
    return np.asarray(np.exp(y[place] + slope * (at - x[place])), dtype=np.float64)
