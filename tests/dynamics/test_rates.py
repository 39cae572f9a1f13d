"""Measured pulls are the known ones where they are known, and do not depend on how they are measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.answers.pull_rate import Gradients, formula_rate, memory, pull_rates, settling
from dynamics.answers.setting import Setting, make
from dynamics.errors import InputError
from dynamics.rules import RULES

sizes = st.floats(1e-4, 10.0)
arrivals = st.floats(0.02, 1.0)


def measured(setting: Setting, rms: float, arrival: float, weight: float = 1.0) -> float:
    return float(pull_rates(setting, rms, arrival, weight)[0, 0].mean())


@pytest.mark.parametrize("coupling", ["decoupled_lr", "decoupled_schedule", "decoupled_constant", "corrected"])
@pytest.mark.parametrize("rule", ["sgd", "adam", "lion", "adagrad"])
@given(rms=sizes, arrival=arrivals, weight=sizes)
@settings(max_examples=3)
def test_decay_outside_the_gradient_is_its_share(
    rule: str, coupling: str, rms: float, arrival: float, weight: float
) -> None:
    setting = make(rule, coupling, lr=1e-2, strength=1e-2)
    share = formula_rate(setting, Gradients(rms, arrival))
    assert share is not None
    # Lanes from w and -w see the same gradients, and AdamW's step does not read w: rounding is all.
    assert measured(setting, rms, arrival, weight) == pytest.approx(-math.log1p(-share), rel=1e-6)


@given(rms=sizes, arrival=arrivals, weight=sizes, momentum=st.floats(0.0, 0.98))
@settings(max_examples=10)
def test_l2_under_momentum_is_larger_by_one_over_one_minus_it(
    rms: float, arrival: float, weight: float, momentum: float
) -> None:
    setting = make("momentum", "l2", lr=1e-2, strength=1e-3, momentum=momentum)
    # Of second order in lr strength / (1 - momentum)^2, at most 0.025; the buffer is filled after a quarter of the look.
    assert measured(setting, rms, arrival, weight) == pytest.approx(1e-5 / (1 - momentum), rel=0.03)


@pytest.mark.parametrize("rule", ["adam", "nadam", "radam", "rmsprop", "rmsprop_momentum"])
@given(rms=st.floats(1e-3, 10.0), arrival=st.floats(0.11, 1.0), strength=st.floats(1e-6, 1e-1))
@settings(max_examples=4)
def test_l2_under_adam_is_its_closed_form(rule: str, rms: float, arrival: float, strength: float) -> None:
    setting = make(rule, "l2", lr=1e-4, strength=strength)
    formula = formula_rate(setting, Gradients(rms, arrival))
    assert formula is not None
    small = min(1.0, rms * math.sqrt(arrival) / (30 * strength))
    # 1 / sqrt(v) fluctuates with memory x arrival gradients, 10 at the least here, and RAdam is not yet at its end.
    assert measured(setting, rms, arrival, small) == pytest.approx(formula, rel=0.08)


def test_no_strength_no_pull() -> None:
    assert np.all(pull_rates(make("adam", "l2"), 1e-3, 0.1, 1.0) == 0)


def test_points_are_measured_alike_alone_and_together() -> None:
    setting = make("adam", "l2", strength=1e-4)
    looks = (50, 400)
    together = pull_rates(setting, [1e-3, 1e-2], [0.1, 0.5], [0.5, 1.0], looks=looks)
    assert together.shape == (1, 2, 8)
    for k, point in enumerate(((1e-3, 0.1, 0.5), (1e-2, 0.5, 1.0))):
        assert np.array_equal(pull_rates(setting, *point, looks=looks)[:, 0], together[:, k])


def test_intervals_of_one_look_add_up() -> None:
    setting = make("sgd", "l2", lr=0.1, strength=0.1)
    parts, whole = (pull_rates(setting, 1.0, 0.5, 1.0, looks=looks) for looks in ((0, 10, 40), (0, 40)))
    np.testing.assert_allclose(10 * parts[0] + 30 * parts[1], 40 * whole[0], rtol=1e-12)


def test_adagrads_pull_falls_as_one_over_the_root_of_time() -> None:
    setting = make("adagrad", "l2", strength=1e-4)
    early, late = (
        float(pull_rates(setting, 1e-2, 0.5, 0.5, after=n, looks=(0, 200))[0, 0].mean()) for n in (4_000, 16_000)
    )
    assert early / late == pytest.approx(2, rel=0.05)


def test_where_a_weight_changes_sign_the_pull_is_no_share() -> None:
    # L2 by far larger than the gradients: Adam's steps of lr carry both lanes through 0 and back.
    assert np.isnan(pull_rates(make("adam", "l2", lr=0.1, strength=1.0), 1e-6, 1.0, 1.0, looks=(5, 14))).any()


@pytest.mark.parametrize("rule", sorted(RULES))
def test_memory_is_that_of_the_slowest_mean(rule: str) -> None:
    setting = make(rule, "none")
    kept = [
        v for name, v in RULES[rule].defaults.items() if name.startswith("beta") or name in ("momentum", "alpha", "rho")
    ]
    assert memory(setting) == pytest.approx(max([1.0, *(-1 / math.log(v) for v in kept if v)]))
    assert 10 < settling(setting) < 10_000


@pytest.mark.parametrize(("rms", "arrival"), [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, 1.1)])
def test_gradients_that_cannot_be_are_refused(rms: float, arrival: float) -> None:
    with pytest.raises(InputError, match="is accepted"):
        Gradients(rms, arrival)


def test_a_pull_that_is_fast_beside_the_momentum_has_no_closed_form() -> None:
    seen = Gradients(1e-3)
    assert formula_rate(make("adam", "l2", strength=1e-3), seen) == pytest.approx(1e-3, rel=1e-4)
    # The heavy ball overshoots there: (1 - beta1) lr strength / rms > (1 - sqrt(beta1))^2.
    assert formula_rate(make("adam", "l2", strength=0.1), seen) is None
    assert formula_rate(make("momentum", "l2", strength=2.0), seen) is None
    assert formula_rate(make("sgd", "l2", strength=2.0), seen) == 0.2


@pytest.mark.parametrize("rule", ["sgd", "lion", "lars", "lamb"])
def test_a_slow_pull_is_measured_beside_what_the_rule_does_by_itself(rule: str) -> None:
    # Steps of the last two depend on the weight's size; looks that are given are always taken with and without the pull.
    asked = make(rule, "decoupled_lr", strength=1e-6)
    chosen, given = (pull_rates(asked, 1e-3, 0.5, 0.5, after=100, looks=looks) for looks in ((), (5_000, 20_000)))
    np.testing.assert_allclose(chosen, given, rtol=1e-5)
