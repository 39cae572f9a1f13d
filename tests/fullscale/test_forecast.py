"""The forecast's theory: what a rule makes of gradients, and the courses of scales."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from foreseen import BATCH, EVER, Heard, course, drawn, rates, record
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.answers.pull_rate import Gradients, formula_rate, pull_rates
from dynamics.answers.setting import parse
from dynamics.errors import InputError
from dynamics.theory.closed import residual_steps, starvation
from fullscale.forecast.answer import forecast
from fullscale.forecast.course import MECHANISMS, distance, follow

sizes = st.floats(1e-6, 10, allow_subnormal=False)
COURSES = 64
LEAST, SUREST = 0.5 / (COURSES + 1), (COURSES + 0.5) / (COURSES + 1)


# what a rule makes of a gradient's size


@pytest.mark.parametrize(
    "setting", ["sgd lr=0.1", "momentum lr=0.01", "rmsprop lr=1e-3", "adam lr=1e-3", "nadam lr=1e-3"]
)
@given(typical=sizes, rms=st.lists(sizes, min_size=1, max_size=4), strength=st.floats(1e-7, 1e-3))
def test_closed_forms_at_any_size(setting: str, typical: float, rms: list[float], strength: float) -> None:
    found = rates(f"{setting} l2={strength}", typical, weight=1.0)
    s = np.array(rms)
    mobility, pull = found.at(s, s)
    for size, moved, pulled in zip(rms, mobility, pull, strict=True):
        # So weak that it is slow beside any running mean: a force of strength times weight, 1 at this weight.
        weak = replace(found.setting, strength=1e-9)
        one = formula_rate(weak, Gradients(size))
        assert one is not None
        assert moved == pytest.approx(one / 1e-9, rel=1e-9)
        assert pulled == pytest.approx(strength * one / 1e-9, rel=1e-9)


@pytest.mark.parametrize(
    ("setting", "near"),
    [
        ("adamax lr=1e-3 l2=1e-3", 0.005),  # a straight line in logarithms
        ("lion lr=1e-3 l2=1e-3", 0.12),  # a difference of signs: 9 sizes have noise of their own, and the curve a bend
    ],
)
def test_rates_that_are_measured_hold_between_the_sizes(setting: str, near: float) -> None:
    s = np.array([0.02, 0.037, 0.07])
    _, pull = rates(setting).at(s, s)
    np.testing.assert_allclose(pull, pull_rates(parse(setting), s, 1.0, 0.5)[-1].mean(axis=-1), rtol=near)


@given(c=st.floats(0.01, 100), rms=sizes, strength=st.floats(1e-6, 1e-2))
def test_adam_with_l2_and_larger_gradients_pulls_as_a_weaker_l2(c: float, rms: float, strength: float) -> None:
    """B9: all of it scaled by one factor leaves the pull, and a displacement by a force that is scaled with it."""
    s = np.array([rms])
    one, other = rates(f"adam lr=1e-3 l2={strength} eps=1e-6"), rates(f"adam lr=1e-3 l2={c * strength} eps={c * 1e-6}")
    (mobility, pull), (slower, same) = one.at(s, s), other.at(c * s, c * s)
    np.testing.assert_allclose(same, pull, rtol=1e-9)
    np.testing.assert_allclose(c * slower, mobility, rtol=1e-9)


@given(st.lists(sizes, min_size=2, max_size=5))
def test_a_decoupled_decay_does_not_see_the_gradients(rms: list[float]) -> None:
    s = np.array(rms)
    _, pull = rates("adamw lr=1e-3 decoupled_lr=0.1").at(s, s)
    np.testing.assert_allclose(pull, 1e-4, rtol=1e-9)


@given(rms=sizes, root=sizes)
def test_a_rule_that_forgets_no_square_divides_by_the_largest_of_both(rms: float, root: float) -> None:
    for rule in ("adagrad", "amsgrad"):
        mobility, pull = rates(f"{rule} lr=1e-2 l2=1e-3").at(np.array([rms]), np.array([root]))
        assert mobility == pytest.approx(1e-2 / max(rms, root))
        assert pull == pytest.approx(1e-3 * mobility)


def test_without_a_regularizer_nothing_pulls() -> None:
    for setting in ("adam lr=1e-3", "sgd lr=1e-3", "adam lr=1e-3 l2=0"):
        mobility, pull = rates(setting).at(np.array([0.1]), np.array([0.1]))
        assert pull == 0 < mobility


# the courses


@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(["adam lr=1e-2", "rmsprop lr=3e-3", "sgd lr=0.1", "adagrad lr=0.05"]),
    strength=st.floats(-4, 0),
    factor=st.floats(1, 100),
)
def test_more_strength_silences_no_fewer(seed: int, rule: str, strength: float, factor: float) -> None:
    """To half a point: as the others shrink gradients grow, and with them, under SGD, what a filter at the edge is moved by."""
    weaker, stronger = (forecast(drawn(seed), f"{rule} l2={x}", 4500) for x in (10**strength, factor * 10**strength))
    assert stronger.share >= weaker.share - 0.005


@given(st.integers(0, 10**6))
def test_probabilities_are_inside_and_ends_are_after_now(seed: int) -> None:
    seen = drawn(seed)
    found = course(seen, "adam lr=1e-2 l2=1e-2")
    assert ((found.probability > 0) & (found.probability < 1)).all()
    ends = found.step[np.isfinite(found.step)]
    assert ((ends > seen.step) & (ends <= seen.step + 4500)).all()
    assert set(found.mechanism) <= {-1, *range(len(MECHANISMS))}


def test_who_is_left_alone_lives_and_who_is_pulled_hard_dies() -> None:
    for setting in ("adam lr=1e-3", "sgd lr=0.01", "lion lr=1e-4"):
        found = course(record([3, 5], gamma=5.0, over=EVER), setting)
        np.testing.assert_allclose(found.probability, LEAST)
        assert np.isnan(found.step).all()
        assert (found.mechanism == -1).all()
    for setting in ("adam lr=1e-2 l2=1", "sgd lr=0.1 l2=1", "adamw lr=1e-2 decoupled_lr=10"):
        found = course(record([3, 5], over=EVER), setting)
        np.testing.assert_allclose(found.probability, SUREST)
        assert {MECHANISMS[i] for i in found.mechanism} == {"regularizer"}


@pytest.mark.parametrize("setting", ["adam lr=1e-2 l2=5e-3", "sgd lr=0.1 l2=5e-3"])
@pytest.mark.parametrize("part", [1.0, 0.5, 0.25])
def test_a_scale_goes_to_where_the_loss_and_the_pull_are_equal(setting: str, part: float) -> None:
    """force s = strength gamma: B6. Gradients grow as scales shrink, s = s0 x0 / x: with a part of that force to
    x = sqrt(part) x0 if the pull is divided by s and the force is not, and as much under SGD, where it is the other way round."""
    x0, s0, strength = 2.0, 0.05, 5e-3
    heard = Heard(setting)
    seen = record([6], gamma=x0, square=s0**2, root=s0, force=part * strength * x0 / s0, over=EVER)
    found = follow(seen, heard, np.ones(1000), 10**5, seed=1)  # type: ignore[arg-type]
    assert (found.mechanism != MECHANISMS.index("regularizer")).all()
    np.testing.assert_allclose(s0 / heard.sizes[-1], np.sqrt(part), rtol=1e-3)


def test_without_a_force_a_scale_shrinks_as_the_equation_says() -> None:
    """Adam with L2: x' = -lr strength x / s with s = s0 x0 / x, so x = x0 / (1 + lr strength t / s0)."""
    heard = Heard("adam lr=1e-3 l2=5e-2")
    follow(record([6], gamma=5.0, over=EVER), heard, np.ones(1000), 2000)  # type: ignore[arg-type]
    t = 20 * np.arange(100)
    said = np.array([size[0, 0] for size in heard.sizes[:100]]) / 0.05
    np.testing.assert_allclose(said, 1 + 1e-3 * 5e-2 * t / 0.05, rtol=0.01)
    assert said[-1] > 2


