"""Weights and sizes under schedules: the curves are the data, and the title follows them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable
from scipy import stats

from figures.schedules import draw
from synthetic.scheduled import Scheduled


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@cache
def small() -> xr.Dataset:
    return Scheduled(seeds=3, weights=64, silent_steps=200, averaged_steps=5).run()


def test_curves_and_bands_are_the_data() -> None:
    data = small()
    picture = draw(data)
    assert picture.name == "schedules"
    panels = picture.figure.axes
    for column, schedule in enumerate(data.schedule.values):
        above, below = panels[column], panels[column + 3]
        at = data.sel(schedule=schedule)
        floor, adam, rmsprop, decay = above.lines
        np.testing.assert_allclose(floor.get_ydata(), 1 - at["gone"])
        np.testing.assert_array_equal(adam.get_ydata(), at["silent"].sel(optimizer="adam", coupling="l2"))
        np.testing.assert_array_equal(rmsprop.get_ydata(), at["silent"].sel(optimizer="rmsprop", coupling="l2"))
        np.testing.assert_array_equal(decay.get_ydata(), at["silent"].sel(optimizer="adam", coupling="decoupled_lr"))
        rate, *sizes = below.lines
        np.testing.assert_allclose(rate.get_ydata(), at["rates"] / 0.1)
        for line, band, sized in zip(sizes, below.collections, ("decoupled_lr", "corrected"), strict=True):
            samples = at["mean_square"].sel(sized=sized).values / 0.1
            np.testing.assert_allclose(line.get_ydata(), samples.mean(axis=0))
            half = stats.sem(samples) * stats.t.ppf(0.975, 2)
            edge = band.get_paths()[0].vertices[:, 1]
            assert edge.max() == pytest.approx((samples.mean(axis=0) + half).max())


def test_the_title_is_computed() -> None:
    data = small().copy(deep=True)
    middle = {"schedule": "cosine", "step": 400}
    data["mean_square"].loc[{**middle, "sized": "decoupled_lr"}] = 0.071
    data["mean_square"].loc[{**middle, "sized": "corrected"}] = 0.033
    title = draw(data).figure.get_suptitle()
    assert "rate at 0.50, AdamW's size at 0.71, with corrected decay 0.33" in title


@pytest.mark.parametrize("odd", [False, True])
def test_it_can_be_read_and_says_how_many(odd: bool) -> None:
    data = small().copy(deep=True)
    if odd:  # sizes that grow, weights that all end together
        data["mean_square"] *= 12
        data["silent"] *= 0
    picture = draw(data)
    assert_readable(picture.figure)
    assert "n = 3 seeds of 64 weights" in picture.caption
    assert "n = 1 path" in picture.caption
    assert picture.alt.endswith(".")
