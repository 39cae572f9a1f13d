"""The learning-rate grid: what it asks for, and which cell it chooses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from shades import shades

from evidence.store import Row
from fullscale import digits_study, lr_grid


def row(optimizer: str, lr: float, accuracies: list[float | None], loss: float = 0.5) -> list[Row]:
    """A run an accuracy; None: it diverged."""
    found = []
    for seed, accuracy in enumerate(accuracies):
        summary = {"test_error": 1 - accuracy, "test_loss": loss, "inactive_by_activation": 0.25} if accuracy else {}
        spec = {"optimizer": optimizer, "lr": lr, "coupling": "l2", "strength": 1e-3, "batch": 16, "seed": seed}
        found.append(Row("", "train", spec, "done" if accuracy else "diverged", summary, {}, {}, "", ""))
    return found


def found(**replaced: list[list[Row]]) -> dict[str, Any]:
    """The outcome of one dull cell for each optimizer, and for some of them others instead."""
    cells = [c for name in lr_grid.GRID for c in replaced.get(name, [row(name, 0.1, [0.5, 0.5])])]
    return lr_grid.outcome([r for cell in cells for r in cell])


# The sum of the same numbers in another order may differ in its last bit, which must not decide.
SAME, OTHER = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]


@pytest.mark.parametrize(
    ("cells", "lr"),
    [
        ([row("adam", 1.0, [0.99, 0.1]), row("adam", 2.0, [0.8, 0.7]), row("adam", 3.0, [0.7, 0.7])], 2.0),
        # Of equals, the lower loss.
        ([row("adam", 1.0, SAME, 0.4), row("adam", 2.0, OTHER, 0.3)], 2.0),
        ([row("adam", 1.0, SAME, 0.3), row("adam", 2.0, OTHER, 0.4)], 1.0),
        # One of which a seed diverged is never chosen.
        ([row("adam", 1.0, [0.99, None]), row("adam", 2.0, [0.2, 0.2])], 2.0),
        ([row("adam", 1.0, [None, None]), row("adam", 2.0, [0.2, 0.2])], 2.0),
    ],
)
def test_of_each_optimizer_the_cell_of_best_mean_accuracy_is_chosen(cells: list[list[Row]], lr: float) -> None:
    outcome = found(adam=cells, sgd=[row("sgd", 0.3, [0.6]), row("sgd", 0.4, [0.4])])
    chosen = {name: cell["lr"] for name, cell in outcome["chosen"].items()}
    assert chosen == {"sgd": 0.3, "momentum": 0.1, "adam": lr, "rmsprop": 0.1}
    kept = [cell for cell in outcome["cells"] if cell["optimizer"] == "adam"]
    for cell, given in zip(kept, cells, strict=True):
        done = [1 - row.summary["test_error"] for row in given if row.status == "done"]
        status = "done" if len(done) == len(given) else "diverged"
        assert (cell["lr"], cell["status"], cell["seeds"]) == (given[0].spec["lr"], status, len(done))
        assert cell["accuracy"] == (pytest.approx(np.mean(done)) if done else None)
        assert cell["inactive_by_activation"] == (0.25 if done else None)


def test_the_outcome_is_plain_data_that_says_what_was_run() -> None:
    outcome = found()
    assert json.loads(json.dumps(outcome, allow_nan=False)) == outcome
    assert outcome["spec"] == {"coupling": "l2", "strength": 1e-3, "batch": 16, "seeds": list(lr_grid.SEEDS)}
    assert "torch" in outcome["environment"]


def test_the_grid_chooses_on_a_part_of_the_training_images_and_covers_it() -> None:
    images = shades(400)
    specs = lr_grid.specs(images)
    cells = [(name, lr, seed) for name, rates in lr_grid.GRID.items() for lr in rates for seed in lr_grid.SEEDS]
    assert [(s.optimizer, s.lr, s.seed) for s in specs] == cells
    epochs = digits_study.epochs(320)
    assert {(s.validation, s.coupling, s.strength, s.digest, s.epochs, s.measure_every) for s in specs} == {
        (lr_grid.VALIDATION, "l2", digits_study.STRENGTH, images.digest, epochs, epochs)
    }


def test_the_kept_outcome_chose_from_its_own_cells() -> None:
    kept = digits_study.tuned()
    assert set(kept["chosen"]) == set(lr_grid.GRID) == set(digits_study.OPTIMIZERS)
    for name, best in kept["chosen"].items():
        cells = [c for c in kept["cells"] if c["optimizer"] == name and c["status"] == "done"]
        assert best in cells
        assert best["accuracy"] >= max(c["accuracy"] for c in cells) - 1e-9
