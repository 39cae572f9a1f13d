"""The study of BasicNet on digits: what runs, and stored rows as labelled data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dynamics.errors import InputError
from evidence.store import Row
from fullscale import digits_study
from fullscale.digits_study import OPTIMIZERS, SEEDS, STRENGTH
from fullscale.studies import asked

EPOCHS = [0.0, 2.0, 4.0]


def level(optimizer: str, strength: float, k: int) -> float:
    """A number that says which cell it belongs to."""
    return OPTIMIZERS.index(optimizer) / 10 + (strength > 0) / 100 + k / 1000


def row(optimizer: str, strength: float, k: int, diverged: bool) -> Row:
    """A run whose numbers say which cell they belong to; a diverged one ends after its second point."""
    x, points = level(optimizer, strength, k), 2 if diverged else 3
    certificate = {
        "held_out_images": 7, "held_out_difference": x / 10, "random_difference": x / 5,
        "error_before": 0.1, "error_after": 0.1 + x,
        "parameters_before": 200, "parameters_after": 50, "multiply_adds_before": 1000, "multiply_adds_after": 100,
    }  # fmt: skip
    done = {"removal": {"share": x}, "certificate": certificate, "channels": [3, 4, 5]}
    values = {name: [x + n] * points for n, name in enumerate(digits_study.CURVES)}
    curves = {"epoch": EPOCHS[:points], "loss": [1.0] * points} | values
    spec = {"optimizer": optimizer, "strength": strength, "lr": OPTIMIZERS.index(optimizer) + 0.5, "seed": SEEDS[k]}
    status = "diverged" if diverged else "done"
    return Row("", "train", spec, status, {"steps": 5} if diverged else done, curves, {}, "", "")


def rows(diverged: tuple[int, ...] = ()) -> list[Row]:
    cells = itertools.product((STRENGTH, 0.0), OPTIMIZERS, range(len(SEEDS)))
    return [row(name, s, k, k in diverged and name == "adam" and s > 0) for s, name, k in cells]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("diverged", [(), (1,)])
def test_every_number_lands_in_its_cell_and_a_diverged_seed_is_nan_from_where_it_ended(
    order: int, diverged: tuple[int, ...]
) -> None:
    data = digits_study.curves_and_ends(rows(diverged)[::order])
    assert data["test_error"].dims == ("optimizer", "strength", "seed", "epoch")
    assert list(data.optimizer.values) == list(OPTIMIZERS)
    assert (data.strength.values.tolist(), data.epoch.values.tolist()) == ([0.0, STRENGTH], EPOCHS)
    assert data["lr"].sel(strength=0.0).values.tolist() == [0.5, 1.5, 2.5, 3.5]
    for name, strength, (k, seed) in itertools.product(OPTIMIZERS, (0.0, STRENGTH), enumerate(SEEDS)):
        one, x = data.sel(optimizer=name, strength=strength, seed=seed), level(name, strength, k)
        lost = (name, strength) == ("adam", STRENGTH) and k in diverged
        for n, curve in enumerate(digits_study.CURVES):
            np.testing.assert_array_equal(one[curve], [x + n, x + n, np.nan if lost else x + n])
        ends = (x, x / 10, x / 5, 0.1, 0.1 + x, 0.25, 0.1)
        for end, wanted in zip(digits_study.ENDS, ends, strict=True):
            np.testing.assert_equal(float(one[end]), np.nan if lost else wanted)
    attributes = {"filters": 12, "width": 0.125, "batch": 16, "data": "digits", "test_images": 7}
    assert data.attrs == attributes


def test_the_longest_curve_gives_the_epochs_even_if_the_first_run_diverged_at_once() -> None:
    data = digits_study.curves_and_ends(sorted(rows(diverged=(0,)), key=lambda row: row.status == "done"))
    assert data.epoch.values.tolist() == EPOCHS


def test_the_study_is_every_optimizer_at_its_rate_with_and_without_l2() -> None:
    specs = [run.spec for run in asked(digits_study.STUDY)]
    rates = digits_study.constants()["lr"]
    cells = [(s.optimizer, s.coupling, s.strength, s.lr, s.seed) for s in specs]
    pairs = itertools.product(OPTIMIZERS, (("l2", STRENGTH), ("none", 0.0)), SEEDS)
    assert sorted(cells) == sorted((name, *pull, rates[name], seed) for name, pull, seed in pairs)
    assert {(s.optimizer, s.strength) for s in specs if s.thresholds} == {(digits_study.SWEPT, STRENGTH)}


def test_the_swept_networks_are_those_that_hold_points() -> None:
    points = {
        "thresholds": [1e-12, 1e-3], "error_before": 0.0, "filters": 4, "images": 10, "test_images": 10,
        "sparsity": {"activation": [0.5, 0.5], "scale": [0.25, 0.75]},
        "error": {"activation": [0.0, 0.0], "scale": [0.0, 0.5]},
    }  # fmt: skip
    found = rows()
    for one in found[6:9]:  # Adam's, with L2
        if one.spec["seed"] != SEEDS[1]:  # a diverged one has none
            one.summary["thresholds"] = points
    data = digits_study.swept(found)
    assert data.seed.values.tolist() == [SEEDS[0], SEEDS[2]]
    assert data["flat"].sel(measure="activation").values.tolist() == [9, 9]
    assert data["flat"].sel(measure="scale").values.tolist() == [0, 0]
    with pytest.raises(InputError, match="no networks"):
        digits_study.swept(rows())
