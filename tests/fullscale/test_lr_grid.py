"""The learning-rate grid: what it asks for, and which cell it chooses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from evidence.store import Row
from fullscale import digits_study, lr_grid
from fullscale.data import Images, Split


def row(optimizer: str, lr: float, accuracies: list[float | None], loss: float = 0.5) -> Row:
    """A run of one seed an accuracy; None: that seed diverged."""
    seeds: list[dict[str, Any]] = []
    for seed, accuracy in enumerate(accuracies):
        found = {"test_error": 1 - accuracy, "test_loss": loss, "inactive_by_activation": 0.25} if accuracy else {}
        seeds.append({"seed": seed, "status": "done" if accuracy else "diverged"} | found)
    spec = {"optimizer": optimizer, "lr": lr, "coupling": "l2", "strength": 1e-3, "batch": 16}
    status = "diverged" if None in accuracies else "done"
    return Row("", "train", spec, status, {"seeds": seeds}, {"seeds": []}, {}, "", "")


def grid(**replaced: list[Row]) -> list[Row]:
    """One dull cell for each optimizer, and for some of them others instead."""
    return [r for name in lr_grid.GRID for r in replaced.get(name, [row(name, 0.1, [0.5, 0.5])])]


def chosen(*adam: Row) -> dict[str, Any]:
    found: dict[str, Any] = lr_grid.outcome(grid(adam=list(adam)))["chosen"]["adam"]
    return found


def test_the_cell_of_best_mean_accuracy_is_chosen() -> None:
    found = chosen(row("adam", 1.0, [0.99, 0.1]), row("adam", 2.0, [0.8, 0.7]), row("adam", 3.0, [0.7, 0.7]))
    assert (found["lr"], found["seeds"], found["inactive_by_activation"]) == (2.0, 2, 0.25)
    assert found["accuracy"] == pytest.approx(0.75)


def test_of_equal_accuracy_the_lower_loss_is_chosen() -> None:
    # The sum of the same numbers in another order may differ in its last bit, which must not decide.
    same, other = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]
    for first, second in ((0.4, 0.3), (0.3, 0.4)):
        found = chosen(row("adam", 1.0, same, first), row("adam", 2.0, other, second))
        assert found["lr"] == (2.0 if second < first else 1.0)


@pytest.mark.parametrize("accuracies", [[0.99, None], [None, None]])
def test_a_cell_of_which_a_seed_diverged_is_kept_but_never_chosen(accuracies: list[float | None]) -> None:
    rows = grid(adam=[row("adam", 1.0, accuracies), row("adam", 2.0, [0.2, 0.2])])
    found = lr_grid.outcome(rows)
    assert found["chosen"]["adam"]["lr"] == 2.0
    [cell] = [c for c in found["cells"] if c["optimizer"] == "adam" and c["lr"] == 1.0]
    assert cell["status"] == "diverged"
    assert cell["seeds"] == sum(a is not None for a in accuracies)
    assert cell["accuracy"] == (0.99 if cell["seeds"] else None)


def test_each_optimizer_is_judged_by_itself() -> None:
    found = lr_grid.outcome(grid(sgd=[row("sgd", 0.3, [0.6]), row("sgd", 0.4, [0.4])], adam=[row("adam", 0.1, [0.9])]))
    assert {name: cell["lr"] for name, cell in found["chosen"].items()} == {
        "sgd": 0.3,
        "momentum": 0.1,
        "adam": 0.1,
        "rmsprop": 0.1,
    }


def test_the_outcome_is_plain_data_that_says_what_was_run() -> None:
    found = lr_grid.outcome(grid())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["spec"] == {"coupling": "l2", "strength": 1e-3, "batch": 16}
    assert "torch" in found["environment"]


def test_the_grid_chooses_on_a_part_of_the_training_images_and_covers_it() -> None:
    labels = np.arange(400, dtype=np.int64) % 2
    split = Split(np.random.default_rng(0).integers(0, 256, (400, 1, 4, 4)).astype(np.uint8), labels)
    images = Images("noise", ("a", "b"), split, split.take(np.arange(10)))
    specs = lr_grid.specs(images)
    assert [(s.optimizer, s.lr) for s in specs] == [(name, lr) for name, rates in lr_grid.GRID.items() for lr in rates]
    assert {(s.validation, s.coupling, s.strength, s.digest) for s in specs} == {
        (lr_grid.VALIDATION, "l2", digits_study.STRENGTH, images.digest)
    }
    assert {s.epochs for s in specs} == {digits_study.epochs(320)}
    assert {s.measure_every for s in specs} == {digits_study.epochs(320)}


def test_the_kept_outcome_chose_from_its_own_cells() -> None:
    kept = digits_study.tuned()
    assert set(kept["chosen"]) == set(lr_grid.GRID) == set(digits_study.OPTIMIZERS)
    for name, best in kept["chosen"].items():
        cells = [c for c in kept["cells"] if c["optimizer"] == name and c["status"] == "done"]
        assert best in cells
        assert best["accuracy"] >= max(c["accuracy"] for c in cells) - 1e-9
