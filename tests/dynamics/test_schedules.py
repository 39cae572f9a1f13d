"""Schedules start at 1, fall as said, and give every step the same multiplier whichever steps are asked with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.errors import InputError
from dynamics.simulate import schedules

SCHEDULES = {
    "constant": schedules.constant(),
    "step_decay": schedules.step_decay([30, 10, 20], 0.5),
    "cosine": schedules.cosine(40),
    "trapezoid": schedules.trapezoid(40, 15, 0.1),
}


@pytest.mark.parametrize("name", SCHEDULES)
@given(first=st.integers(0, 60), count=st.integers(0, 60))
def test_a_stretch_is_a_part_of_the_whole(name: str, first: int, count: int) -> None:
    whole = SCHEDULES[name](np.arange(120))
    assert whole[0] == 1
    assert np.all(np.diff(whole) <= 0)
    assert np.all((whole >= 0) & (whole <= 1))
    assert np.array_equal(SCHEDULES[name](np.arange(first, first + count)), whole[first : first + count])


def test_step_decay_falls_at_its_milestones_in_any_order() -> None:
    assert list(SCHEDULES["step_decay"](np.array([9, 10, 19, 20, 30, 1000]))) == [1, 0.5, 0.5, 0.25, 0.125, 0.125]
    assert list(schedules.step_decay([2], 0.0)(np.arange(4))) == [1, 1, 0, 0]
    assert list(schedules.step_decay([2])(np.arange(4))) == [1, 1, 0.1, 0.1]


def test_cosine_falls_to_half_halfway_and_stays_at_0() -> None:
    found = SCHEDULES["cosine"](np.array([0, 20, 40, 41, 10_000]))
    np.testing.assert_allclose(found, [1, 0.5, 0, 0, 0], atol=1e-15)


def test_factors_outside_0_to_1_and_a_cosine_over_nothing_are_refused() -> None:
    for factor in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"factor .*: a finite number from 0 to 1 is accepted"):
            schedules.step_decay([1], factor)
    for steps in (0, 10**400, 1.5):
        with pytest.raises(
            InputError, match=r"steps of a cosine .*: a whole number from 1 to 9,007,199,254,740,992 is"
        ):
            schedules.cosine(steps)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"milestone 1\.5: a whole number"):
        schedules.step_decay([1.5])  # type: ignore[list-item]
