"""What all worlds share: labels that follow the world's fields, a grid of lanes that is the simulator's run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest

from dynamics.simulate import random
from dynamics.simulate.gradients import once_an_epoch, quadratic, signed
from dynamics.simulate.lanes import simulate
from synthetic.bounded import demanding
from synthetic.labelled import column, labelled, spread_out

SHARED = {"pull": 0.1, "target": 1.0, "push": 0.1, "size": 0.5}
GRADIENTS: dict[Callable[..., Any], dict[str, Any]] = {
    quadratic: {"target": [0.5, 2.0, -1.0]},
    signed: {"arrival": [0.1, 0.5, 1.0], **SHARED},
    once_an_epoch: {"epoch": [1.0, 7.0, 30.5], **SHARED},
    demanding: {"steady": [1.0, 0.0, 0.0], "uniform": 1.0, "heavy": [0.0, 1.0, 0.5], "growth": [0.0, 0.0, 1.1]},
}


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_gradients_are_the_same_compiled(gradient: Callable[..., Any]) -> None:
    given: dict[str, Any] = {"record": [1, 40, 95], "seed": [3, 3, 9], "start": [1.0, 2.0, -1.0]}
    lanes = {"lr": 0.01, "strength": [0.0, 0.1, 0.2], **GRADIENTS[gradient]}
    both = [
        simulate("sgd", ["none", "l2", "decoupled_lr"], gradient, lanes=lanes, compiled=c, **given).w
        for c in (True, False)
    ]
    np.testing.assert_array_equal(*both)
    assert len(set(both[0][-1])) == 3


@pytest.mark.parametrize("shape", [(2, 3), (5_000,)])
def test_a_series_holds_the_numbers_of_each_step(shape: tuple[int, ...]) -> None:
    key, stream = np.full(shape, 7), np.arange(np.prod(shape)).reshape(shape)
    for step, (u, z) in enumerate(islice(random.series(key, stream), 37)):
        if step in (0, 1, 15, 16, 36):
            np.testing.assert_array_equal((u, z), random.uniforms(step, key, stream))


def test_a_grid_of_lanes_is_a_run_of_the_simulator() -> None:
    lr, strength = np.array([1e-3, 1e-2]), np.array([0.1, 0.2, 0.3])
    found = spread_out(
        "adam", column(["l2", "decoupled_lr"], 0, 3), quadratic, (2, 2, 3), record=[0, 9], lr=lr[:, None],
        strength=strength, target=0.5, fields=("w", "v"),
    )  # fmt: skip
    lanes = {"lr": np.tile(np.repeat(lr, 3), 2), "strength": np.tile(strength, 4), "target": 0.5}
    alone = simulate(
        "adam", ["l2"] * 6 + ["decoupled_lr"] * 6, quadratic, record=[0, 9], lanes=lanes, fields=("w", "v")
    )
    for name in ("w", "v"):
        np.testing.assert_array_equal(found.fields[name], alone.fields[name].reshape(2, 2, 2, 3))


@dataclass(frozen=True)
class World:
    arrivals: tuple[float, ...] = (0.1, 1.0)
    batches: tuple[int, ...] = (2, 8)
    selectivities: tuple[float, ...] = (0.5,)
    exciting: tuple[int, ...] = (1, 2, 3)
    seeds: int = 2
    lr: float = 0.1
    steps: int = 10


def test_labels_come_from_the_worlds_fields() -> None:
    dims = ("arrival", "batch", "selectivity", "exciting", "seed", "step", "candidate")
    values = np.zeros((2, 2, 1, 3, 2, 4, 5))
    found = labelled(World(), {"w": (dims, values)}, {"step": [0, 1, 2, 4]}, {"batch": ("images", "1")}, more="said")
    for name, expected in {
        "arrival": [0.1, 1.0], "batch": [2, 8], "selectivity": [0.5], "exciting": [1, 2, 3], "seed": [0, 1],
        "step": [0, 1, 2, 4],
    }.items():  # fmt: skip
        assert found[name].values.tolist() == expected
    assert "candidate" not in found.coords
    assert found.attrs == {"lr": 0.1, "steps": 10, "more": "said"}
    assert found["batch"].attrs == {"long_name": "images", "units": "1"}
