"""Weights that share a loss: where they do not, the run is the simulator's to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate import schedules
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate
from dynamics.simulate.together import simulate_together


@pytest.mark.parametrize("coupling", ["l2", "l1", "decoupled_schedule", "cautious"])
@pytest.mark.parametrize("rule", ["sgd", "adam", "nadam", "lion", "schedule_free", "lamb"])
@pytest.mark.parametrize("seeding", [{"seed": 3}, {"seed": np.arange(6) // 2, "stream": np.arange(6) % 2}])
def test_alone_weights_go_as_in_the_simulator(rule: str, coupling: str, seeding: dict[str, Any]) -> None:
    """To the last bit, random numbers included."""
    start, strength = np.linspace(-2, 2, 6), np.linspace(0, 0.3, 6)
    given: dict[str, Any] = {
        "record": [0, 3, 40],
        "schedule": schedules.cosine(30),
        "fields": ("w", *RULES[rule].inner),
    }
    random = {"arrival": 0.5, "pull": 0.7, "target": 0.4, "sigma": 0.2}
    lanes = {"lr": 0.05, "strength": strength, **random}
    one = simulate(rule, coupling, selective, lanes=lanes, start=start, compiled=False, **given, **seeding)
    shaped = {name: value if np.ndim(value) == 0 else value.reshape(2, 3) for name, value in seeding.items()}

    def gradient(w: np.ndarray, t: int, u: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.asarray(selective(w, t, u, z, **random))

    other = simulate_together(
        rule, coupling, gradient, start.reshape(2, 3), lr=0.05, strength=strength.reshape(2, 3), **given, **shaped
    )
    for name, values in one.fields.items():
        np.testing.assert_array_equal(other.fields[name], values.reshape(-1, 2, 3))
    np.testing.assert_array_equal(other.steps, [0, 3, 40])


def test_the_gradient_sees_all_weights_and_the_step() -> None:
    seen = []

    def gradient(w: np.ndarray, t: int) -> np.ndarray:
        seen.append((t, w.copy()))
        return np.full_like(w, w.sum())

    path = simulate_together("sgd", "none", gradient, np.ones((2, 3)), record=[1, 2], lr=0.1).w
    assert path.shape == (2, 2, 3)
    np.testing.assert_allclose(path[:, 0, 0], [1 - 0.6, 0.4 - 0.1 * 6 * 0.4])
    assert [t for t, _ in seen] == [0, 1]


def test_state_begins_where_it_is_told_to() -> None:
    state = {"v": np.array([1.0, 4.0]), "power1": 0.0, "power2": 0.0}
    path = simulate_together(
        "adam", "none", lambda w, t: 0 * w + 1, np.zeros(2), record=[1], lr=1.0, state=state, beta1=0.0
    ).w[0]
    np.testing.assert_allclose(path, -1 / (np.sqrt(0.999 * np.array([1.0, 4.0]) + 0.001) + 1e-8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": -1.0}, "lr"),
        ({"beta3": 0.5}, "'beta3' is unknown: adam"),
        ({"record": [3, 3]}, "rising step numbers"),
        ({"record": [0.5]}, "rising step numbers"),
        ({"fields": ("w", "b")}, "field 'b'"),
        ({"state": {"q": 1.0}}, "state 'q'"),
        ({"strength": np.array([0.1, np.nan])}, "strength"),
        ({"strength": np.array([])}, "non-empty"),
        ({"seed": -1}, "seed -1"),
        ({"schedule": lambda t: 0.5}, "schedule gives"),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulate_together(*("adam", "l2", lambda w, t: w, np.ones(2)), **{"record": [1], **change})
