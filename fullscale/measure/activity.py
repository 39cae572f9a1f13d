"""What every filter of a network did on one set of images: shares at any threshold, tables, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from math import isnan, nan
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from dynamics.errors import InputError
from dynamics.given import among, number, several
from dynamics.result import Result
from fullscale.thresholds import INACTIVE_ACTIVATION, INACTIVE_SCALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SELECTIVE_BELOW = 1e-3

_ZERO = "inactive by activation: exactly 0 for every image"
_FADING = (
    "never exactly 0 over a range of inputs, so that no filter is removed for its activation, but falls towards 0: inactive "
    "by activation if its input stays below {}"
)
_STUCK = "saturates at {}, not at 0: a filter that is stuck is not inactive by activation but constant"
# In float64; in float32 GELU's is about -5.5, since it is rounded to 0 from there on.
MEANINGS = {
    "relu": _ZERO,
    "relu6": _ZERO,
    "hardswish": _ZERO,
    "jumprelu": _ZERO,
    "gelu": _FADING.format("about -7.3"),
    "silu": _FADING.format("about -31"),
    "mish": _FADING.format("about -31"),
    "softplus": _FADING.format("about -28"),
    "glu": _FADING.format("about -28 in the gate's half"),
    "sigmoid": _FADING.format("about -28"),
    "elu": _STUCK.format("-1 (alpha 1)"),
    "selu": _STUCK.format("-1.76"),
    "celu": _STUCK.format("-1 (alpha 1)"),
    "tanh": _STUCK.format("-1 and 1"),
    "hardtanh": _STUCK.format("-1 and 1 (as a rule)"),
    **dict.fromkeys(
        ("leaky_relu", "prelu", "rrelu"),
        "passes both signs on: inactive by activation only if its input stays at 0; look at the scale",
    ),
    "identity": "the BatchNorm's own output, before a sum or several readers: inactive by activation only if scale and "
    "shift are 0; with scale 0 and another shift it is constant",
}
_UNKNOWN = "not known to put out 0 over a range of inputs: look at the scale and at what is constant"
# Of layers whose gamma is not BatchNorm's, by `Activity.scaled`.
_SCALES = {
    "norm": (
        "scale",
        "of a layer, group or RMS norm: at 0 the filter puts out its shift whatever comes in, but the norm's statistics still "
        "read it, so that the others change if it is taken away",
    ),
    "": ("no scale", "layers without a norm have none: by scale only filters that have one are counted"),
}


class Shares(NamedTuple):
    """The share of filters that are inactive at one threshold, by each of the two measures."""

    threshold: float
    by_activation: float
    by_scale: float


@dataclass(frozen=True, eq=False)
class Activity(Result):
    """What every filter of a network did on one set of images.

    norms, activations: of each layer (a BatchNorm and what is behind it, or a layer without one and its activation), in the
    order of the graph, its name and the activation. scaled: whose scale gamma is, "BatchNorm", "norm" (a layer, group or RMS
    norm) or "". Each other field holds one float64 tensor a layer, of shape (filters,), on the CPU.
    peak: largest absolute activation, over images and plane (or tokens); spread: largest minus smallest activation over them,
    0 for a filter that puts out a constant; gamma, beta: the norm's scale and shift, NaN where there is none; selectivity:
    share of the images whose largest absolute activation over the plane stays below 1e-3 of the filter's peak; 1 for a
    filter that never fires; NaN where a layer's output cannot be parted by images. images: how many were measured.
    """

    norms: tuple[str, ...]
    activations: tuple[str, ...]
    scaled: tuple[str, ...]
    peak: tuple[Tensor, ...]
    spread: tuple[Tensor, ...]
    gamma: tuple[Tensor, ...]
    beta: tuple[Tensor, ...]
    selectivity: tuple[Tensor, ...]
    images: int

    @property
    def universality(self) -> tuple[Tensor, ...]:
        """1 - selectivity."""
        return tuple(1 - s for s in self.selectivity)

    @property
    def filters(self) -> int:
        """The number of all filters."""
        return sum(len(peak) for peak in self.peak)

    def inactive_by_activation(self, threshold: float = INACTIVE_ACTIVATION) -> float:
        """The share of all filters whose peak is below `threshold`. InputError unless it is positive and finite."""
        return _share(self.peak, threshold)

    def inactive_by_scale(self, threshold: float = INACTIVE_SCALE) -> float:
        """The share of the filters that have a scale whose abs(gamma) is below `threshold`; NaN if none has one.

        InputError as above."""
        return _share(self.gamma, threshold)

    def constant(self, threshold: float = INACTIVE_ACTIVATION) -> float:
        """The share of all filters whose spread is below `threshold`: they tell no two images apart. InputError as above."""
        return _share(self.spread, threshold)

    def layers_by_activation(self, threshold: float = INACTIVE_ACTIVATION) -> tuple[float, ...]:
        """`inactive_by_activation` of each layer by itself."""
        return tuple(_share((peak,), threshold) for peak in self.peak)

    def layers_by_scale(self, threshold: float = INACTIVE_SCALE) -> tuple[float, ...]:
        """`inactive_by_scale` of each layer by itself."""
        return tuple(_share((gamma,), threshold) for gamma in self.gamma)

    def sweep(self, thresholds: Iterable[float]) -> list[Shares]:
        """Both measures, over all filters, at each of the thresholds. InputError as above."""
        wanted = several("thresholds", thresholds, "a list of numbers")
        return [Shares(t, self.inactive_by_activation(t), self.inactive_by_scale(t)) for t in wanted]

    def below(self, measure: str, threshold: float) -> tuple[Tensor, ...]:
        """Which filters are inactive by "activation" or by "scale" at this threshold: one bool tensor (filters,) a layer.

        A filter without a scale never is by scale."""
        values = {"activation": self.peak, "scale": self.gamma}[among("measure", measure, ("activation", "scale"))]
        limit = _checked(threshold)
        return tuple(value.abs() < limit for value in values)

    def table(self) -> list[dict[str, Any]]:
        """One plain dictionary a filter: what was measured, and whether it is inactive by either measure, or constant.

        None where there is no number, such as the scale of a filter without one."""
        columns = zip(self.gamma, self.beta, self.peak, self.spread, self.selectivity, strict=True)
        return [
            {
                "layer": norm,
                "filter": i,
                "activation": activation,
                "gamma": _known(gamma),
                "beta": _known(beta),
                "peak": peak,
                "spread": spread,
                "selectivity": _known(selectivity),
                "universality": _known(1 - selectivity),
                "inactive_by_activation": peak < INACTIVE_ACTIVATION,
                "inactive_by_scale": None if isnan(gamma) else abs(gamma) < INACTIVE_SCALE,
                "constant": spread < INACTIVE_ACTIVATION,
            }
            for norm, activation, layer in zip(self.norms, self.activations, columns, strict=True)
            for i, (gamma, beta, peak, spread, selectivity) in enumerate(
                zip(*(values.tolist() for values in layer), strict=True)
            )
        ]

    def layers(self) -> list[dict[str, Any]]:
        """One plain dictionary a layer: its filters, how many are inactive by either measure (None by scale if none has
        one), how many are constant, and the median selectivity of those that are active by activation (None if there are
        none)."""
        by_layer = groupby(self.table(), key=lambda row: {name: row[name] for name in ("layer", "activation")})
        return [layer | _counted(list(rows)) for layer, rows in by_layer]

    def totals(self) -> dict[str, Any]:
        """`layers` over all filters."""
        return _counted(self.table())

    def rows(self) -> list[dict[str, Any]]:
        """`layers`; filter by filter `table` has them."""
        return self.layers()

    @property
    def finding(self) -> str:
        """The shares of all filters."""
        by_scale = self.inactive_by_scale()
        scale = "" if isnan(by_scale) else f", {by_scale:.1%} by scale"
        return (
            f"{self.inactive_by_activation():.1%} of {self.filters:,} filters are inactive by activation on {self.images:,} "
            f"images{scale}"
        )

    def _draw(self, axes: Axes) -> None:
        from fullscale.drawing import draw_activity

        draw_activity(self, axes)

    def meaning(self) -> dict[str, str]:
        """What "inactive by activation" says for each activation of this network, in the order of their first use; and what
        "by scale" says where layers have another scale than BatchNorm's, or none."""
        by_activation = {name: MEANINGS.get(name, _UNKNOWN) for name in self.activations}
        return by_activation | dict(words for kind, words in _SCALES.items() if kind in self.scaled)


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Filters of a table, counted."""
    known = [row["selectivity"] for row in rows if not row["inactive_by_activation"] and row["selectivity"] is not None]
    by_scale = [row["inactive_by_scale"] for row in rows if row["inactive_by_scale"] is not None]
    return {
        "filters": len(rows),
        "inactive_by_activation": sum(row["inactive_by_activation"] for row in rows),
        "inactive_by_scale": sum(by_scale) if by_scale else None,
        "constant": sum(row["constant"] for row in rows),
        "median_selectivity": median(known) if known else None,
    }


def _checked(threshold: float) -> float:
    found = number("threshold", threshold)
    if not found > 0:
        raise InputError(f"threshold {threshold}: a positive finite number is accepted")
    return found


def _share(values: tuple[Tensor, ...], threshold: float) -> float:
    """Of the numbers that are known."""
    limit = _checked(threshold)
    every = torch.cat(values)
    known = every[~every.isnan()]
    return int((known.abs() < limit).sum()) / len(known) if len(known) else nan
