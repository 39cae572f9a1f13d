"""Several contrasts at once: Holm's intervals against adjusted p-values worked out apart, and against Bonferroni's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynamics.errors import InputError
from dynamics.estimate import Estimate, holm, mean_interval

seeds = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8)
turns = st.lists(st.sampled_from([-5.0, -2.0, 0.0, 2.0, 5.0]), min_size=1, max_size=3, unique=True)
families = st.dictionaries(st.sampled_from("abcdef"), st.tuples(seeds, turns), min_size=1)


def misses(estimate: Estimate, margins: list[float]) -> bool:
    return all(estimate.high < margin or margin < estimate.low for margin in margins)


@given(families, st.sampled_from([0.9, 0.95, 0.99]))
def test_an_interval_misses_its_margins_where_the_adjusted_p_value_is_small(
    family: dict[str, tuple[list[float], list[float]]], level: float
) -> None:
    # Adjusted as everyone adjusts: sorted, times what is left, running maximum.
    raw = {
        name: max(float(stats.ttest_1samp(values, margin).pvalue) for margin in margins)
        for name, (values, margins) in family.items()
        if np.ptp(values) > 0
    }
    if len(raw) < len(family) or any(np.std(values) < 1e-6 for values, _ in family.values()):
        return
    order = sorted(raw, key=raw.__getitem__)
    adjusted = np.maximum.accumulate([raw[name] * (len(order) - k) for k, name in enumerate(order)])
    found = holm(
        {n: v for n, (v, _) in family.items()}, {n: m for n, (_, m) in family.items()}, "points", "seeds", level
    )
    assert list(found) == list(family)
    for name, p in zip(order, adjusted, strict=True):
        if abs(p - (1 - level)) > 1e-9:
            assert misses(found[name], family[name][1]) == (p < 1 - level)


@given(families)
def test_no_interval_is_wider_than_bonferronis_or_narrower_than_one_alone(
    family: dict[str, tuple[list[float], list[float]]],
) -> None:
    found = holm({n: v for n, (v, _) in family.items()}, {n: m for n, (_, m) in family.items()}, "points")
    for name, (values, _) in family.items():
        bonferroni = mean_interval(values, "points", "seeds", 1 - 0.05 / len(family))
        alone = mean_interval(values, "points", "seeds")
        half = found[name].high - found[name].low
        assert alone.high - alone.low <= half + 1e-12
        assert half <= bonferroni.high - bonferroni.low + 1e-12


def test_the_family_is_wrong_no_more_often_than_it_says() -> None:
    # Five contrasts that lie on their margin and five far from it: unadjusted intervals would be wrong in 23% of families.
    draws, repeats, wrong = np.random.default_rng(0), 600, 0
    for _ in range(repeats):
        noise = draws.normal(0, 1, (10, 5))
        noise[5:] += 100
        found = holm({str(k): row for k, row in enumerate(noise)}, {str(k): [0.0] for k in range(10)}, "points")
        assert all(found[str(k)].low > 0 for k in range(5, 10))
        wrong += any(misses(found[str(k)], [0.0]) for k in range(5))
    assert 0.02 < wrong / repeats < 0.05 + 4 * np.sqrt(0.05 * 0.95 / repeats)


def test_samples_without_spread_are_certain_or_on_their_margin() -> None:
    found = holm({"off": [3, 3], "on": [5, 5], "apart": [0, 9]}, {"off": [5], "on": [5], "apart": [5]}, "points")
    assert [found[name].interval.split("seeds, ")[1][:6] for name in found] == ["1 of 3", "3 of 3", "2 of 3"]
    assert (found["off"].low, found["off"].high) == (3, 3)


@pytest.mark.parametrize(
    ("samples", "margins", "said"),
    [
        ({"a": [1, 2]}, {}, "contrast 'a' has no margins"),
        ({"a": [1, 2]}, {"a": []}, "contrast 'a' has no margins"),
        ({"a": [1, 2]}, {"a": [0], "b": [0]}, "contrast 'b' has no samples"),
        ({"a": [1]}, {"a": [0]}, "1 samples"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    samples: dict[str, list[float]], margins: dict[str, list[float]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        holm(samples, margins, "points")
