"""What a monitor has seen as labelled data, and whether the most selective filters are those that die next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dynamics.errors import InputError
from dynamics.given import whole
from fullscale.monitor.exact import VARIABLES as EXACT
from fullscale.monitor.record import VARIABLES

if TYPE_CHECKING:
    from fullscale.monitor.exact import Measured
    from fullscale.monitor.record import Record

# What `die_next` needs of it.
_OF_HISTORY = {"step", "layer", "selectivity", "alive", "share_gamma", "share_beta"}
_OF_HISTORY |= {"death_step", "death_filter", "death_measure"}
_DEATH = {"pull": float, "loss": float, "input": float, "loss_error": float, "intervals": int, "certain": int}


def history(
    record: Record,
    layers: Sequence[str],
    channels: Sequence[int],
    activations: Mapping[str, str],
    deaths: Sequence[Mapping[str, Any]],
    measured: Measured,
    **attributes: Any,
) -> xr.Dataset:
    """The observations as labelled data.

    (step, filter): the variables of `fullscale.monitor.record` and `alive`, False from a death by activation to a revival.
    (step): over, how many steps those of them go over that are means over the steps since the row before. (measured, filter): what
    `Monitor.measure` found after so many steps, names beginning with measured_. (filter): layer, channel. (death): one entry a
    death, names beginning with death_, see `Monitor.deaths`; death_revived is -1 where the filter has not come back. attributes:
    what else is to be told of them.
    """
    steps = record.steps
    alive = np.ones((len(steps), record.filters), dtype=bool)
    for row in deaths:
        if row["measure"] == "activation":
            end = np.inf if row["revived"] is None else row["revived"]
            alive[(steps >= row["step"]) & (steps < end), row["filter"]] = False
    axes = ("step", "filter")
    data: dict[str, Any] = {name: (axes, record.rows(name), {"long_name": text}) for name, text in VARIABLES.items()}
    data["alive"] = (axes, alive)
    data["over"] = (
        "step",
        record.over,
        {"long_name": "number of steps that means over the steps since the row before go over"},
    )
    for name, text in EXACT.items():
        data[f"measured_{name}"] = (("measured", "filter"), measured.rows[name].copy(), {"long_name": text})
    for name in ("step", "filter"):
        data[f"death_{name}"] = ("death", np.array([row[name] for row in deaths], dtype=np.int64))
    for name in ("measure", "cause"):
        data[f"death_{name}"] = ("death", np.array([row[name] for row in deaths], dtype=str))
    for name, kind in _DEATH.items():
        data[f"death_{name}"] = ("death", np.array([row[name] for row in deaths], dtype=kind))
    revived = [-1 if row["revived"] is None else row["revived"] for row in deaths]
    data["death_revived"] = ("death", np.array(revived, dtype=np.int64))
    coords = {
        "step": steps,
        "measured": measured.steps,
        "filter": np.arange(record.filters),
        "layer": ("filter", list(layers)),
        "channel": ("filter", list(channels)),
        "activation": ("filter", [activations[layer] for layer in layers]),
    }
    return xr.Dataset(data, coords).assign_attrs(attributes)


@dataclass(frozen=True, eq=False)
class Next:
    """Filters at some moments: their selectivity and the regularizer's share before, and whether they died after.

    Each array has one entry a filter and moment: selectivity and share, means over the observations of the `ahead` steps
    before the moment; dies: whether the filter dies within the `ahead` steps after; rank: place of its selectivity among the
    filters of its layer that are alive then, from 0 (least selective) to 1, ties at their mean; 0.5 in a layer of one.
    """

    moments: NDArray[np.int64]
    filters: NDArray[np.int64]
    selectivity: NDArray[np.float64]
    share: NDArray[np.float64]
    rank: NDArray[np.float64]
    dies: NDArray[np.bool_]


def die_next(data: xr.Dataset, ahead: int = 500, gap: int = 0) -> Next:
    """Which of the filters alive at each moment, `ahead` steps apart, die by activation in the steps after.

    data: of `history`. gap: deaths so soon after the moment are left out, with their filters; a filter that is as good as
    dead already is selective by definition. A death that is followed by a revival counts.
    Raises InputError for data that is no history, and for steps that are no whole numbers from 1 (ahead) or 0 (gap) on.
    Source: S6 of Mehta, Kim, Theobalt, arXiv 1905.04967, "selective features see more regularization": read as a question.
    """
    ahead, gap = whole("ahead", ahead, 1), whole("gap", gap, 0)
    if not isinstance(data, xr.Dataset) or (lacking := sorted(_OF_HISTORY - {*data.variables})):
        said = f"without {', '.join(lacking)}" if isinstance(data, xr.Dataset) else f"of type {type(data).__name__}"
        raise InputError(f"data {said}: the history of a monitor is accepted")
    steps = data["step"].values
    last = int(steps[-1]) if len(steps) else 0
    active = data["death_measure"].values == "activation"
    when, who = data["death_step"].values[active], data["death_filter"].values[active]
    layers = data["layer"].values
    share = 0.5 * (data["share_gamma"].values + data["share_beta"].values)
    found: list[list[NDArray[Any]]] = []
    for moment in range(ahead, last - ahead + 1, ahead):
        before = (steps > moment - ahead) & (steps <= moment)
        if not before.any():
            continue
        at = np.flatnonzero(steps <= moment)[-1]
        alive = data["alive"].values[at]
        # Silent already, and counted as dead later: not alive either.
        soon = (when > moment) & (when <= moment + gap)
        alive = alive & ~np.isin(np.arange(len(alive)), who[soon])
        dies = np.isin(np.arange(len(alive)), who[(when > moment + gap) & (when <= moment + ahead)])
        selectivity = _mean(data["selectivity"].values[before])
        kept = np.flatnonzero(alive & np.isfinite(selectivity))
        rank = np.full(len(alive), np.nan)
        for layer in np.unique(layers[kept]):
            of = kept[layers[kept] == layer]
            rank[of] = _ranks(selectivity[of])
        found.append(
            [np.full(len(kept), moment), kept, selectivity[kept], _mean(share[before])[kept], rank[kept], dies[kept]]
        )
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)] if found else [np.zeros(0)] * 6
    return Next(
        columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2], columns[3], columns[4], columns[5] > 0
    )


def _mean(rows: NDArray[Any]) -> NDArray[np.float64]:
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, rows, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) == 1:
        return np.array([0.5])
    order = np.sort(values)
    low, high = np.searchsorted(order, values, "left"), np.searchsorted(order, values, "right") - 1
    return (low + high) / 2 / (len(values) - 1)
