"""What `undertow measure` says: text for people, and the same as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.lines import table, wrapped

if TYPE_CHECKING:
    import xarray as xr

    from fullscale.data import Images
    from fullscale.measure import Activity

_MEASURES = ("activation", "scale")


@dataclass(frozen=True, eq=False)
class FilterReport:
    """A network's file, the images it was measured on, what was found, the sweep of thresholds if there was one, and the
    digest of the images it was trained on if its file says so."""

    checkpoint: Path
    images: Images
    activity: Activity
    data: xr.Dataset | None
    trained_on: str | None

    def as_text(self, most: int | None = None) -> str:
        """Lines for a terminal, of at most so many characters where they are columns."""
        lines = [
            f"{self.checkpoint.name} on {self.images.name}, digest {self.images.digest[:12]}: "
            f"{self.activity.filters:,} filters, {self.activity.images:,} training images",
            *(
                []
                if self.trained_on in (None, self.images.digest)
                else [f"trained on others, digest {self.trained_on}"]
            ),
            "",
            *_layers(self.activity, most),
        ]
        notes = [wrapped(f"{name}: {text}") for name, text in self.activity.meaning().items() if name != "relu"]
        lines += ["", *notes] if notes else []
        return "\n".join(lines if self.data is None else [*lines, "", *_sweep(self.data, most)])

    def as_json(self) -> str:
        """An object."""
        found: dict[str, Any] = {
            "network": str(self.checkpoint),
            "data": self.images.name,
            "digest": self.images.digest,
            "trained_on": self.trained_on,
            "images": self.activity.images,
            "total": self.activity.totals(),
            "layers": self.activity.layers(),
            "meaning": self.activity.meaning(),
        }
        return json.dumps(found if self.data is None else found | _points(self.data), indent=2)


def _points(data: xr.Dataset) -> dict[str, Any]:
    one = data.isel(seed=0)
    return {
        "test_images": int(one.test_images),
        "error_before": float(one.error_before),
        "thresholds": one.threshold.values.tolist(),
        "by": {name: _by(one.sel(measure=name)) for name in _MEASURES},
    }


def _by(one: xr.Dataset) -> dict[str, Any]:
    decades, low, high = (_known(one[name]) for name in ("flat", "flat_low", "flat_high"))
    return {
        "sparsity": [None if math.isnan(share) else share for share in one.sparsity.values.tolist()],
        "error": one.error.values.tolist(),
        "flat_decades": decades,
        "flat": [low, high],
    }


def _known(value: xr.DataArray) -> float | None:
    return None if math.isnan(float(value)) else float(value)


def _layers(activity: Activity, most: int | None) -> list[str]:
    layers, total = activity.layers(), activity.totals()
    kinds = len(set(activity.activations)) > 1
    head = ["layer", "activation", "filters", "inactive by activation", "by scale", "constant", "selectivity"]
    counts = ("inactive_by_activation", "inactive_by_scale", "constant")

    def cells(row: dict[str, Any], scaled: int) -> list[str]:
        of = dict(zip(counts, (row["filters"], scaled, row["filters"]), strict=True))
        shares = ["-" if row[name] is None else f"{row[name]:,} {row[name] / of[name]:5.0%}" for name in counts]
        median = "-" if row["median_selectivity"] is None else f"{row['median_selectivity']:.3f}"
        return [row["layer"], row["activation"], f"{row['filters']:,}", *shares, median]

    scaled = [int((~gamma.isnan()).sum()) for gamma in activity.gamma]
    rows = [head, *map(cells, layers, scaled), cells(total | {"layer": "all", "activation": ""}, sum(scaled))]
    if not kinds:
        rows = [[row[0], *row[2:]] for row in rows]
    left = 2 if kinds else 1
    return table(rows, range(left, len(rows[0])), most)


def _sweep(data: xr.Dataset, most: int | None) -> list[str]:
    one = data.isel(seed=0)
    rows = [["threshold", "by activation", "test error", "by scale", "test error"]]
    for k, value in enumerate(one.threshold.values):
        by, scale = (one.sel(measure=name).isel(threshold=k) for name in _MEASURES)
        known = not scale.sparsity.isnull()
        rows.append(
            [_short(value), f"{float(by.sparsity):.1%}", f"{float(by.error):.2%}"]
            + ([f"{float(scale.sparsity):.1%}", f"{float(scale.error):.2%}"] if known else ["-", "-"])
        )
    lines = table(rows, range(1, 5), most)
    return [
        *lines,
        f"test error with all filters: {float(one.error_before):.2%} of {int(one.test_images):,} images",
        *(f"by {name}, {_range(one.sel(measure=name))}" for name in _MEASURES),
    ]


def _range(one: xr.Dataset) -> str:
    if one.sparsity.isnull().all():
        return "no filter has a scale"
    paper, decades, low, high = (float(one[name]) for name in ("paper", "flat", "flat_low", "flat_high"))
    if math.isnan(decades):
        return f"the paper's threshold {_short(paper)} is not among these"
    over = f"{decades:.3g} decades, {_short(low)} to {_short(high)}," if decades >= 1 else "less than a decade"
    return f"the share changes by less than a point over {over} around the paper's {_short(paper)}"


def _short(value: float) -> str:
    return np.format_float_scientific(value, precision=3, trim="-", exp_digits=2)
