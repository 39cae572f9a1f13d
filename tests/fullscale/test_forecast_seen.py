"""What a forecast rests on, how it is scored, and its fitted version."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from foreseen import drawn
from hypothesis import given
from hypothesis import strategies as st

from dynamics.errors import InputError
from fullscale.forecast.answer import forecast
from fullscale.forecast.fitted import fit, predicted, terms
from fullscale.forecast.score import area, area_within, brier, log_loss, reliability
from fullscale.forecast.seen import Seen, seen_at
from fullscale.monitor.record import VARIABLES, Record

COLUMNS = ("gamma", "arrival", "root_gamma", "mean_gamma", "square_gamma", "square_weights", "norm")


def same(one: Seen, other: Seen) -> None:
    for each in fields(Seen):
        np.testing.assert_array_equal(getattr(one, each.name), getattr(other, each.name), err_msg=each.name)


def history(rows: int, seed: int = 0, filters: int = 5) -> xr.Dataset:
    """As a monitor gives it, of made-up numbers: an observation every 10 steps."""
    draws = np.random.default_rng(seed)
    data: dict[str, Any] = {name: (("step", "filter"), draws.uniform(0.1, 1, (rows, filters))) for name in COLUMNS}
    data["mean_gamma"] = (("step", "filter"), draws.normal(0, 0.1, (rows, filters)))
    data["alive"] = (("step", "filter"), draws.random((rows, filters)) > 0.2)
    over = np.full(rows, 10)
    over[0] = 1
    names = {
        "step": 10 * np.arange(rows),
        "layer": ("filter", ["a", "a", "b", "b", "b"]),
        "channel": ("filter", [0, 1, 0, 1, 2]),
    }
    return xr.Dataset({**data, "over": ("step", over)}, names)


# what is seen


@given(rows=st.integers(1, 9), seed=st.integers(0, 999), data=st.data())
def test_nothing_after_the_step_is_looked_at(rows: int, seed: int, data: st.DataObject) -> None:
    whole = history(rows, seed)
    step = data.draw(st.integers(0, 10 * rows))
    found = seen_at(whole, step, batch=8)
    same(found, seen_at(whole.isel(step=whole.step <= step), batch=8))
    later = whole.copy(deep=True)
    for name in (*COLUMNS, "alive"):
        later[name][whole.step.values > step] = 0
    same(found, seen_at(later, step, batch=8))
    assert found.step == min(step // 10, rows - 1) * 10
    same(found, seen_at(whole, found.step, batch=8))


def test_means_are_over_steps_and_the_scale_is_of_the_last_three_looks() -> None:
    told = history(5)
    told["over"][:] = [1, 10, 10, 30, 10]
    found = seen_at(told, batch=8)
    weight = np.array([10, 30, 10])[:, None] / 50
    np.testing.assert_allclose(found.square, (weight * told.square_gamma.values[2:]).sum(axis=0))
    np.testing.assert_allclose(found.arrival, (weight * told.arrival.values[2:]).sum(axis=0))
    np.testing.assert_allclose(found.weights**2, (weight * told.square_weights.values[2:]).sum(axis=0))
    np.testing.assert_allclose(found.gamma, told.gamma.values[2:].mean(axis=0))
    np.testing.assert_allclose(found.now, told.gamma.values[-1])
    force = -told.mean_gamma.values / np.sqrt(told.square_gamma.values)
    np.testing.assert_allclose(found.force, (np.array([1, 10, 10, 30, 10]) @ force) / 61)
    assert (found.over, found.step, found.names) == (61, 40, ("a", "b"))
    told["gamma"] = -told["gamma"]  # the same filter with its sign turned: a force on abs(gamma) turns with it
    turned = seen_at(told, batch=8)
    np.testing.assert_allclose(turned.force, -found.force)
    np.testing.assert_array_equal(turned.gamma, found.gamma)


def test_without_a_scale_or_a_gradient_a_filter_is_not_forecast() -> None:
    told = history(4)
    told["alive"][:] = True
    told["gamma"][:, 0] = np.nan
    told["square_gamma"][:, 1] = np.nan
    told["square_gamma"][-1, 2] = np.nan
    told["gamma"][-1, 3] = 0
    assert seen_at(told, batch=8).alive.tolist() == [False, False, True, False, True]


def test_rows_that_a_record_has_merged_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 observations 8 rows are left, whose means go over the steps of those that are gone."""
    draws = np.random.default_rng(0)
    looks = [{name: np.full(5, 0.5) for name in VARIABLES} | {"mean_gamma": draws.normal(0, 0.1, 5)} for _ in range(41)]
    found = []
    for most in (1024, 8):
        monkeypatch.setattr("fullscale.monitor.record.MOST", most)
        kept = Record(5)
        for k, look in enumerate(looks):
            kept.add(10 * k, look, 10 if k else 1)
        told = history(kept.size).assign_coords(step=kept.steps)
        told["over"][:] = kept.over
        told["alive"][:] = True
        for name in COLUMNS:
            told[name][:] = kept.rows(name)
        assert (kept.size < 9) == (most == 8)
        found.append(seen_at(told, 400, batch=8))
    one, other = found
    assert one.step == other.step == 400
    assert one.over == other.over == 401
    np.testing.assert_allclose(other.force, one.force, atol=1e-7)


