"""The study of BasicNet on digits: what runs, and stored rows as labelled data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dynamics.errors import InputError
from evidence.store import Row
from fullscale import digits_study
from fullscale.digits_study import OPTIMIZERS, SEEDS, STRENGTH

EPOCHS = [0.0, 2.0, 4.0]


def summary(seed: int, level: float) -> dict[str, Any]:
    certificate = {
        "held_out_difference": level / 10,
        "random_difference": level / 5,
        "error_before": 0.1,
        "error_after": 0.1 + level,
        "parameters_before": 200,
        "parameters_after": 50,
        "multiply_adds_before": 1000,
        "multiply_adds_after": 100,
    }
    found = {"removal": {"share": level}, "certificate": certificate, "channels": [3, 4, 5]}
    return {"seed": seed, "status": "done"} | found


def row(optimizer: str, strength: float, diverged: tuple[int, ...] = ()) -> Row:
    """A run whose numbers say which cell they belong to; a diverged seed ends after its second point."""
    seeds, curves = [], []
    for k, seed in enumerate(SEEDS):
        level = OPTIMIZERS.index(optimizer) / 10 + (strength > 0) / 100 + k / 1000
        points = 2 if k in diverged else 3
        seeds.append({"seed": seed, "status": "diverged", "steps": 5} if k in diverged else summary(seed, level))
        names = ("inactive_by_activation", "inactive_by_scale", "test_error")
        values = {name: [level + n for _ in range(points)] for n, name in enumerate(names)}
        curves.append({"epoch": EPOCHS[:points], "loss": [1.0] * points} | values)
    spec = {"optimizer": optimizer, "strength": strength, "lr": OPTIMIZERS.index(optimizer) + 0.5}
    status = "diverged" if diverged else "done"
    return Row("", "train", spec, status, {"seeds": seeds}, {"seeds": curves}, {}, "", "")


def rows(diverged: tuple[int, ...] = ()) -> list[Row]:
    return [row(name, s, diverged if name == "adam" and s else ()) for s in (STRENGTH, 0.0) for name in OPTIMIZERS]


@pytest.mark.parametrize("order", [1, -1])
def test_every_number_lands_in_its_cell(order: int) -> None:
    data = digits_study.curves_and_ends(rows()[::order])
    assert data["inactive_by_activation"].dims == ("optimizer", "strength", "seed", "epoch")
    assert data["removed"].dims == ("optimizer", "strength", "seed")
    assert data["lr"].dims == ("optimizer", "strength")
    assert list(data.optimizer.values) == list(OPTIMIZERS)
    assert data.strength.values.tolist() == [0.0, STRENGTH]
    assert data.epoch.values.tolist() == EPOCHS
    for i, name in enumerate(OPTIMIZERS):
        for strength in (0.0, STRENGTH):
            cell = data.sel(optimizer=name, strength=strength)
            assert float(cell["lr"]) == i + 0.5
            for k, seed in enumerate(SEEDS):
                level = i / 10 + (strength > 0) / 100 + k / 1000
                one = cell.sel(seed=seed)
                assert one["inactive_by_activation"].values.tolist() == [level] * 3
                assert one["inactive_by_scale"].values.tolist() == [level + 1] * 3
                assert one["test_error"].values.tolist() == [level + 2] * 3
                assert float(one["removed"]) == level
                assert float(one["difference"]) == level / 10
                assert float(one["noise_difference"]) == level / 5
                assert float(one["error_after"] - one["error_before"]) == pytest.approx(level)
                assert (float(one["parameters"]), float(one["multiply_adds"])) == (0.25, 0.1)
    assert data.attrs["filters"] == 12
    assert (data.attrs["width"], data.attrs["batch"], data.attrs["data"]) == (0.125, 16, "digits")


def test_a_diverged_seed_is_nan_from_where_it_ended_and_nothing_else_is() -> None:
    data, whole = digits_study.curves_and_ends(rows(diverged=(1,))), digits_study.curves_and_ends(rows())
    cell = {"optimizer": "adam", "strength": STRENGTH, "seed": SEEDS[1]}
    for name in digits_study.CURVES:
        assert data[name].sel(cell).isnull().values.tolist() == [False, False, True]
        assert int(data[name].isnull().sum()) == 1
    for name in digits_study.ENDS:
        assert math.isnan(float(data[name].sel(cell)))
        assert int(data[name].isnull().sum()) == 1
    others = data["removed"].drop_sel(seed=SEEDS[1])
    np.testing.assert_array_equal(others, whole["removed"].drop_sel(seed=SEEDS[1]))


def test_the_longest_curve_gives_the_epochs_even_if_the_first_run_diverged_at_once() -> None:
    given = rows(diverged=(0,))
    assert digits_study.curves_and_ends([given[2], *given[:2], *given[3:]]).epoch.values.tolist() == EPOCHS


def test_specs_are_every_optimizer_at_its_tuned_rate_with_and_without_l2() -> None:
    specs = digits_study.specs("d", 1000)
    chosen = digits_study.tuned()["chosen"]
    cells = {(s.optimizer, s.coupling, s.strength): s.lr for s in specs}
    expected = {(name, "l2", STRENGTH): chosen[name]["lr"] for name in OPTIMIZERS}
    expected |= {(name, "none", 0.0): chosen[name]["lr"] for name in OPTIMIZERS}
    assert cells == expected
    assert len(specs) == len(cells)
    assert [(s.optimizer, s.strength) for s in specs if s.thresholds] == [(digits_study.SWEPT, STRENGTH)]
    shared = {(s.digest, s.width, s.batch, s.epochs, s.seeds, s.schedule, s.validation) for s in specs}
    assert shared == {("d", digits_study.WIDTH, digits_study.BATCH, digits_study.epochs(1000), SEEDS, "step", 0.0)}


def test_the_swept_networks_are_those_that_hold_points() -> None:
    points = {
        "thresholds": [1e-12, 1e-3],
        "sparsity": {"activation": [0.5, 0.5], "scale": [0.25, 0.75]},
        "error": {"activation": [0.0, 0.0], "scale": [0.0, 0.5]},
        "error_before": 0.0,
        "filters": 4,
        "images": 10,
        "test_images": 10,
    }
    found = rows()
    for k, seed in enumerate(found[2].summary["seeds"]):
        if k != 1:  # a diverged seed has none
            seed["thresholds"] = points
    data = digits_study.swept(found)
    assert data.seed.values.tolist() == [SEEDS[0], SEEDS[2]]
    assert data["flat"].sel(measure="activation").values.tolist() == [9, 9]
    assert data["flat"].sel(measure="scale").values.tolist() == [0, 0]
    with pytest.raises(InputError, match="no networks"):
        digits_study.swept(rows())


@pytest.mark.parametrize("images", [16, 100, 1437, 60_000])
def test_a_run_is_as_long_on_any_data(images: int) -> None:
    steps = images // digits_study.BATCH
    assert abs(digits_study.epochs(images) * steps - digits_study.STEPS) <= steps / 2
