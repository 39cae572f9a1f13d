"""What the stored runs' networks say of a forecast, and the dial."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from foreseen import drawn, record

from dynamics.answers.setting import parse
from dynamics.errors import InputError
from fullscale.forecast import judge
from fullscale.forecast.answer import forecast
from fullscale.forecast.dial import FARTHEST, changes
from fullscale.forecast.score import area, area_within
from fullscale.forecast.study import Network, example
from fullscale.spec import RunSpec

# the stored runs' numbers

SPEC = RunSpec("", 0.125, "adam", "l2", lr=1e-2, strength=5e-3, batch=16, epochs=1, seed=0, schedule="constant")


def network(dead: list[int], died: dict[int, float] | None = None, seed: int = 0, **others: Any) -> Network:
    """Of 24 filters, at 10% of 5,000 steps."""
    steps = died or {}
    deaths = {"step": list(steps.values()), "filter": list(steps), "revived": [None] * len(steps)}
    seen = replace(drawn(seed), **others)
    flags = np.isin(np.arange(24), dead).astype(int).tolist()
    return Network("a", SPEC, 5000, {"seen": {"0.1": seen.as_dict()}, "dead_by_activation": flags, "deaths": deaths})


def test_a_network_of_too_few_that_die_or_live_has_no_area() -> None:
    for dead, counts in ((4, False), (5, True), (19, True), (20, False)):
        one = network(list(range(dead)))
        assert (len(judge.asked(one, 0.1)) == 24) == counts
        assert np.isfinite(judge.within(one, 0.1)) == counts
    buried = network(list(range(9)), alive=np.arange(24) >= 5)  # 4 of those that are still alive
    assert not len(judge.asked(buried, 0.1))


def test_gains_are_the_forecasts_area_minus_that_of_small_gamma() -> None:
    one = network(list(range(0, 24, 2)))
    seen, p = one.seen(0.1), one.forecast(0.1).probability
    areas = [area_within(x, one.dead, seen.layer) for x in (p, -seen.now, -seen.norm)]
    assert judge.within(one, 0.1) == areas[0] - areas[1]
    assert judge.within_norm(one, 0.1) == areas[0] - areas[2]
    assert judge.bias(one, 0.1) == pytest.approx(100 * (p.mean() - 0.5))
    pooled, dies = judge.probabilities([one, one], 0.1)
    assert (len(pooled), dies.sum()) == (48, 24)


def test_on_time_is_within_a_factor_of_one_and_a_half() -> None:
    expected = network([]).forecast(0.1).step
    coming = np.flatnonzero(np.isfinite(expected))[:8].tolist()
    factors = [1.4, 1.4, 1.4, 1.6, 0.7, 0.6, 1.0, 1.0]
    died = {i: expected[i] * factor for i, factor in zip(coming, factors, strict=True)}
    assert judge.on_time(network(coming, died), 0.1) == pytest.approx(100 * 6 / 8)
    few = dict(list(died.items())[:4])
    assert np.isnan(judge.on_time(network(coming[:4], few), 0.1))
    early = died | {coming[0]: 400.0}  # before the moment: not asked
    assert judge.on_time(network(coming, early), 0.1) == pytest.approx(100 * 5 / 7)
    assert np.isnan(network([0], {1: 900.0}).died).all()  # it came back to life


def test_the_rival_has_not_seen_the_network_itself() -> None:
    others = [network(list(range(seed, 24, 2)), seed=seed) for seed in (1, 2)]
    rivals = []
    for dead in (list(range(12)), list(range(12, 24)), list(range(6, 18))):
        one = network(dead)
        gain = judge.pooled([one, *others])(one, 0.1)
        rival = judge.gamma_and_layer(others, one, 0.1)
        assert gain == area(one.forecast(0.1).probability, one.dead) - area(rival, one.dead)
        rivals.append(rival)
    np.testing.assert_array_equal(rivals[0], rivals[1])
    alone = network(list(range(12)))
    assert np.isnan(judge.pooled([alone])(alone, 0.1))


def test_a_setting_of_one_number_is_named_as_left_out() -> None:
    found = [network(list(range(12)), seed=seed) for seed in range(3)]
    alone = replace(network(list(range(12))), label="b")
    said = judge.over_settings([*found, alone], judge.bias, 0.1, "points")
    [estimate] = said.values()
    assert estimate.value == pytest.approx(np.mean([judge.bias(one, 0.1) for one in found]))


# the dial


@pytest.mark.parametrize("share", [0.35, 0.8])
def test_what_is_changed_gives_the_share_that_was_asked_for(share: float) -> None:
    seen, setting = example(), parse("adam lr=1e-2 l2=5e-3")
    found = changes(seen, setting, 4500, share)
    numbers = [change for change in found if change.knob != "coupling"]
    assert {change.knob for change in numbers} == {"strength", "lr"}
    for change in numbers:
        assert 1 / FARTHEST <= change.factor <= FARTHEST
        assert change.share == pytest.approx(share, abs=0.01)
        # Once more, from what it says, with four times as many courses.
        assert forecast(seen, change.setting, 4500).share == pytest.approx(share, abs=0.02)
    assert found[: len(numbers)] == numbers
    away = [abs(np.log(change.factor)) for change in numbers]
    assert away == sorted(away)
    distances = [abs(change.share - share) for change in found[len(numbers) :]]
    assert distances == sorted(distances)
    assert len(distances) == 6


def test_a_share_that_cannot_be_met_gives_the_nearest_end() -> None:
    seen, setting = record([6], alive=np.array([False, False, True, True, True, True])), parse("adam lr=1e-2 l2=5e-3")
    [low] = [change for change in changes(seen, setting, 1000, 0.0) if change.knob == "strength"]
    assert low.factor == pytest.approx(1 / FARTHEST, rel=1e-3)
    assert low.share >= 2 / 6
    assert all(change.knob != "strength" for change in changes(seen, replace(setting, strength=0.0), 1000, 0.5))
    with pytest.raises(InputError, match=r"^share 2"):
        changes(seen, setting, 1000, 2.0)
    nothing = record([2], alive=np.array([False, False]), gamma=np.nan)
    with pytest.raises(InputError, match="a forecast of no filters"):
        changes(nothing, setting, 1000, 0.5)
