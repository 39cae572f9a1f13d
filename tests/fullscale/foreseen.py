"""Made-up records of filters, for the tests of the forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynamics.answers.setting import parse
from fullscale.forecast.course import Course, follow
from fullscale.forecast.rates import Rates
from fullscale.forecast.seen import Seen

BATCH = 16
# Over so many steps a mean force is known exactly.
EVER = 10**14


def record(sizes: Sequence[int], **columns: Any) -> Seen:
    """Layers of so many filters after 500 steps, all alike: gamma 0.5, gradients of 0.05 at every step, no force."""
    n = sum(sizes)
    layer = np.repeat(np.arange(len(sizes)), sizes)
    ones = np.ones(n)
    seen = Seen(
        step=500, batch=BATCH, layer=layer, names=tuple(f"layer {k}" for k in range(len(sizes))),
        channel=np.concatenate([np.arange(size) for size in sizes]), alive=ones > 0, gamma=0.5 * ones, now=0.5 * ones,
        square=0.05**2 * ones, force=0 * ones, over=500, arrival=ones, root=0.05 * ones, weights=0.005 * ones, norm=ones,
    )  # fmt: skip
    given = {name: x * ones if name not in ("over", "batch", "step", "alive") else x for name, x in columns.items()}
    return replace(seen, **given)


def drawn(seed: int, sizes: Sequence[int] = (8, 16)) -> Seen:
    """Layers of different sizes, scales and gradients."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    layer = np.repeat(np.arange(len(sizes)), sizes)
    gamma = np.exp(rng.uniform(-2.3, 0, len(sizes))[layer] + 0.3 * rng.standard_normal(n))
    rms = np.exp(rng.uniform(-5.3, -2.3, len(sizes))[layer] + 0.3 * rng.standard_normal(n))
    own = {"gamma": gamma, "now": gamma, "square": rms**2, "root": rms}
    return record(sizes, **own, force=0.02 + 0.04 * rng.standard_normal(n), weights=rms * rng.uniform(0.05, 0.2, n))


def rates(setting: str, typical: float = 0.05, weight: float = 0.5) -> Rates:
    """Of a setting in words."""
    return Rates(parse(setting), typical, weight)


def course(seen: Seen, setting: str, steps: int = 4500, points: int = 1000, **how: Any) -> Course:
    """At a constant learning rate."""
    return follow(seen, rates(setting), np.ones(points), steps, **how)


class Heard:
    """Rates that note the gradients' sizes that they are asked for: of a layer alike, what its scales have shrunk by."""

    def __init__(self, setting: str) -> None:
        self.inner, self.sizes = rates(setting), list[NDArray[np.float64]]()
        self.setting = self.inner.setting

    def at(
        self, rms: NDArray[np.float64], root: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Those of the rates inside."""
        self.sizes.append(rms.copy())
        return self.inner.at(rms, root)
