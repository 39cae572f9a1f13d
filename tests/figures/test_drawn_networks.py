"""Figures of networks and of speed draw what was measured, and their titles are computed."""

from __future__ import annotations

import itertools
from typing import Any

import comparison
import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import interval, title_of
from worlds import (
    CLIFF,
    EPOCHS,
    FILTERS,
    LANES,
    LENGTHS,
    OPTIMIZERS,
    SELECTIVE,
    SPEEDS,
    STEEP,
    STRENGTH,
    by_threshold,
    changed,
    death,
    drawn,
    measured,
    point,
    seen,
    timed,
)  # fmt: skip

from figures import monitor, pruning, scaling, thresholds
from figures.style import LINES, colour_of, label_of
from fullscale.monitor.summary import die_next
from fullscale.pruning_data import by_criterion


def test_alive_draws_means_with_their_intervals() -> None:
    [axes] = drawn("alive").figure.axes
    kept = 100 * (1 - measured("alive")["inactive_by_activation"])
    assert len(axes.lines) == len(axes.collections) == 8
    curves = {(to_hex(line.get_color()), line.get_linestyle()): line for line in axes.lines}
    bands = dict(zip(curves, axes.collections, strict=True))
    for name in OPTIMIZERS:
        for strength, style in ((STRENGTH, LINES["l2"]), (0.0, LINES["none"])):
            where = (colour_of(name).lower(), style)
            mean, ends = interval(kept.sel(optimizer=name, strength=strength).transpose("epoch", "seed").values)
            np.testing.assert_array_equal(curves[where].get_xdata(), EPOCHS)
            np.testing.assert_allclose(curves[where].get_ydata(), mean)
            edge = bands[where].get_paths()[0].vertices[:, 1]
            assert (edge.min(), edge.max()) == pytest.approx((ends.min(), ends.max()))
    assert {t.get_text() for t in axes.texts} == {*(f"{label_of(n)} + L2" for n in OPTIMIZERS), "all, no L2"}


def test_pruning_draws_means_thin_lines_of_each_network_and_a_star_for_the_dead() -> None:
    data = measured("pruning")
    panels = [(tuned, training) for tuned in ("no", "yes") for training in data.training.values]
    for axes, (tuned, training) in zip(drawn("pruning").figure.axes, panels, strict=True):
        at = data.sel(training=training, tuned=tuned)
        means = {to_hex(line.get_color()): line for line in axes.lines if line.get_marker() == "o"}
        for criterion in ("gamma",) if training == "slimming" else comparison.CRITERIA:
            line = means.pop(to_hex(pruning.CRITERIA[criterion][1]))
            np.testing.assert_allclose(line.get_xdata(), 100 * data.share)
            np.testing.assert_allclose(line.get_ydata(), 100 * at.test_error.sel(criterion=criterion).mean("seed"))
        assert not means
        thin = [line for line in axes.lines if len(line.get_xdata()) == 10 and line.get_marker() != "o"]
        assert len(thin) == 3 * (1 if training == "slimming" else 5)
        [star] = [line for line in axes.lines if line.get_marker() == "*"]
        assert star.get_xydata().tolist() == [[100 * comparison.DEAD[str(training)], 100 * comparison.OWN]]
        [limit] = [line for line in axes.lines if line.get_linestyle() == ":"]
        np.testing.assert_allclose(limit.get_ydata(), 3)
    altered = comparison.comparison({"selective": 0.7, "random": 0.3}, {"momentum": 0.7})
    title = title_of(pruning.draw(altered).figure)
    assert "momentum and L2 has silenced 70% of the filters" in title
    assert "selective removes 81%, chance 41%" in title


