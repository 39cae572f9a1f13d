"""What watched runs say of S6, against SciPy and against contrary data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, rankdata, spearmanr

from fullscale.watched.estimate import SIGNS, agreement, at, foretold, ranks

EPOCHS = [2, 4, 6, 8, 10, 12]


def record(seed: int, layers: tuple[int, ...] = (5, 9, 12), coarse: int = 6) -> dict[str, Any]:
    """A network of random numbers with many ties; some filters are inactive early, more of them at the end."""
    draws = np.random.default_rng(seed)
    filters = sum(layers)

    def column() -> list[list[float]]:
        return (draws.integers(0, coarse, (len(EPOCHS), filters)) / coarse).tolist()

    peak = draws.random((len(EPOCHS), filters)) + 0.5
    peak[:, draws.random(filters) < 0.2] = 0.0
    dead = (draws.random(filters) < 0.4) | (peak[0] == 0)
    return {name: column() for name in SIGNS} | {
        "layers": list(layers), "epochs": EPOCHS, "peak": peak.tolist(), "dead_by_activation": dead.astype(int).tolist(),
    }  # fmt: skip


def of_layers(found: dict[str, Any], row: int) -> list[slice]:
    ends = np.cumsum(found["layers"])
    return [slice(end - n, end) for end, n in zip(ends, found["layers"], strict=True)]


@given(st.integers(0, 10_000), st.sampled_from(["gamma", "weights"]), st.sampled_from([0.1, 0.3, 0.66]))
def test_the_agreement_is_scipys_rank_correlation_of_each_layer_weighted_by_its_active_filters(
    seed: int, of: str, moment: float
) -> None:
    found = record(seed)
    row = {0.1: 0, 0.3: 1, 0.66: 3}[moment]
    active = np.array(found["peak"][row]) > 0
    x, y = (np.array(found[name][row]) for name in ("selectivity", f"share_{of}"))
    each, weight = [], []
    for layer in of_layers(found, row):
        a, b = (v[layer][active[layer]] for v in (x, y))
        if len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
            each.append(spearmanr(a, b).statistic)
            weight.append(len(a))
    expected = np.average(each, weights=weight) if each else np.nan
    np.testing.assert_allclose(agreement([found], of, moment), [expected], atol=1e-12)


@given(st.integers(0, 10_000), st.sampled_from(sorted(SIGNS)), st.sampled_from([0.1, 0.3]))
def test_who_dies_is_scipys_mann_whitney_statistic_of_each_layer_over_all_pairs(
    seed: int, by: str, moment: float
) -> None:
    found = record(seed)
    row = {0.1: 0, 0.3: 1}[moment]
    active, dead = np.array(found["peak"][row]) > 0, np.array(found["dead_by_activation"]) == 1
    value = np.array(found[by][row]) * (1 if SIGNS[by] else -1)
    won = pairs = 0.0
    for layer in of_layers(found, row):
        dies, lives = value[layer][active[layer] & dead[layer]], value[layer][active[layer] & ~dead[layer]]
        if len(dies) and len(lives):
            won += mannwhitneyu(dies, lives).statistic
            pairs += len(dies) * len(lives)
    expected = won / pairs if pairs else np.nan
    np.testing.assert_allclose(foretold([found], by, moment), [expected], atol=1e-12)


@given(st.lists(st.floats(-2, 2).map(lambda x: round(x, 1)), min_size=1, max_size=30))
def test_ranks_are_scipys(values: list[float]) -> None:
    np.testing.assert_array_equal(ranks(np.array(values)), rankdata(values))


def test_layers_are_not_mixed() -> None:
    """Over all filters selectivity and share rise together; within each layer they do the opposite."""
    found = record(0, (4, 4))
    found["peak"] = np.ones((6, 8)).tolist()
    found["selectivity"] = [[0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]] * 6
    found["share_gamma"] = [[0.4, 0.3, 0.2, 0.1, 0.9, 0.8, 0.7, 0.6]] * 6
    found["dead_by_activation"] = [1, 0, 0, 0, 1, 1, 1, 0]
    assert agreement([found]) == pytest.approx([-1])
    # 3 pairs each, all against selectivity, though three of the four dead are of the more selective layer.
    assert foretold([found]) == pytest.approx([0])


def test_filters_that_are_inactive_already_or_have_no_number_do_not_count() -> None:
    found = record(0, (5,))
    found["peak"] = [[0.0, 1, 1, 1, 1]] * 6
    found["selectivity"] = [[1.0, 0.1, 0.2, 0.3, 0.9]] * 6
    found["share_gamma"] = [[0.0, 0.1, 0.2, 0.3, None]] * 6
    found["dead_by_activation"] = [1, 0, 0, 1, 0]
    assert agreement([found]) == pytest.approx([1])
    assert foretold([found]) == pytest.approx([2 / 3])
    assert foretold([found], "share_gamma") == pytest.approx([1])


def test_where_nothing_can_be_told_there_is_no_number() -> None:
    found = record(0, (5,))
    assert np.isnan(foretold([found | {"dead_by_activation": [0] * 5}])).all()
    assert np.isnan(agreement([found | {"selectivity": [[0.0] * 5] * 6}])).all()
    assert agreement([]).shape == foretold([]).shape == (0,)


def test_a_moment_is_the_nearest_measured_epoch() -> None:
    twelve = {"epochs": list(range(1, 13))}
    assert [twelve["epochs"][at(twelve, share)] for share in (0.01, 0.1, 0.3, 0.5)] == [1, 1, 4, 6]
    assert [EPOCHS[at({"epochs": EPOCHS}, share)] for share in (0.1, 0.25, 0.3)] == [2, 2, 4]
