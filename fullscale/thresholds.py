"""How the share of inactive filters and the test error hang on the thresholds that call a filter inactive (claim S9).

Source: Mehta, Kim, Theobalt, "Implicit Filter Sparsification in Convolutional Neural Networks" (arXiv 1905.04967), which
takes 1e-12 of the largest activation and 1e-3 of BatchNorm's abs(gamma). `fullscale.measure.zeroed` gives the points.
Does not import torch, so that stored points become data without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isclose, isnan, log10
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

INACTIVE_ACTIVATION = 1e-12
INACTIVE_SCALE = 1e-3
MEASURES = {"activation": INACTIVE_ACTIVATION, "scale": INACTIVE_SCALE}
LOWEST, HIGHEST = 1e-14, 1.0
# Shares that differ by less than this count as the same: one point of a percentage.
SAME = 0.01


def decades(low: float = LOWEST, high: float = HIGHEST) -> tuple[float, ...]:
    """The powers of ten from `low` to `high`, and these two themselves.

    Raises InputError unless 0 < low < high < inf.
    """
    if not 0 < low < high < inf:
        raise InputError(
            f"thresholds {low:g} {high:g}: two positive finite numbers, the smaller one first, are accepted"
        )
    # Spelled, not computed: 10.0**-5 is not 1e-5.
    powers = (float(f"1e{k}") for k in range(int(np.ceil(log10(low))), int(np.floor(log10(high))) + 1))
    return tuple(sorted({low, high, *(power for power in powers if low < power < high)}))


def by_threshold(seeds: Mapping[int, Mapping[str, Any]], **attributes: Any) -> xr.Dataset:
    """The points of one or several trained networks as labelled data.

    seeds: for each seed, or number of a network, what `fullscale.measure.zeroed` gave; all of the same thresholds.
    attributes: what the figure is to say of them, such as data and model.
    (measure, threshold, seed): `sparsity`, share of all filters below the threshold; `error`, test error with them put to
    0. (seed): `error_before`. (measure, seed): `flat`, decades around the paper's threshold over which the sparsity changes
    by less than one point, from `flat_low` to `flat_high`, see `flat`. (measure): `paper`, the paper's threshold.
    Raises InputError for no network, and for networks of different thresholds.
    """
    import xarray as xr

    points = list(seeds.values())
    if not points:
        raise InputError("no networks: points of one or more are accepted")
    values = list(points[0]["thresholds"])
    if any(list(point["thresholds"]) != values for point in points):
        raise InputError("networks were swept over different thresholds: the same are accepted")
    sparsity, error = (
        np.array([[point[name][measure] for point in points] for measure in MEASURES]).transpose(0, 2, 1)
        for name in ("sparsity", "error")
    )
    ranges = np.array(
        [[flat(values, line, paper) for line in by.T] for by, paper in zip(sparsity, MEASURES.values(), strict=True)]
    )
    axes = ("measure", "threshold", "seed")
    data = xr.Dataset(
        {
            "sparsity": (axes, sparsity, {"units": "share of all filters"}),
            "error": (axes, error, {"units": "share of test images"}),
            "error_before": ("seed", [point["error_before"] for point in points], {"units": "share of test images"}),
            "flat": (
                ("measure", "seed"),
                np.round(np.log10(ranges[..., 1]) - np.log10(ranges[..., 0]), 9),
                {"units": "decades"},
            ),
            "flat_low": (("measure", "seed"), ranges[..., 0]),
            "flat_high": (("measure", "seed"), ranges[..., 1]),
            "filters": ("seed", [point["filters"] for point in points]),
            "images": ("seed", [point["images"] for point in points]),
            "test_images": ("seed", [point["test_images"] for point in points]),
        },
        {
            "measure": list(MEASURES),
            "threshold": values,
            "seed": list(seeds),
            "paper": ("measure", list(MEASURES.values())),
        },
    )
    return data.assign_attrs(attributes)


def flat(thresholds: Sequence[float], shares: Sequence[float], paper: float) -> tuple[float, float]:
    """The widest range of the thresholds, in decades, that holds `paper` and over which the share changes by less than a point.

    thresholds: rising; shares: one for each, never falling. Ends are thresholds of the list, so the range is that wide or
    wider. (nan, nan) if `paper` is not among the thresholds, and where there are no shares but NaN.
    """
    at = next((i for i, value in enumerate(thresholds) if isclose(value, paper, rel_tol=1e-9)), None)
    if at is None or isnan(shares[at]):
        return float("nan"), float("nan")
    fits = [
        (thresholds[i], thresholds[j])
        for i in range(at + 1)
        for j in range(at, len(thresholds))
        if shares[j] - shares[i] < SAME
    ]
    return max(fits, key=lambda ends: log10(ends[1]) - log10(ends[0]))