@given(st.integers(0, 10**6))
def test_a_record_comes_back_from_json_to_four_digits(seed: int) -> None:
    seen = replace(drawn(seed), alive=np.arange(24) % 3 > 0, norm=np.where(np.arange(24) % 2, np.nan, 1.0))
    found = Seen.of(json.loads(json.dumps(seen.as_dict(), allow_nan=False)))
    for each in fields(Seen):
        one, other = getattr(found, each.name), getattr(seen, each.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=6e-4)
        else:
            assert one == other
    same(Seen.of(found.as_dict()), found)


def test_what_is_no_history_is_refused() -> None:
    for told, how, words in (
        (3, {}, "history of type int"),
        (history(3).drop_vars("norm"), {}, "history without norm"),
        (history(3).assign(over=("step", [0, 0, 0])), {}, "history with no steps between"),
        (history(3).assign(over=("step", [0, 10, 10])), {"step": 5}, "history with no steps up to 5"),
        (history(3), {"batch": 1}, "batch 1"),
        (history(3), {"step": -1}, "step -1"),
    ):
        with pytest.raises(InputError, match=f"^{words}"):
            seen_at(told, **{"batch": 8} | how)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^a record of"):
        Seen.of({"step": 3})


# scores

scored = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 2)), max_size=14)


@given(scored)
def test_areas_are_shares_of_pairs(filters: list[tuple[int, bool, int]]) -> None:
    score: np.ndarray
    dies: np.ndarray
    layer: np.ndarray
    score, dies, layer = (
        np.array([each[k] for each in filters], dtype=kind) for k, kind in enumerate((float, bool, int))
    )
    pairs = [(i, j) for i in range(len(filters)) for j in range(len(filters)) if dies[i] and not dies[j]]
    for of, found in (
        (pairs, area(score, dies)),
        ([(i, j) for i, j in pairs if layer[i] == layer[j]], area_within(score, dies, layer)),
    ):
        won = [(score[i] > score[j]) + 0.5 * (score[i] == score[j]) for i, j in of]
        assert found == pytest.approx(np.mean(won) if won else np.nan, nan_ok=True)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20))
def test_scores_of_probabilities(filters: list[tuple[float, bool]]) -> None:
    p, dies = np.array([x for x, _ in filters]), np.array([x for _, x in filters])
    assert brier(p, dies) == pytest.approx(np.mean([(x - y) ** 2 for x, y in filters]))
    sure = [min(max(x, 0.005), 0.995) for x in p]
    assert log_loss(p, dies) == pytest.approx(
        -np.mean([np.log(x if y else 1 - x) for x, y in zip(sure, dies, strict=True)])
    )
    bins = reliability(p, dies, 5)
    assert sum(b.filters for b in bins) == len(filters)
    assert sum(b.filters * b.died for b in bins) == pytest.approx(dies.sum())
    assert sum(b.filters * b.probability for b in bins) == pytest.approx(p.sum(), abs=1e-4)
    assert np.isnan(brier(p[:0], dies[:0]))


# the fitted version


def planted(filters: int, weights: list[float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    x = draws.standard_normal((filters, 3)) * [1.0, 0.3, 2.0]
    return x, draws.random(filters) < predicted(x, np.array(weights))


def test_planted_weights_are_found() -> None:
    weights = [0.8, -3.0, 0.4, -0.5]
    x, dies = zip(*(planted(4000, weights, seed) for seed in range(3)), strict=True)
    np.testing.assert_allclose(fit(x, dies), weights, atol=0.25)
    p = predicted(x[0] * 1e6, np.array(weights))
    assert ((p >= 0) & (p <= 1)).all()


def test_each_network_counts_alike() -> None:
    (x, dies), (y, others) = planted(500, [1, 0, 0, 1], 0), planted(500, [-1, 1, 0, -1], 1)
    found = fit([x, y], [dies, others])
    np.testing.assert_allclose(fit([x, np.tile(y, (8, 1))], [dies, np.tile(others, 8)]), found, atol=0.03)
    assert abs(fit([np.concatenate([x, *[y] * 8])], [np.concatenate([dies, *[others] * 8])]) - found).max() > 0.3


def test_terms_are_against_the_layer() -> None:
    seen = replace(drawn(0), alive=np.arange(24) != 3)
    p = forecast(seen, "adam lr=1e-2 l2=5e-3", 4500).probability
    found = terms(seen, p)
    assert np.isnan(found[3]).all()
    for layer in (0, 1):
        of = (seen.layer == layer) & seen.alive
        np.testing.assert_allclose(1 / (1 + np.exp(-found[of, 0])), p[of].mean())
        np.testing.assert_allclose(np.median(found[of, 1:], axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.ptp(found[of, 1]), np.ptp(np.log(seen.gamma[of])))
        np.testing.assert_allclose(np.ptp(found[of, 2]), np.ptp(np.log(seen.weights[of])))