@given(st.integers(0, 10**6))
def test_a_layer_does_not_see_another(seed: int) -> None:
    seen = drawn(seed)
    other = seen.layer == 1
    changed = replace(seen, gamma=np.where(other, 0.1 * seen.gamma, seen.gamma), force=seen.force - 0.1 * other)
    first, second = course(seen, "adam lr=1e-2 l2=5e-3"), course(changed, "adam lr=1e-2 l2=5e-3")
    for name in ("probability", "step", "mechanism"):
        np.testing.assert_array_equal(getattr(first, name)[~other], getattr(second, name)[~other])
    assert second.probability[other].sum() > first.probability[other].sum() - 1e-9


@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_who_is_nearest_to_0_has_the_largest_probability(seed: int, scale: float) -> None:
    """And the gradients of the weights, which nothing else looks at, change no layer's probabilities but their order."""
    seen = drawn(seed)
    other = replace(seen, weights=seen.weights[::-1] * scale)
    both = [(each, course(each, "adam lr=1e-2 l2=5e-3")) for each in (seen, other)]
    for layer in (0, 1):
        of = seen.layer == layer
        for each, found in both:
            nearest = np.argsort(each.gamma[of] * np.sqrt(each.weights[of]))
            assert (np.diff(found.probability[of][nearest]) <= 0).all()
            np.testing.assert_allclose(distance(each), each.gamma * np.sqrt(each.weights))
        values = [np.sort(found.probability[of]) for _, found in both]
        np.testing.assert_array_equal(values[0], values[1])


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), turn=st.randoms(use_true_random=False))
def test_filters_in_another_order_have_the_same_answers(seed: int, turn: object) -> None:
    """Up to the random numbers, which are drawn place by place: a layer's filters in another order have other ones, so that
    probabilities differ as those of two seeds do."""
    seen = drawn(seed)
    places = np.arange(24)
    turn.shuffle(places)  # type: ignore[attr-defined]
    fields = ("layer", "channel", "alive", "gamma", "now", "square", "force", "arrival", "root", "weights", "norm")
    moved = replace(seen, **{name: getattr(seen, name)[places] for name in fields})
    one, other = (course(each, "adam lr=1e-2 l2=5e-3", courses=500).probability for each in (seen, moved))
    np.testing.assert_allclose(other, one[places], atol=0.1)
    for layer in (0, 1):
        assert other[moved.layer == layer].mean() == pytest.approx(one[seen.layer == layer].mean(), abs=0.02)


