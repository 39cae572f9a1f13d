"""How the kernel's speed changes with lanes, steps and threads: the phase diagram's work, one of the three at a time.

All points take turns, repetition by repetition, so that a neighbour's load meets them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.contestants import available_cores
from bench.phase import Phase
from bench.phase_peers import OURS
from bench.workers import started

if TYPE_CHECKING:
    import xarray as xr

AXES = ("lanes", "steps", "threads")


@dataclass(frozen=True)
class Point:
    """Speeds of one case, weight-steps a second, one entry a repetition; `against` is what differs from its neighbours."""

    against: str
    case: Phase
    speeds: list[float] = field(default_factory=list, compare=False)


def points(quick: bool) -> tuple[Phase, list[Point]]:
    """The case that all others differ from in one of lanes, steps, threads, and these: powers, up to twice the cores."""
    middle = Phase(1024, 64, threads=1) if quick else Phase(16_384, 1024, threads=1)
    threads = [1]
    while threads[-1] < 2 * available_cores():
        threads.append(2 * threads[-1])
    values = {
        "lanes": [4**k for k in (range(2, 6) if quick else range(2, 10))],
        "steps": [4**k for k in (range(4) if quick else range(8))],
        "threads": threads,
    }
    return middle, [Point(axis, replace(middle, **{axis: value})) for axis in AXES for value in values[axis]]


def measure(quick: bool, repetitions: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Everything measured, for JSON: what is fixed, and for each axis its points with every repetition."""
    middle, every = points(quick)
    kernel = replace(OURS, cores=available_cores())
    with started([kernel]) as workers:
        for repetition in range(-1, repetitions):
            for point in every:
                progress(f"scaling in {point.against}: repetition {repetition + 1} of {repetitions}, {point.case.name}")
                seconds, _ = workers[kernel].run(point.case)
                if repetition >= 0:
                    point.speeds.append(point.case.updates / seconds)
    return {
        "fixed": {axis: getattr(middle, axis) for axis in AXES},
        **{
            axis: [
                {axis: getattr(point.case, axis), "weight_steps_per_second": point.speeds}
                for point in every
                if point.against == axis
            ]
            for axis in AXES
        },
    }


def speeds_by_axis(measured: Mapping[str, Any], processor: str, cores: int) -> xr.Dataset:
    """What `measure` gave: `by_AXIS` (axis, repetition), weight-steps a second, for each axis; the fixed values as attrs."""
    import xarray as xr  # only here: every contestant's process imports this module, and xarray doubled its start

    found = {}
    for axis in AXES:
        speeds = [point["weight_steps_per_second"] for point in measured[axis]]
        at = [point[axis] for point in measured[axis]]
        found[f"by_{axis}"] = xr.DataArray(
            speeds, {axis: at}, (axis, "repetition"), attrs={"units": "weight-steps / s"}
        )
    return xr.Dataset(found, attrs={**measured["fixed"], "processor": processor, "cores": cores})


def table(measured: Mapping[str, Any]) -> str:
    """A line an axis: median million weight-steps a second at each of its values."""
    fixed = measured["fixed"]
    lines = [
        f"Scaling of the fused kernel, phase diagram; unless varied {fixed['lanes']:,} weights, {fixed['steps']:,} steps, "
        f"{fixed['threads']} thread; median M weight-steps/s"
    ]
    for axis in AXES:
        values = [f"{point[axis]:,}: {median(point['weight_steps_per_second']) / 1e6:.0f}" for point in measured[axis]]
        lines.append(f"{axis:10}" + "   ".join(values))
    return "\n".join(lines)
