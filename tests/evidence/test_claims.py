"""What an estimate is worth, and how a rule turns it into one of three verdicts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynamics.errors import InputError
from evidence.claim import (
    Claim,
    Decision,
    Estimate,
    above,
    below,
    every_cell,
    judge,
    mean_interval,
    ratio_interval,
    spread,
    within,
)

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
samples = st.lists(numbers, min_size=2, max_size=30)


@given(samples, st.floats(0.5, 0.999))
def test_mean_interval_is_that_of_scipy(values: list[float], confidence: float) -> None:
    found = mean_interval(values, "points", "seeds", confidence)
    half = stats.sem(values) * stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    assert (found.n, found.unit) == (len(values), "points")
    assert found.value == pytest.approx(np.mean(values))
    assert found.high - found.value == pytest.approx(half, rel=1e-6, abs=1e-9)
    assert found.value - found.low == pytest.approx(half, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_intervals_cover_the_truth_as_often_as_they_say(n: int) -> None:
    # Five samples with the normal distribution's 1.96 in place of Student's quantile would cover in 88% of cases.
    repeats, draws = 3_000, np.random.default_rng(n)
    noise = draws.normal(3.0, 2.0, (repeats, n))
    means = [mean_interval(row, "", "seeds") for row in noise]
    ratios = [ratio_interval(row, "", "seeds") for row in np.exp(noise)]
    allowed = 4 * math.sqrt(0.95 * 0.05 / repeats)
    assert np.mean([e.low <= 3 <= e.high for e in means]) == pytest.approx(0.95, abs=allowed)
    assert np.mean([e.low <= math.exp(3) <= e.high for e in ratios]) == pytest.approx(0.95, abs=allowed)


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=20), st.floats(1e-3, 1e3))
def test_ratio_interval_scales_and_inverts_with_its_samples(values: list[float], factor: float) -> None:
    found = ratio_interval(values, "", "seeds")
    scaled = ratio_interval(factor * np.array(values), "", "seeds")
    inverse = ratio_interval(1 / np.array(values), "", "seeds")
    assert found.value == pytest.approx(stats.gmean(values))
    assert scaled.value == pytest.approx(factor * found.value)
    assert (inverse.low, inverse.high) == pytest.approx((1 / found.high, 1 / found.low))


@given(st.lists(numbers, min_size=1))
def test_spread_is_the_median_between_the_smallest_and_the_largest(values: list[float]) -> None:
    found = spread(values, "points")
    assert (found.low, found.high, found.n) == (min(values), max(values), len(values))
    assert found.value == pytest.approx(np.median(values))
    assert found.interval == "smallest to largest"


def test_samples_that_give_no_interval_are_refused() -> None:
    for values in ([], [1.0]):
        with pytest.raises(InputError, match=f"^{len(values)} samples: an interval needs two or more$"):
            mean_interval(values, "", "seeds")
    with pytest.raises(InputError, match=r"^0 samples: at least one is needed$"):
        spread([], "")
    for wrong in (0.0, -2.0, math.nan):
        with pytest.raises(InputError, match=f"^ratio {wrong}: positive numbers are accepted$"):
            ratio_interval([1.0, wrong, 2.0], "", "seeds")


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 5, "", "")


whole = st.integers(-6, 6)
intervals = st.tuples(whole, whole).map(sorted)


def verdict_of(points: range, agrees: list[bool]) -> str:
    """The verdict by looking at every point of the interval; with whole thresholds no point lies between."""
    assert len(points) == len(agrees)
    return "holds" if all(agrees) else "undecided" if any(agrees) else "fails"


@given(intervals, whole)
def test_above_and_below_give_a_verdict_only_where_the_whole_interval_agrees(ends: list[int], threshold: int) -> None:
    points, found = range(ends[0], ends[1] + 1), estimate(*ends)
    assert above(threshold)(found) == verdict_of(points, [x > threshold for x in points])
    assert below(threshold)(found) == verdict_of(points, [x < threshold for x in points])


@given(intervals, intervals)
def test_within_gives_a_verdict_only_where_the_whole_interval_agrees(ends: list[int], allowed: list[int]) -> None:
    points = range(ends[0], ends[1] + 1)
    # An interval that reaches over both ends of the allowed one decides nothing, as any that meets it in part.
    assert within(*allowed)(estimate(*ends)) == verdict_of(points, [allowed[0] <= x <= allowed[1] for x in points])


@given(st.lists(whole, min_size=1), intervals)
def test_one_sample_outside_refutes_what_is_said_of_every_sample(values: list[int], allowed: list[int]) -> None:
    inside = all(allowed[0] <= x <= allowed[1] for x in values)
    assert within(*allowed)(spread(values, "")) == ("holds" if inside else "fails")


DECISIONS = st.sampled_from([above(0), below(1), within(-1, 2)])
GRIDS = st.dictionaries(st.text("abc", min_size=1), st.lists(whole, min_size=2, max_size=4), min_size=1, max_size=6)


@given(GRIDS, DECISIONS)
def test_a_claim_about_every_cell_holds_in_all_and_fails_in_one(grid: dict[str, list[int]], decision: Decision) -> None:
    cells = every_cell(grid, "points")
    found = judge(Claim("X", "", "", "", lambda data: cells, decision), None)
    verdicts = {decision(estimate) for estimate in cells.values()}
    assert found.verdict == ("fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds")
    name = found.estimate.interval.split("the worst: ")[1]
    assert found.estimate == replace(cells[name], interval=found.estimate.interval)
    for values, estimate in zip(grid.values(), cells.values(), strict=True):
        alone = mean_interval(values, "points", "seeds", 1 - 0.05 / len(grid))
        assert (estimate.value, estimate.low, estimate.high) == (alone.value, alone.low, alone.high)


def test_intervals_of_cells_hold_at_once_as_often_as_they_say() -> None:
    # Ten intervals that each hold in 95% of cases hold together in 60%.
    draws, repeats = np.random.default_rng(1), 400
    held = [
        all(e.low <= 3 <= e.high for e in every_cell({str(k): row for k, row in enumerate(noise)}, "").values())
        for noise in draws.normal(3.0, 2.0, (repeats, 10, 5))
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / repeats))


def test_the_worst_cell_is_one_that_refutes_before_one_that_is_not_known() -> None:
    cells = {"good": [1.0, 1.1], "none": [math.nan, 1.0], "bad": [-3.0, -3.01]}
    worst = above(0).worst(every_cell(cells, "points", interval=lambda x, u, o, c: mean_interval(x, u, o)))
    assert (worst.value, worst.interval.split(", ")[-1]) == (pytest.approx(-3.005), "the worst: bad")
    del cells["bad"]
    for nothing in (every_cell(cells, "points"), {}):
        found = judge(Claim("X", "", "", "", lambda data: data, above(0)), nothing)
        assert (found.verdict, found.estimate.n) == ("undecided", 2 if nothing else 0)


def test_an_interval_that_is_not_a_number_decides_nothing() -> None:
    for decision in (above(0), below(0), within(-1, 1)):
        for part in ("value", "low", "high"):
            for unknown in (math.nan, math.inf, -math.inf):
                found = replace(estimate(-0.5, -0.25), **{part: unknown})
                assert judge(Claim("X", "", "", "", lambda data: data, decision), found).verdict == "undecided"


def test_a_missing_sample_leaves_a_claim_undecided() -> None:
    claim = Claim("X", "", "", "", lambda data: mean_interval(data, "", "seeds", 0.9), above(0))
    for samples, verdict in (([5.0, 5.1, 5.2], "holds"), ([5.0, math.nan, 5.2], "undecided"), ([-5.0, -5.1], "fails")):
        found = judge(claim, samples)
        assert (found.verdict, found.claim, found.estimate.n) == (verdict, claim, len(samples))
        assert found.estimate.interval == "90% t-interval over seeds"
