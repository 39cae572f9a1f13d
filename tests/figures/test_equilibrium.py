"""Predicted and simulated sizes: what is drawn is the data, and the title follows them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from pictures import assert_readable

from evidence.claim import mean_interval
from figures.equilibrium import draw
from synthetic.noise import Noise


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@cache
def small() -> xr.Dataset:
    return Noise(seeds=3, weights=4, settled=300, steps=500).run()


def marks(axes: Axes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """x, y and the interval's half width of each set of marks."""
    found = []
    for container in axes.containers:
        line, _, bars = container
        segments = bars[0].get_segments() if bars else []
        found.append((line.get_xdata(), line.get_ydata(), np.array([s[:, 1] for s in segments])))
    return found


def test_marks_and_intervals_are_the_data() -> None:
    data = small()
    picture = draw(data)
    assert picture.name == "equilibrium"
    axes = picture.figure.axes[list(data.optimizer.values).index("adam")]
    for (x, y, bars), coupling in zip(marks(axes), ("l2", "decoupled_lr"), strict=False):
        one = data.sel(optimizer="adam", coupling=coupling)
        known = one["predicted"].notnull().values
        np.testing.assert_array_equal(x, one["predicted"].values[known])
        samples = one["mean_square"].values[known]
        np.testing.assert_allclose(y, samples.mean(axis=1))
        np.testing.assert_allclose(bars, [[e.low, e.high] for e in (mean_interval(s, "", "") for s in samples)])


def test_crosses_stand_where_a_formula_is_stretched() -> None:
    data = small()
    axes = draw(data).figure.axes[list(data.optimizer.values).index("adam")]
    x, y, _ = marks(axes)[-1]
    decay = data.sel(optimizer="adam", coupling="decoupled_lr")
    np.testing.assert_array_equal(x, decay["predicted"].sel(arrival=1.0).values.ravel())
    np.testing.assert_allclose(y, decay["mean_square"].sel(arrival=0.01).mean("seed").values.ravel())
    assert {t.get_text() for t in axes.texts} == {"● L2", "□ decay x lr", "x p = 0.01, form of p = 1"}


def test_the_title_is_computed() -> None:
    data = small().copy(deep=True)
    data["mean_square"] = data["predicted"].fillna(1.0) * xr.ones_like(data["mean_square"])
    data["mean_square"].loc[{"optimizer": "sgd", "coupling": "l2", "arrival": 1.0}] *= 0.25
    common = data["predicted"].sel(optimizer="adam", coupling="decoupled_lr", arrival=1.0)
    rare = {"optimizer": "adam", "coupling": "decoupled_lr", "arrival": 0.01}
    data["mean_square"].loc[rare] = common * 0.7 * xr.ones_like(data["seed"], dtype=float)
    title = draw(data).figure.get_suptitle()
    assert "within a factor of 4;" in title
    assert "p = 0.01 are 0.7 of that" in title


def test_it_can_be_read_and_says_how_many() -> None:
    picture = draw(small())
    assert_readable(picture.figure)
    assert "n = 3 seeds of 4 weights" in picture.caption
    assert "95% t-interval" in picture.caption
    assert picture.alt.endswith(".")


def test_it_can_be_read_with_other_data() -> None:
    data = small().sel(optimizer=["sgd", "adam", "lion"]).copy(deep=True)
    data["mean_square"] *= 1e3
    picture = draw(data)
    assert_readable(picture.figure)
    assert [axes.get_title(loc="left") for axes in picture.figure.axes] == ["SGD", "Adam", "Lion"]
