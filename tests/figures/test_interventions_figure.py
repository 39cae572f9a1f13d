"""The figure of the trial inside of networks: marks and words follow the records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pictures import assert_readable, interval, title_of

from figures import interventions
from fullscale.interventions.arms import ARMS, NONE, TRIALS
from fullscale.interventions.estimate import effect

MOVES = {NONE: 0, "scale 0.1": 30, "scale 10": -30, "arrival 0.1": 12, "arrival 0.1, mean kept": 0, "strength 0": -40}


def records(trial: str, sense: int = 1, networks: int = 4) -> list[dict[str, Any]]:
    """Of 100 filters, half of them treated; by MOVES more of these die, in points, or fewer."""
    found = []
    for seed in range(networks):
        for arm in TRIALS[trial].arms:
            dead = 25 + sense * MOVES.get(arm, 5) // 2 + (seed % 3 - 1) * (arm != NONE)
            died = [9] * dead + [None] * (50 - dead) + [9, None] * 25
            marks = {"alive": [1] * 100, "treated": [1] * 50 + [0] * 50}
            found.append({"arm": arm, "seed": seed, "moment": 1, "epochs": 11, "layers": [100], "died": died, **marks})
    return found


@pytest.mark.parametrize(
    ("sense", "said"),
    [(1, "Smaller gradients (+30 points) and rare ones of equal mean square (+12) kill"), (-1, "kill filters")],
)
def test_title_and_marks_follow_the_records(sense: int, said: str) -> None:
    trials = {name: records(name, sense) for name in TRIALS}
    picture = interventions.draw(trials)
    assert_readable(picture.figure)
    title = title_of(picture.figure)
    assert said in title
    assert ("larger gradients" in title.lower().split("kill")[0]) == (sense < 0)
    assert "do neither for sure" in title
    assert "digits: n = 4 networks of 100 filters, 50 to 50 treated" in picture.caption
    assert "nan" not in picture.alt
    [axes] = picture.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(interventions.ROWS.values())
    seen = {
        (line.get_marker(), round(float(line.get_xdata()[0]), 6)) for line in axes.lines if line.get_markersize() >= 4
    }
    whiskers = {tuple(np.round(line.get_xdata(), 6)) for line in axes.lines if line.get_marker() == "None"}
    for name, mark in (("digits", "o"), ("cifar", "D")):
        for arm in set(TRIALS[name].arms) - {NONE}:
            mean, ends = interval(effect(trials[name], arm))
            assert (mark, round(float(mean), 6)) in seen
            assert tuple(np.round(ends, 6)) in whiskers


def test_a_trial_that_has_only_begun_can_be_drawn() -> None:
    few = [r for r in records("digits") if r["arm"] in (NONE, "scale 10", "strength 0")]
    picture = interventions.draw({"digits": few, "cifar": records("cifar", networks=1)})
    assert_readable(picture.figure)
    assert len(picture.figure.axes[0].get_yticklabels()) == 2
    assert "CIFAR" not in picture.alt


def test_every_arm_has_its_row_and_every_kind_its_colour() -> None:
    assert set(interventions.ROWS) == set(ARMS) - {NONE}
    assert {ARMS[arm].kind for arm in interventions.ROWS} == set(interventions.KINDS)