def test_pruning_at_one_error_has_one_limit_and_the_stars_of_what_is_not_cut_everywhere() -> None:
    data, axes = measured("pruning_vgg16"), drawn("pruning_vgg16").figure.axes
    assert len(axes) == 4
    for panel, (tuned, training) in zip(axes, itertools.product(("no", "yes"), ("momentum", "slimming")), strict=True):
        [limit] = [line for line in panel.lines if line.get_linestyle() == ":"]
        np.testing.assert_allclose(limit.get_ydata(), 100 * comparison.WHOLE["momentum"] + 1)
        own, adam, seeds = [line.get_xydata() for line in panel.lines if line.get_marker() == "*"]
        np.testing.assert_allclose(own, [[0, 100 * comparison.WHOLE[training]]])
        np.testing.assert_allclose(seeds[:, 0], 100 * data.dead_reached.sel(training="adam"))
        np.testing.assert_allclose(adam, [seeds.mean(axis=0)])
        [curve] = [line for line in panel.lines if line.get_marker() == "o"]
        criterion = "l1" if training == "momentum" else "gamma"
        errors = data.test_error.sel(training=training, criterion=criterion, tuned=tuned).mean("seed")
        np.testing.assert_allclose(curve.get_ydata(), 100 * errors)
    title = drawn("pruning_vgg16").figure.get_suptitle()
    assert title == "Filters gone at one test error: Adam and L2 51%, L1 norm 71%, abs(gamma) 60%"
    above = pruning.draw(by_criterion(comparison.at_one_error(whole={"adam": 0.3})))
    assert "Adam and L2 0%" in above.figure.get_suptitle()


def test_thresholds_draws_means_with_their_intervals_and_marks_the_flat_range() -> None:
    data, (left, right) = measured("thresholds"), drawn("thresholds").figure.axes
    lost = 100 * (data["error"] - data["error_before"])
    for axes, values in ((left, 100 * data["sparsity"]), (right, lost)):
        curves = [line for line in axes.lines if len(line.get_xdata()) == 15]
        for line, band, name in zip(curves, axes.collections, ("activation", "scale"), strict=True):
            mean, ends = interval(values.sel(measure=name).transpose("threshold", "seed").values)
            np.testing.assert_array_equal(line.get_xdata(), data.threshold)
            np.testing.assert_allclose(line.get_ydata(), mean, atol=1e-12)
            edges = band.get_paths()[0].get_extents()
            assert (edges.y0, edges.y1) == pytest.approx((ends.min(), ends.max()))
    assert len({line.get_marker() for line in left.lines if len(line.get_xdata()) == 15}) == 2
    [broad] = [line for line in left.lines if line.get_linewidth() > 5]
    assert broad.get_xdata() == pytest.approx([1e-14, 1e-1])
    assert broad.get_ydata() == pytest.approx([51, 51])  # the mean share at the paper's threshold


def test_the_titles_of_thresholds_are_computed() -> None:
    def titles(**points: dict[str, Any]) -> tuple[str, str]:
        figure = thresholds.draw(by_threshold(dict(enumerate(points.values())))).figure
        return title_of(figure), figure.axes[1].get_title(loc="left")

    figure = drawn("thresholds").figure
    assert title_of(figure) == "By activation flat over 13 decades; by scale flat over less than a decade"
    assert figure.axes[1].get_title(loc="left") == "zeroing costs under a point up to 0.1"
    none, everything = (point([share] * 15, [share] * 15, [error] * 15) for share, error in ((0.0, 0.1), (1.0, 0.9)))
    assert titles(one=none)[0] == "Inactive filters, both measures: flat over 14 decades"
    assert "a point or more" in titles(one=everything)[1]
    apart = point([0.5] * 15, STEEP, CLIFF, low=2e-3)
    assert "not swept at the paper's threshold" in titles(one=apart)[0]
    # Flat means flat in every network: 1e-14 to 1e-10 in one, 1e-13 to 1 in the other.
    early, late = (point([0.25] * k + [0.5] * (15 - k), STEEP, CLIFF) for k in (5, 1))
    assert "By activation flat over 3 decades" in titles(early=early, late=late)[0]


def test_harmless_ends_where_any_network_loses_a_point() -> None:
    assert thresholds.harmless(measured("thresholds"), "scale") == 0.1
    data = changed("thresholds", ("error", {"measure": "scale", "threshold": 1e-6, "seed": 1}, 0.12))
    assert thresholds.harmless(data, "scale") == 1e-7
    assert thresholds.harmless(data, "activation") == 0.1


