"""Sparsity over thresholds: what is drawn is what was measured, and the titles are computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable
from scipy import stats

from figures.thresholds import draw, harmless
from fullscale.thresholds import by_threshold, decades

FLAT = [0.5] * 14 + [0.75]
STEEP = [0.03 * k for k in range(15)]
CLIFF = [0.1] * 14 + [0.9]


def point(activation: list[float], scale: list[float], error: list[float], low: float = 1e-14) -> dict[str, Any]:
    values = decades(low)
    count = len(values)
    return {
        "thresholds": values,
        "sparsity": {"activation": activation[-count:], "scale": scale[-count:]},
        "error": {"activation": error[-count:], "scale": error[-count:]},
        "error_before": 0.1,
        "filters": 232,
        "images": 1438,
        "test_images": 359,
    }


def measured() -> xr.Dataset:
    """Three networks of different levels; flat by activation, steep by scale."""
    return by_threshold(
        {s: point([x + 0.01 * s for x in FLAT], [x + 0.02 * s for x in STEEP], CLIFF) for s in range(3)},
        model="BasicNet",
        data="digits",
    )


ODD = {
    "none": point([0.0] * 15, [0.0] * 15, [0.1] * 15),
    "all": point([1.0] * 15, [1.0] * 15, [0.9] * 15),
    "better": point(FLAT, STEEP, [0.1] * 14 + [0.02]),
    "apart": point(FLAT, STEEP, CLIFF, low=2e-3),
    "narrow": point(FLAT, STEEP, CLIFF, low=0.5),
}


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("name", ["measured", *ODD])
def test_no_text_lies_on_another_or_is_cut(name: str) -> None:
    picture = draw(measured() if name == "measured" else by_threshold({0: ODD[name]}))
    assert_readable(picture.figure)
    assert picture.alt.endswith(".")
    assert "nan" not in picture.alt


def test_each_panel_draws_means_with_their_intervals() -> None:
    data = measured()
    picture = draw(data)
    assert picture.name == "thresholds"
    lost = 100 * (data["error"] - data["error_before"])
    for axes, values in zip(picture.figure.axes, (100 * data["sparsity"], lost), strict=True):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 15]
        for line, band, name in zip(lines, axes.collections[::2], ("activation", "scale"), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), data.threshold)
            here = values.sel(measure=name)
            np.testing.assert_allclose(line.get_ydata(), here.mean("seed"), atol=1e-12)
            half = stats.sem(here.values, axis=1) * stats.t.ppf(0.975, 2)
            edges = band.get_paths()[0].get_extents()
            assert edges.y1 == pytest.approx(float((here.mean("seed") + half).max()))
            assert edges.y0 == pytest.approx(float((here.mean("seed") - half).min()))
    assert len({line.get_marker() for line in picture.figure.axes[0].lines if len(line.get_xdata()) == 15}) == 2


def test_the_flat_range_is_marked_where_it_is() -> None:
    [broad] = [line for line in draw(measured()).figure.axes[0].lines if line.get_linewidth() > 5]
    assert broad.get_xdata() == pytest.approx([1e-14, 1e-1])
    # The mean share at the paper's threshold.
    assert broad.get_ydata() == pytest.approx([51, 51])


def test_the_titles_are_computed() -> None:
    picture = draw(measured())
    assert picture.figure.get_suptitle() == "By activation flat over 13 decades; by scale flat over less than a decade"
    assert picture.figure.axes[1].get_title(loc="left") == "zeroing costs under a point up to 0.1"
    even = draw(by_threshold({0: ODD["none"]}))
    assert even.figure.get_suptitle() == "Inactive filters, both measures: flat over 14 decades"
    assert "a point or more" in draw(by_threshold({0: ODD["all"]})).figure.axes[1].get_title(loc="left")
    assert "not swept at the paper's threshold" in draw(by_threshold({0: ODD["apart"]})).figure.get_suptitle()


def test_flat_means_flat_in_every_network() -> None:
    early, late = [0.25] * 5 + [0.5] * 10, [0.25] + [0.5] * 14
    data = by_threshold({0: point(early, STEEP, CLIFF), 1: point(late, STEEP, CLIFF)})
    # 1e-14 to 1e-10 in one, 1e-13 to 1 in the other.
    assert "By activation flat over 3 decades" in draw(data).figure.get_suptitle()


def test_harmless_ends_where_any_network_loses_a_point() -> None:
    data = measured()
    assert harmless(data, "scale") == 0.1
    data["error"].loc[{"measure": "scale", "threshold": 1e-6, "seed": 1}] = 0.12
    assert harmless(data, "scale") == 1e-7
    assert harmless(data, "activation") == 0.1


def test_the_caption_says_how_many() -> None:
    caption = draw(measured()).caption
    for part in ("n = 3 seeds", "95% t-interval", "BasicNet on digits", "232 filters", "1,438 training", "359 test"):
        assert part in caption
    assert "n = 1 network, so no interval" in draw(by_threshold({0: ODD["none"]})).caption


def test_data_are_left_as_they_were() -> None:
    data = measured()
    draw(data)
    xr.testing.assert_identical(measured(), data)
