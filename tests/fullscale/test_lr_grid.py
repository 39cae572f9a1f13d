"""The learning-rate grid: what it asks for, and which cell it chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from docs.keep import keep
from dynamics.errors import InputError
from evidence.store import Row, Store, record
from fullscale import digits_long, digits_study, lr_grid
from fullscale.studies import Asked, Found, asked
from fullscale.studies.images import keep as keep_images
from fullscale.studies.standing import of_images, standing


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
    cells = [c for name in lr_grid.rates() for c in replaced.get(name, [row(name, 0.1, [0.5, 0.5])])]
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
    assert outcome["spec"] == {"coupling": "l2", "strength": 1e-3, "batch": 16, "seeds": [0, 1]}


def test_the_grid_chooses_on_a_part_of_the_training_images_for_the_runs_of_the_digits_study() -> None:
    mine, theirs = (asked(study) for study in (lr_grid.STUDY, digits_study.STUDY))
    assert {run.spec.validation for run in mine} == {0.2}
    shared = ("model", "width", "batch", "schedule", "precision", "head", "augment")

    def what(run: Asked) -> tuple[Any, ...]:
        return run.source, run.steps, *(getattr(run.spec, name) for name in shared)

    assert len({what(run) for run in [*mine, *theirs]}) == 1
    assert {run.spec.strength for run in mine} == {digits_study.STRENGTH}


def test_the_digits_study_has_the_rates_that_the_kept_rows_choose() -> None:
    kept = lr_grid.kept()
    assert {name: cell["lr"] for name, cell in kept["chosen"].items()} == digits_study.constants()["lr"]
    assert kept["spec"]["seeds"] == list(range(10))
    for name, best in kept["chosen"].items():
        cells = [c for c in kept["cells"] if c["optimizer"] == name and c["status"] == "done"]
        assert {c["lr"] for c in cells} <= set(lr_grid.rates()[name])
        assert best["accuracy"] >= max(c["accuracy"] for c in cells) - 1e-9


def test_a_grid_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    images = {run.source: Found("d", "digits", (144,) * 10, (1, 8, 8), {}) for run in asked(lr_grid.STUDY)}
    stands = of_images(lr_grid.STUDY, asked(lr_grid.STUDY), images, None)
    with Store(tmp_path / "results.sqlite") as store:
        keep_images(store, lr_grid.STUDY.name, images)
        *most, last = [spec.as_dict() for spec in stands.specs]
        few = {"test_error": 0.1, "test_loss": 0.2, "inactive_by_activation": 0.3, "thresholds": {"error_before": 0.5}}
        nested = few | {"channels": [1, 2]}
        store.write(record("train", spec, summary=nested, curves={"loss": [1.0]}) for spec in most)
    kept = tmp_path / "kept.sqlite"
    with pytest.raises(InputError, match=f"incomplete: {len(most)} of {len(most) + 1} runs are stored"):
        keep(lr_grid.STUDY, tmp_path, kept)
    assert not kept.exists()
    with Store(tmp_path / "results.sqlite") as store:
        store.put("train", last, summary=nested, curves={"loss": [1.0]})
        store.put("coin", {}, summary={}, curves={})
    assert keep(lr_grid.STUDY, tmp_path, kept) == len(most) + 2
    with Store(kept, reading=True) as store:
        stands = standing(lr_grid.STUDY, store, curves=True)
        assert stands.complete
        assert store.rows("coin") == []
    assert {json.dumps(row.curves) for row in stands.rows if row} == {"{}"}
    assert all(row.summary == few for row in stands.rows if row)


def test_validation_cannot_tell_a_rate_whose_lag_within_a_seed_may_be_none() -> None:
    """Against scipy's own interval of paired differences."""
    random = np.random.default_rng(0)
    best = 0.98 + random.normal(scale=0.01, size=10)
    rates = {
        lr: best - lag - random.normal(scale=0.003, size=10) for lr, lag in ((2.0, 0.002), (3.0, 0.0015), (4.0, 0.008))
    }
    rows = [row("adam", 1.0, list(best)), *(row("adam", lr, list(each)) for lr, each in rates.items())]
    outcome = found(adam=rows)
    wanted = [lr for lr, each in rates.items() if ttest_1samp(best - each, 0).confidence_interval().low <= 0]
    assert [c["lr"] for c in lr_grid.indistinguishable(outcome, "adam")] == [1.0, *wanted]
    assert 0 < len(wanted) < len(rates)


def test_the_long_study_has_the_rates_that_validation_cannot_tell_at_equal_sum_of_learning_rates() -> None:
    wanted, absent = {}, []
    for name in lr_grid.rates():
        lrs = [cell["lr"] for cell in lr_grid.indistinguishable(lr_grid.kept(), name)]
        steps = {lr: round(5000 * max(lrs) / lr) for lr in lrs}
        wanted[name] = {lr: n for lr, n in steps.items() if n <= 50_000}
        absent += [(name, lr) for lr, n in steps.items() if n > 50_000]
    assert digits_long.constants()["steps"] == wanted
    assert list(digits_long.left_out()) == absent
    free = {run.spec.lr for run in asked(digits_long.STUDY) if run.spec.optimizer == "adam" and not run.spec.strength}
    assert free == set(lr_grid.rates()["adam"])
    mine, theirs = (asked(study)[0] for study in (digits_long.STUDY, digits_study.STUDY))
    for name in ("model", "width", "batch", "schedule", "precision", "head", "augment", "validation"):
        assert getattr(mine.spec, name) == getattr(theirs.spec, name)
    assert not {run.spec.seed for run in asked(digits_long.STUDY)} & {run.spec.seed for run in asked(lr_grid.STUDY)}
