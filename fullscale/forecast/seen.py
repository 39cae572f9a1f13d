"""What a forecast rests on: a monitor's record, cut off at a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dynamics.errors import InputError
from dynamics.given import shown, whole

Array = NDArray[np.float64]

# So many of the last observations say how large a scale and its gradients are now: one alone is noisy.
LAST = 3
# Shares of the training at which forecasts are tested.
MOMENTS = (0.01, 0.05, 0.1, 0.3)
_PLAIN = ("step", "over", "layer", "channel", "alive")
_COLUMNS = ("gamma", "arrival", "root_gamma", "mean_gamma", "square_gamma", "square_weights", "norm")


@dataclass(frozen=True, eq=False)
class Seen:
    """Filters as they stand after a number of steps, each array (filters,).

    Args:
        step: steps taken.
        batch: images a step.
        layer: number of each filter's layer, from 0.
        names: of the layers.
        channel: place of each filter in its layer.
        alive: False for filters that are dead already, and for those that are not forecast: without a scale.
        gamma: absolute value of the norm's scale, mean of the last three observations.
        now: the same at the last observation alone.
        square: mean square of the loss's gradient of gamma, over the steps between the last three observations.
        force: mean, over all steps, of the loss's force on abs(gamma), minus its gradient, in units of the gradient's root
            mean square.
        over: number of steps that force is a mean over.
        arrival: share of the last of these steps at which a gradient arrived.
        root: what the rule divides gamma's update by, NaN where by nothing.
        weights: root of the mean square of the gradients of the filter's weights, over the same steps as square; NaN without.
        norm: 2-norm of the filter's weights; NaN without.

    Example:
        >>> from fullscale.forecast.study import example
        >>> example().alive.sum()
        np.int64(24)
    """

    step: int
    batch: int
    layer: NDArray[np.int64]
    names: tuple[str, ...]
    channel: NDArray[np.int64]
    alive: NDArray[np.bool_]
    gamma: Array
    now: Array
    square: Array
    force: Array
    over: int
    arrival: Array
    root: Array
    weights: Array
    norm: Array

    def __len__(self) -> int:
        return len(self.layer)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to four digits: what `of` takes."""
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if not isinstance(value, np.ndarray):
                found[each.name] = list(value) if isinstance(value, tuple) else value
            elif value.dtype.kind == "f":
                found[each.name] = [None if np.isnan(x) else float(f"{x:.4g}") for x in value]
            else:
                found[each.name] = value.astype(int).tolist()
        return found

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Seen:
        """What `as_dict` gave. InputError for anything else."""
        names = [each.name for each in fields(cls)]
        if set(data) != set(names):
            raise InputError(f"a record of {shown(sorted(data))}: one of {', '.join(names)} is accepted")
        whole_numbers = {"layer": np.int64, "channel": np.int64, "alive": np.bool_}
        kept: dict[str, Any] = {}
        for name, value in data.items():
            if name in ("step", "batch", "over"):
                kept[name] = int(value)
            elif name == "names":
                kept[name] = tuple(value)
            else:
                numbers = [np.nan if x is None else x for x in value]
                kept[name] = np.array(numbers, dtype=whole_numbers.get(name, np.float64))
        return cls(**kept)


def seen_at(history: xr.Dataset, step: int | None = None, *, batch: int) -> Seen:
    """A monitor's history up to a step; nothing after it is looked at.

    Args:
        history: of `fullscale.monitor.Monitor`.
        step: the observations up to it count; None: all.
        batch: images a step, 2 or more.

    Returns:
        The Seen, as of the last observation up to the step.

    Raises:
        InputError: for data that are no such history, and where no steps were recorded up to the step.

    Example:
        >>> import torch
        >>> from fullscale.monitor import Monitor
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        >>> optimizer = torch.optim.Adam(net.parameters(), weight_decay=1e-3)
        >>> monitor = Monitor(net, optimizer, interval=2)
        >>> for _ in range(5):
        ...     optimizer.zero_grad()
        ...     net(torch.rand(8, 1, 5, 5)).square().mean().backward()
        ...     _ = optimizer.step()
        >>> seen_at(monitor.history, batch=8).step
        4
    """
    if not isinstance(history, xr.Dataset) or (
        lacking := [name for name in (*_PLAIN, *_COLUMNS) if name not in history]
    ):
        said = (
            f"without {', '.join(lacking)}" if isinstance(history, xr.Dataset) else f"of type {type(history).__name__}"
        )
        raise InputError(f"history {said}: the history of a monitor is accepted")
    batch = whole("batch", batch, 2)
    steps = history["step"].values
    rows = np.flatnonzero(steps <= (np.inf if step is None else whole("step", step, 0)))
    over = history["over"].values[rows]
    if not over.sum():
        said = "with no steps" if step is None else f"with no steps up to {step}"
        raise InputError(f"history {said} between two observations: one of an interval or more is accepted")
    column = {name: history[name].values[rows].astype(np.float64) for name in _COLUMNS}
    gamma = column["gamma"]
    rms = np.sqrt(column["square_gamma"])
    with np.errstate(invalid="ignore", divide="ignore"):
        force = np.where(rms > 0, -column["mean_gamma"] * np.sign(gamma) / rms, 0.0)
    last = rows[-LAST:] - rows[0]
    known = np.isfinite(gamma[-1]) & np.isfinite(column["square_gamma"][last]).any(axis=0)
    layers = history["layer"].values
    names = tuple(dict.fromkeys(layers.tolist()))
    return Seen(
        step=int(steps[rows[-1]]),
        batch=batch,
        layer=np.array([names.index(name) for name in layers], dtype=np.int64),
        names=names,
        channel=history["channel"].values.astype(np.int64),
        alive=history["alive"].values[rows[-1]] & known & (gamma[-1] != 0),
        gamma=np.abs(gamma[last].mean(axis=0)),
        now=np.abs(gamma[-1]),
        square=_mean(column["square_gamma"][last], over[last]),
        force=_mean(force, over),
        over=int(over.sum()),
        arrival=_mean(column["arrival"][last], over[last]),
        root=column["root_gamma"][-1],
        weights=np.sqrt(_mean(column["square_weights"][last], over[last])),
        norm=column["norm"][-1],
    )


def _mean(rows: Array, over: NDArray[np.int64]) -> Array:
    """Over the steps of the rows, NaN where none is known."""
    weight = np.where(np.isfinite(rows), over[:, None], 0)
    total = weight.sum(axis=0)
    return np.where(total > 0, (np.nan_to_num(rows) * weight).sum(axis=0) / np.maximum(total, 1), np.nan)
