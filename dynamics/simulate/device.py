"""The simulator on a CUDA device: a thread a lane, and the very functions that the compiled loop on the CPU calls.

The loop is that of loop.template. The device's compiler fuses a multiplication and an addition into one rounding, so that
results agree with the CPU's to about 1e-12 of a weight and not to the last bit (numba has no switch against it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import numpy as np

from dynamics.couplings import Coupling
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.rules import find_rule
from dynamics.simulate.gradients import silent
from dynamics.simulate.kernel import loop
from dynamics.simulate.lanes import Trajectory, prepare_lanes, trajectory
from dynamics.simulate.schedules import Schedule

_THREADS_A_BLOCK = 128


def available() -> bool:
    """Whether there is a CUDA device that can be used."""
    from numba import cuda

    return bool(cuda.is_available())


def on_device(
    rule: str | Rule,
    coupling: str | Coupling | Sequence[str | Coupling],
    gradient: Callable[..., Any] = silent,
    *,
    record: Sequence[int] | np.ndarray,
    lanes: Mapping[str, Any] | None = None,
    start: Any = 1.0,
    state: Mapping[str, Any] | None = None,
    schedule: Schedule | None = None,
    seed: Any = 0,
    stream: Any = None,
    fields: Sequence[str] = ("w",),
    watch: Any = None,
    threads: int = 1,
) -> Trajectory:
    """`dynamics.simulate.lanes.simulate` on the CUDA device that numba finds first; the same arguments, the same result.

    threads is taken and not used: every lane has its own. Raises InputError where there is no device, and as simulate does.
    """
    if not available():
        raise InputError("no CUDA device was found: a CUDA device and its driver are needed, or the CPU")
    from numba import cuda

    run = prepare_lanes(
        find_rule(rule), coupling, gradient, dict(lanes or {}), start, dict(state or {}), seed, stream, watch
    )
    loop = _kernel(run.rule, run.gradient, run.couplings, run.watch)
    cells, passed = cuda.to_device(run.cells), cuda.to_device(run.passed)
    fixed = [cuda.to_device(x) for x in (run.table, run.codes, run.streams, run.keys, run.levels)]
    blocks = -(-run.cells.shape[1] // _THREADS_A_BLOCK)

    def advance(first: int, last: int, multipliers: np.ndarray) -> np.ndarray:
        loop[blocks, _THREADS_A_BLOCK](first, last, cuda.to_device(multipliers), cells, *fixed, passed)
        cells.copy_to_host(run.cells)
        passed.copy_to_host(run.passed)
        return run.cells

    return trajectory(run, advance, record, schedule, fields)


def _device_function(function: Callable[..., Any]) -> Callable[..., Any]:
    from numba import cuda

    return cast(Callable[..., Any], cuda.jit(device=True)(function))


def _down(x: float) -> float:
    return float(math.floor(x))


@cache
def _kernel(rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...], watch: bool) -> Any:
    from numba import cuda

    scope = {"cuda": cuda, "round_down": _device_function(_down)}
    return cuda.jit(loop("on_cuda", rule, gradient, couplings, _device_function, scope, uniform=False, watch=watch))
