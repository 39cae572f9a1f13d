"""The simulator on a CUDA device beside the CPU: the phase diagram's world, rule by rule, and its speed."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest

from dynamics.rules import RULES
from dynamics.simulate.gradients import mortal
from dynamics.simulate.lanes import simulate

pytestmark = pytest.mark.gpu

OWN = {"arrival": 0.3, "pull": 0.5, "target": 1.0, "sigma": 0.3, "floor": 0.05}
# A multiplication and an addition that are fused round once where the processor rounds twice.
TOLERANCE = 1e-9


def on(device: str, rule: str, lanes: int, steps: int) -> Any:
    spread = OWN | {"lr": np.geomspace(1e-3, 1e-1, lanes), "strength": np.geomspace(1e-5, 1e-1, lanes)}
    given: dict[str, Any] = {"record": [1, steps], "lanes": spread, "watch": 0.05, "seed": 3}
    if device == "cpu":
        return simulate(rule, "l2", mortal, threads=len(os.sched_getaffinity(0)), **given)
    from dynamics.simulate.device import on_device

    return on_device(rule, "l2", mortal, **given)


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.unit == "weight"])
def test_every_rule_ends_where_the_processor_does(device: str, rule: str, record_property: Any) -> None:
    ours, theirs = on("cpu", rule, 256, 300), on(device, rule, 256, 300)
    difference = float(np.max(np.abs(theirs.w - ours.w) / np.maximum(np.abs(ours.w), 1e-3)))
    record_property("largest relative difference", difference)
    # Rules that take a sign, and floors, turn a rounding into a step: such lanes may part, few of them.
    close = np.abs(theirs.w - ours.w) <= TOLERANCE * np.maximum(np.abs(ours.w), 1e-3)
    assert close[0].all()
    assert close[-1].mean() >= 0.99


def test_speed_of_the_phase_diagrams_kernel(device: str, record_property: Any) -> None:
    lanes, steps = (1 << 20, 1_000) if device != "cpu" else (1 << 10, 100)
    for name in dict.fromkeys(("cpu", device)):
        on(name, "adam", 1 << 8, steps)  # compiled
        started = time.perf_counter()
        path = on(name, "adam", lanes, steps)
        record_property(f"{name}: weight-steps a second", lanes * steps / (time.perf_counter() - started))
        assert np.isfinite(path.w).all()
