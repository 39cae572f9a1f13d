"""The cells of a designed grid: what a sentence about every one of them is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from evidence.claim import Estimate, every_cell, mean_interval

if TYPE_CHECKING:
    import xarray as xr


def each_cell(
    values: xr.DataArray,
    unit: str,
    interval: Callable[..., Estimate] = mean_interval,
    left_out: Mapping[str, int] | None = None,
) -> dict[str, Estimate]:
    """An estimate a cell, samples along "seed", intervals that hold at once (`every_cell`).

    A cell is named by the axes that have more than one place. Cells without any number lie outside what is claimed.
    """
    axes = [str(name) for name in values.dims if name != "seed"]
    numbers = values.transpose(*axes, "seed").values
    samples = {}
    for place in np.ndindex(numbers.shape[:-1]):
        if not np.isnan(numbers[place]).all():
            samples[
                ", ".join(_named(values, a, k) for a, k in zip(axes, place, strict=True) if values.sizes[a] > 1)
            ] = numbers[place]
    return every_cell(samples, unit, "seeds", interval, left_out)


def _named(values: xr.DataArray, axis: str, place: int) -> str:
    at = values[axis].values[place]
    return str(at) if values[axis].dtype.kind in "US" else f"{axis} {at:.3g}"
