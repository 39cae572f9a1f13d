"""What a monitor has seen: observations, deaths, and what moved each margin how far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullscale.monitor.causes import Displacement, displacement_of_layer, displacement_of_margin, displacement_of_scale
from fullscale.monitor.deaths import Deaths
from fullscale.monitor.exact import Measured
from fullscale.monitor.observation import Observation, Past
from fullscale.monitor.record import Record
from fullscale.monitor.watched import Watched
from fullscale.thresholds import INACTIVE_ACTIVATION, INACTIVE_SCALE

# What the next observation needs of the one before.
BEFORE = {
    "margin",
    "peak",
    "selectivity",
    "gamma",
    "beta",
    "gradient",
    "fed",
    "fed_before",
    "fed_after",
    "share_weights",
}
BEFORE |= {f"{of}_{name}" for of in ("pull", "share") for name in ("gamma", "beta")} | {"pull_fed"}
# By so much of the step may the split differ from what the optimizer did, rounding apart.
TOLERANCE = 1e-2


class Memory:
    """Of all filters of `watched`: record, what was measured, deaths by both measures, the observation before and the sums over
    all of them.

    past: what the next observation needs on the network's device. images: of the last observed batch. share: the regularizer's
    share of the updates of the scales, median at the last observation.
    """

    def __init__(self, watched: Watched) -> None:
        filters = sum(watched.sizes)
        self.watched = watched
        self.record, self.measured = Record(filters), Measured(filters)
        self.by_activation, self.by_scale = Deaths("activation", filters), Deaths("scale", filters)
        self.past = Past(len(watched.parts))
        self.share = float("nan")
        self.images = 0
        self._rectified = np.array(watched.rectified, dtype=bool)
        self._before: dict[str, NDArray[Any]] | None = None
        self._before_step = 0
        self._sums = np.zeros((2, filters))

    def add(self, step: int, seen: Observation, note: Callable[[str], None]) -> None:
        """One more observation, after its step."""
        at, images, missing = seen.values(self.watched, TOLERANCE)
        for name in missing:
            note(
                f"{name} was not run in training mode before an observed step: there was no pass, it is frozen, or the network "
                "ran compiled before the monitor came"
            )
        if seen.differs:
            note("the optimizer's steps are not those of its rule as they are known here: no regularizer's share")
        self.images = int(images.max(initial=0)) or self.images
        of_margin = of_scale = None
        of_layer = np.isfinite(at.get("fed", np.full(len(images), np.nan)))
        if self._before is not None:
            # What was not run stands where it stood.
            at["margin"] = np.where(images > 0, at["margin"], self._before["margin"])
            steps = step - self._before_step
            of_margin = displacement_of_margin(self._before, at, steps)
            of_scale = displacement_of_scale(self._before, at, steps)
            if of_layer.any() and "fed" in self._before:
                layer = displacement_of_layer(self._before, at, steps)
                of_margin = Displacement(*(np.where(of_layer, a, b) for a, b in zip(layer, of_margin, strict=True)))
            self._sums += np.nan_to_num(np.stack([of_margin.pull, of_margin.loss]))
        self._before, self._before_step = {name: x for name, x in at.items() if name in BEFORE}, step

        # NaN of a unit of which neither scale nor weights are followed.
        parts = np.where(of_layer, at.get("pull_fed", 0.0), at["pull_gamma"] + 0 * at["gamma"])
        known = np.isfinite(parts + at["pull_beta"])
        pull, loss = (np.where(known, sums, np.nan) for sums in self._sums)
        self.record.add(step, {**at, "pull": pull, "loss": loss}, seen.over)
        quiet = self._rectified & (at["peak"] < INACTIVE_ACTIVATION)
        self.by_activation.observe(step, images, quiet, at["margin"], of_margin)
        size = np.abs(at["gamma"])
        self.by_scale.observe(step, images, size < INACTIVE_SCALE, size, of_scale)
        shares = at["share_gamma"][np.isfinite(at["share_gamma"])]
        if not len(shares):  # a network without scales
            shares = at["share_weights"][np.isfinite(at["share_weights"])]
        self.share = float(np.median(shares)) if len(shares) else float("nan")

    def state(self) -> dict[str, Any]:
        """All of it as tensors and plain data."""
        state = {
            "record": self.record.state(),
            "measured": self.measured.state(),
            "activation": self.by_activation.state(),
            "scale": self.by_scale.state(),
            "before": self._before,
            "before_step": self._before_step,
            "sums": self._sums,
            "share": self.share,
            "images": self.images,
        }
        packed: dict[str, Any] = _mapped(state, np.ndarray, lambda x: torch.from_numpy(x.copy()))
        return packed | self.past.state()

    def take(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        names = ["record", "activation", "scale", "before", "before_step", "sums", "share"]
        names += ["measured"] if "measured" in state else []
        self.images = int(state.get("images", 0))
        kept = _mapped({name: state[name] for name in names}, Tensor, lambda x: x.detach().cpu().numpy().copy())
        self.record.take(kept["record"])
        if "measured" in state:
            self.measured.take(kept["measured"])
        self.by_activation.take(kept["activation"])
        self.by_scale.take(kept["scale"])
        self._before, self._before_step = kept["before"], kept["before_step"]
        self._sums, self.share = kept["sums"], kept["share"]
        self.past.take(state, self.watched)


def _mapped(x: Any, kind: type, change: Any) -> Any:
    if isinstance(x, kind):
        return change(x)
    if isinstance(x, dict):
        return {name: _mapped(value, kind, change) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [_mapped(value, kind, change) for value in x]
    return x
