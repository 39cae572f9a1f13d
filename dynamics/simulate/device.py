"""The simulator on a CUDA device: a thread a lane, and the very functions that the compiled loop on the CPU calls.

As there, only the glue is generated. The device's compiler fuses a multiplication and an addition into one rounding, so that
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
from dynamics.simulate import random
from dynamics.simulate.gradients import silent
from dynamics.simulate.kernel import draws, open_doors, parameters, scope_of, update
from dynamics.simulate.lanes import Trajectory, prepare, recorded
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

    run = prepare(find_rule(rule), coupling, gradient, dict(lanes or {}), start, dict(state or {}), seed, stream, watch)
    loop = _kernel(run.rule, run.gradient, run.couplings, run.watch)
    cells, passed = cuda.to_device(run.cells), cuda.to_device(run.passed)
    fixed = [cuda.to_device(x) for x in (run.table, run.codes, run.streams, run.keys, run.levels)]
    blocks = -(-run.cells.shape[1] // _THREADS_A_BLOCK)

    def advance(first: int, last: int, multipliers: np.ndarray) -> None:
        loop[blocks, _THREADS_A_BLOCK](first, last, cuda.to_device(multipliers), cells, *fixed, passed)
        cells.copy_to_host(run.cells)
        passed.copy_to_host(run.passed)

    return recorded(run, advance, record, schedule, fields)


def _device_function(function: Callable[..., Any]) -> Callable[..., Any]:
    from numba import cuda

    return cast(Callable[..., Any], cuda.jit(device=True)(function))


def _down(x: float) -> float:
    return float(math.floor(x))


def _source(rule: Rule, lane_parameters: list[str], doors: tuple[str, ...], drawn: bool, watch: bool) -> str:
    """The loop over the steps of one lane, everything in local variables; fields as NAME_, as in `dynamics.simulate.kernel`."""
    cells = {name: row for row, name in enumerate(("w", *rule.inner))}
    table = {name: row for row, name in enumerate(("lr", "strength", *rule.defaults, *lane_parameters))}
    lines = ["def loop(first, last, multipliers, cells, table, codes, streams, keys, levels, passed):"]
    lines += ["    lane = cuda.grid(1)", "    if lane >= cells.shape[1]:", "        return"]
    lines += [f"    {name}_ = cells[{row}, lane]" for name, row in cells.items()]
    lines += [f"    {name}_ = table[{row}, lane]" for name, row in table.items()]
    lines += ["    key, stream = keys[lane], streams[lane]", "    a, b = word(0), word(0)"]
    lines += ["    passed_step = passed[lane]", "    previous = nan", "    for t in range(first, last):"]
    lines += ["        multiplier = multipliers[t - first]", "        if multiplier != previous:"]
    lines += ["            previous = multiplier", "            rate_ = lr_ * multiplier"]
    taken = "".join(f"{door}_, " for door in doors)
    lines += [f"            {taken}= doors(codes[lane], strength_, rate_, multiplier)"] if doors else []
    numbers = "nan, nan"
    if drawn and "epoch" in lane_parameters:
        lines += ["        u, z = threefry(word(whole((t + 0.5) / epoch_)), word(1), key, stream)"]
    elif drawn:
        lines += [f"        if t % {random.BURST} == 0 or t == first:"]
        lines += [f"            a, b = threefry(word(t // {random.BURST}), word(0), key, stream)"]
        lines += [f"            for skipped in range(2 * (t % {random.BURST})):"]
        lines += ["                u, a, b = star(a, b)"]
        lines += ["        u, a, b = star(a, b)", "        z, a, b = star(a, b)"]
    if drawn:
        numbers = "unit(u), unit(z)"
    arguments = "".join(f", {name}_" for name in lane_parameters)
    lines += ["        w = w_", f"        g = gradient(w, t, {numbers}{arguments})"]
    lines += [f"        {line}" for line in update(rule, doors, lambda name: f"{name}_")]
    lines += ["        w_ = w", *(f"        {name}_ = {name}_next" for name in rule.inner)]
    lines += (
        ["        if abs(w_) <= levels[lane]:", "            passed_step = min(passed_step, t + 1.0)"] if watch else []
    )
    lines += [f"    cells[{row}, lane] = {name}_" for name, row in cells.items()]
    return "\n".join([*lines, "    passed[lane] = passed_step"]) + "\n"


@cache
def _kernel(rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...], watch: bool) -> Any:
    from numba import cuda

    scope = scope_of(rule, gradient, couplings, _device_function, _device_function(_down)) | {"cuda": cuda}
    # Built from the parameter names of our own functions.
    exec(_source(rule, parameters(gradient), open_doors(couplings), draws(gradient), watch), scope)
    return cuda.jit(scope["loop"])
