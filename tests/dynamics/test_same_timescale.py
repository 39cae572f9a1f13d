"""Over a schedule both settings take the same off a weight, as simulated."""

from __future__ import annotations

import math

import pytest

from dynamics.answers.same_timescale import same_timescale
from dynamics.answers.setting import parse
from dynamics.errors import InputError
from dynamics.simulate.lanes import simulate
from dynamics.simulate.schedules import Schedule, constant, cosine, step_decay

STEPS = 2_000
COURSES = {"constant": constant(), "cosine": cosine(STEPS), "step": step_decay([STEPS * 4 // 5])}


def lost(text: str, schedule: Schedule) -> float:
    """-log of what is left of a weight without a gradient."""
    setting = parse(text)
    lanes = {"lr": setting.lr, "strength": setting.strength, **setting.hyper}
    w = simulate(setting.rule, setting.coupling, record=[STEPS], lanes=lanes, schedule=schedule).w
    return -math.log(float(w[0, 0]))


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("adamw lr=1e-3 wd=0.1", "adam lr=1e-3 coupling=decoupled_constant"),
        ("adamw lr=1e-3 wd=0.1", "adam lr=2e-3 coupling=corrected"),
        ("adam lr=1e-3 decoupled_schedule=1e-4", "sgd lr=0.1"),
        ("sgd lr=0.1 l2=1e-3", "sgdw lr=0.02 momentum=0.9"),
    ],
)
def test_both_lose_the_same_over_the_schedule(source: str, target: str, course: str) -> None:
    found = same_timescale(source, target, COURSES[course], STEPS)
    both = lost(source, COURSES[course]), lost(found.target, COURSES[course])
    assert both[1] == pytest.approx(both[0], rel=2e-3)
    assert STEPS / found.timescale == pytest.approx(both[0], rel=2e-3)


def test_at_a_constant_rate_it_is_one_over_lr_strength() -> None:
    found = same_timescale("adamw lr=1e-3 wd=0.1", "lion lr=1e-4", constant(), 100)
    assert found.timescale == pytest.approx(1e4)
    assert [found.strength, found.start] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("source", "target", "steps", "message"),
    [
        ("adam l2=1e-4", "adamw", 10, "gradient rms is needed: the pull of adam with l2"),
        ("adamw wd=0", "sgdw", 10, "has no regularizer"),
        ("adamw", "sgd coupling=none", 10, "a rule and coupling whose pull has a closed form"),
        ("adamw", "sgdw", 0, "steps 0"),
    ],
)
def test_what_has_no_timescale_is_refused(source: str, target: str, steps: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        same_timescale(source, target, constant(), steps)