def test_monitor_shows_what_was_seen() -> None:
    data = measured("monitor")
    left, middle, right = drawn("monitor").figure.axes
    for line, size in zip(left.lines, (10, 30), strict=True):
        layer = data["layer"] == ("blocks.0.norm" if size == 10 else "blocks.1.norm")
        np.testing.assert_allclose(line.get_ydata(), 100 * data["alive"].sel(filter=layer).mean("filter"))
    assert sum(patch.get_height() for patch in middle.patches) == 7
    assert [text.get_text() for text in middle.get_legend().get_texts()] == ["regularizer: 6", "noise: 1"]
    marked = right.collections[1].get_offsets()
    assert len(marked) == 6
    np.testing.assert_allclose(sorted(marked[:, 0]), sorted(np.linspace(0, 1, FILTERS)[34:]), atol=1e-6)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (range(34, 40), "who dies next was at mean rank 0.91 of selectivity in its layer (n = 6 deaths, one network)"),
        (range(10, 16), "at mean rank 0.09 of"),
        ((12, 20, 30, 38), "(n = 4 deaths, one network)"),
        ((), "too few deaths"),
    ],
)
def test_the_title_of_monitor_is_read_off_the_data(filters: Any, said: str) -> None:
    deaths = SELECTIVE if 34 in filters else [death(i, 1800) for i in filters]
    title = title_of(monitor.draw(seen(deaths)).figure)
    assert title.startswith(f"{len(deaths)} of 40 filters dead at the end;")
    assert said in title
    assert ("deaths: 6 by regularizer" in title) == (len(deaths) == 6)


def test_who_dies_next_is_who_dies_in_time_and_was_alive() -> None:
    deaths = [death(39, 1050), death(38, 1200), death(37, 1499), death(36, 1700), death(35, 400)]
    found = die_next(seen([*deaths, death(34, 1200, measure="scale")]), ahead=500, gap=100)
    at = found.moments == 1000
    assert set(found.filters[at & found.dies]) == {37, 38}
    assert 35 not in found.filters[at]
    assert 39 not in found.filters[at]  # as good as dead
    np.testing.assert_allclose(found.rank[at & (found.filters < 10)], np.linspace(0, 1, 10))
    assert set(found.moments) == {500, 1000, 1500, 2000, 2500, 3000}
    np.testing.assert_allclose(found.selectivity[at], np.linspace(0, 1, FILTERS)[found.filters[at]], atol=1e-6)
    # Ties share their mean rank, and one moment alone tells nothing.
    data = seen([])
    data["selectivity"][:] = 0.5
    assert set(die_next(data).rank) == {0.5}
    assert len(die_next(data.isel(step=slice(0, 5))).rank) == 0


def test_scaling_draws_medians_and_the_extremes() -> None:
    panels = drawn("scaling").figure.axes
    speeds = ([20, 190, 265, 270], SPEEDS, [270, 520, 530])
    for panel, at, middle in zip(panels, (LANES, LENGTHS, [1, 2, 4]), speeds, strict=True):
        curve = panel.lines[0]
        np.testing.assert_array_equal(curve.get_xdata(), at)
        np.testing.assert_allclose(curve.get_ydata(), middle)
        edge = panel.collections[0].get_paths()[0].vertices
        for x, s in zip(at, middle, strict=True):
            here = edge[edge[:, 0] == x][:, 1]
            assert (here.min(), here.max()) == pytest.approx((0.9 * s, 1.2 * s))
    np.testing.assert_allclose(panels[2].lines[1].get_ydata(), [270, 540, 540])  # twice as fast with two, and no more
    said = [panel.get_title(loc="left") for panel in panels]
    assert said == ["1,024 steps, 1 thread", "4,096 weights, 1 thread", "4,096 weights, 1,024 steps"]
    slower = title_of(scaling.draw(timed([200, 100, 50, 25], [200, 150, 100])).figure)
    assert "16 weights at once" in slower
    assert "2 threads are 0.75 times" in slower
    alone = title_of(scaling.draw(timed([20, 190, 265, 270], [270, 260], cores=1)).figure)
    assert alone.endswith("best speed")
