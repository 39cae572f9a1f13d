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

    def mobility(self, rms: Array, root: Array) -> Array:
        """Displacement a step by a small constant force of 1 under gradients of this root mean square, each of rms's shape.

        root: what the rule divides by now. Rules that divide by a sum, or a largest mean, never come below it, and move by
        lr / root.
        """
        if self.setting.rule.divides_by in ("sum", "largest mean"):
            return np.asarray(self.setting.lr / np.maximum(root, rms), dtype=np.float64)
        sizes, shares = self._mobilities
        return _read_off(rms, sizes, shares)

    def pull(self, rms: Array, root: Array) -> Array:
        """Share of a weight that the regularizer takes off a step, of rms's shape."""
        setting = self.setting
        if not setting.strength or not setting.coupling.doors:
            return np.zeros_like(rms)
        share = setting.coupling.gradient
        if share is not None and len(setting.coupling.doors) == 1 and not setting.rule.takes_pull:
            return np.asarray(share(setting.strength, setting.lr, 1.0) * self.mobility(rms, root), dtype=np.float64)
        sizes, shares = self._pulls
        return _read_off(rms, sizes, shares)

    @cached_property
    def _sizes(self) -> Array:
        return self.typical * _FACTOR ** (np.arange(_POINTS) - (_POINTS - 1) / 2)

    @cached_property
    def _mobilities(self) -> tuple[Array, Array]:
        """By the pull of an L2 so weak that the gradients' size stays what it is: it is a force of strength times weight."""
        strength = _SMALL * self._sizes[0] / self.weight
        alike = replace(self.setting, coupling=find_coupling("l2"), strength=strength)
        sizes, shares = self._rates(alike)
        return sizes, shares / strength

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
    return np.exp(y[place] + slope * (at - x[place]))
