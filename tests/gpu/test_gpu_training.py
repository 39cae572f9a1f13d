"""Training on a CUDA device beside the CPU: 20 steps in float32, recorded steps beside plain ones, bfloat16, resuming."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shades import shades, spec

from dynamics.rules import RULES
from fullscale.execution import Execution
from fullscale.outcome import Outcome
from fullscale.train import train

pytestmark = pytest.mark.gpu

IMAGES = shades(160, side=12)
SPEC = spec(IMAGES, width=0.125, batch=8, epochs=1, lr=1e-3, schedule="constant")  # 20 steps
# How far a device may be from the CPU, as a multiple of what another order of summation does on the CPU itself; below
# LEAST a difference of that kind is chance.
FACTOR, LEAST = 30.0, 1e-4
RUNS = [
    {"optimizer": "sgd", "lr": 0.1},
    {"optimizer": "momentum", "lr": 0.03},
    {"optimizer": "adam"},
    {"optimizer": "rmsprop"},
    {"optimizer": "adam", "coupling": "decoupled_lr", "strength": 0.1},
    {"optimizer": "sgd", "lr": 0.1, "model": "vgg11", "width": 0.0625},
]


def weights(outcome: Outcome) -> np.ndarray:
    assert outcome.net is not None, outcome.error
    return np.concatenate([p.detach().cpu().double().numpy().ravel() for p in outcome.net.parameters()])


def apart(one: Outcome, other: Outcome) -> float:
    """Distance of two networks' weights as a share of their size."""
    a, b = weights(one), weights(other)
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


def execution(device: str, graphs: bool, compiled: bool = False) -> Execution:
    """As asked for on a CUDA device; on a CPU there are no graphs, and compiling would only take long."""
    return Execution(device, compile=compiled and device != "cpu", graphs=graphs and device != "cpu")


@pytest.mark.parametrize("change", RUNS, ids=lambda c: " ".join(map(str, c.values())))
def test_twenty_steps_agree_with_the_processor(device: str, change: dict[str, Any], record_property: Any) -> None:
    asked = replace(SPEC, **change)
    ours = train(asked, IMAGES, execution=Execution("cpu"))
    rounding = apart(ours, train(asked, IMAGES, execution=Execution("cpu", channels_last=False)))
    for name, how in (("plain", execution(device, False)), ("recorded", execution(device, True))):
        found = apart(ours, train(asked, IMAGES, execution=how))
        record_property(f"{name}: difference of weights", found)
        assert found <= max(LEAST, FACTOR * rounding)
    record_property("another order of summation on the CPU", rounding)


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.unit != "matrix"])
def test_a_recorded_training_step_of_every_rule_is_the_plain_one(device: str, rule: str, record_property: Any) -> None:
    asked = replace(SPEC, optimizer=rule)
    plain, recorded = (train(asked, IMAGES, execution=execution(device, graphs)) for graphs in (False, True))
    record_property("difference of weights", apart(plain, recorded))
    assert plain.status == recorded.status == "done"
    assert apart(plain, recorded) <= 1e-3


def test_compiled_and_in_bfloat16(device: str, record_property: Any) -> None:
    plain = train(SPEC, IMAGES, execution=execution(device, False))
    for name, asked in (("compiled", SPEC), ("compiled bf16", replace(SPEC, precision="bf16"))):
        outcome = train(asked, IMAGES, execution=execution(device, True, compiled=True))
        record_property(f"{name}: loss", outcome.curves["loss"][-1])
        assert outcome.curves["loss"][-1] == pytest.approx(plain.curves["loss"][-1], rel=0.1)


def test_a_run_that_was_interrupted_goes_on(device: str, tmp_path: Path) -> None:
    asked = replace(SPEC, epochs=4)
    how = replace(execution(device, True), deterministic=True)
    whole = train(asked, IMAGES, execution=how)

    def stop(epoch: int, _: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked, IMAGES, stop, execution=how, checkpoint=tmp_path / "run")
    resumed = train(asked, IMAGES, execution=how, checkpoint=tmp_path / "run")
    assert resumed.curves["loss"] == pytest.approx(whole.curves["loss"], rel=1e-4)
    assert apart(whole, resumed) <= 1e-3


def test_memory_does_not_grow_with_the_steps(device: str) -> None:
    if device == "cpu":
        pytest.skip("a CUDA device's memory is looked at")
    used: list[int] = []
    train(
        replace(SPEC, epochs=6),
        IMAGES,
        lambda *_: used.append(torch.cuda.memory_allocated()),
        execution=execution(device, True),
    )
    assert all(b <= a for a, b in pairwise(used[2:]))