def test_the_dead_are_dead_and_who_has_no_scale_is_not_forecast() -> None:
    alive = np.array([True, False, False, True])
    nan = np.array([1, 1, np.nan, 1])
    found = forecast(record([4], alive=alive, gamma=0.5 * nan, square=0.05**2 * nan), "adam lr=1e-2 l2=5e-3", 1000)
    np.testing.assert_array_equal(found.probability[1:3], [1.0, np.nan])
    np.testing.assert_array_equal(found.dead, [False, True, False, False])
    assert found.mechanism[1:3] == ("", "")
    assert np.isnan(found.step[1:3]).all()
    assert found.share == pytest.approx(np.nanmean(found.probability))
    assert "1 of 3 filters are dead" in found.finding


@pytest.mark.parametrize(("arrival", "steps"), [(0.01, 20_000), (0.02, 20_000), (0.01, 600)])
def test_starvation_is_that_of_e8(arrival: float, steps: int) -> None:
    """Of filters far from 0 whose loss's force holds them: nothing else kills them."""
    beta2, lr, strength, s, gamma = 0.99, 1e-3, 0.1, 0.05, 0.6
    seen = record([4], gamma=gamma, square=s**2, root=s, force=strength * gamma / s, over=EVER, arrival=arrival)
    setting = f"adam lr={lr} l2={strength} beta2={beta2}"
    alone, found = (
        course(each, setting, steps=steps).probability for each in (replace(seen, arrival=np.ones(4)), seen)
    )
    mobility, _ = rates(setting).at(np.array([s]), np.array([s]))
    ratio = float(np.sqrt(mobility[0] / (2 * BATCH)) / gamma)
    length = residual_steps(ratio, lr, strength, s, beta2)
    expected = [starvation(arrival, int(length) + more, steps) for more in (1, 0)]
    p, before = ((x * (COURSES + 1) - 0.5) / COURSES for x in (found, alone))
    starved = 1 - (1 - p) / (1 - before)
    assert (expected[0] <= starved + 1e-9).all()
    assert (starved <= expected[1] + 1e-9).all()
    assert expected[0] > 0.01


def test_a_schedule_is_one_whether_it_is_given_coarsely_or_finely() -> None:
    seen = drawn(3)
    shares = []
    for points in (100, 317, 5000):
        level = 0.5 + 0.5 * np.cos(np.pi * (np.arange(points) + 0.5) / points)
        found = forecast(seen, "adam lr=1e-2 l2=5e-3", 5000, multipliers=level)
        shares.append(found.share)
    assert np.ptp(shares) < 0.01
    still = forecast(seen, "adam lr=1e-2 l2=5e-3", 5000, multipliers=[0.0])
    np.testing.assert_allclose(still.probability, LEAST)
    assert shares[0] > still.share + 0.1


def test_what_is_no_forecast_is_refused() -> None:
    seen, setting = record([4]), "adam lr=1e-2 l2=5e-3"
    sound: dict[str, Any] = {"seen": seen, "setting": setting, "steps": 10}
    changes: list[tuple[dict[str, Any], str]] = [
        ({"seen": 3}, "seen"),
        ({"setting": "lars lr=0.1"}, "setting lars.*a rule that takes weights one by one is accepted"),
        ({"steps": 0}, "steps 0"),
        ({"multipliers": []}, "multipliers"),
        ({"multipliers": [1.0, -0.1]}, "multipliers.*from 0 on"),
        ({"multipliers": [np.nan]}, "multipliers"),
        ({"courses": 1}, "courses 1"),
        ({"seed": -1}, "seed -1"),
    ]
    for change, words in changes:
        with pytest.raises(InputError, match=f"^{words}"):
            forecast(**sound | change)
