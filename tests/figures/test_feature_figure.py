"""Silent features against selectivity as drawn: shares, exact intervals and title are those of the data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from pictures import assert_readable
from scipy.stats import binomtest

from figures import feature
from figures.style import colour_of
from synthetic.feature import Feature


@cache
def world() -> xr.Dataset:
    return Feature(images=64, epochs=12, seeds=5, tuning_seeds=1).run()


def odd() -> xr.Dataset:
    """Everything silent under one optimizer, nothing under the others."""
    data = world().copy(deep=True)
    data["inactive"] *= 0
    data["inactive"].loc[{"optimizer": "rmsprop"}] = 1
    return data


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("make", [world, odd])
def test_no_text_lies_on_another_or_is_cut(make) -> None:
    assert_readable(feature.draw(make()).figure)


@pytest.mark.parametrize("make", [world, odd])
def test_marks_are_shares_with_their_exact_intervals(make) -> None:
    data = make()
    picture = feature.draw(data)
    dead = data["inactive"].sel(strength=data.attrs["reference"]).sum("seed").astype(int)
    assert picture.name == "feature"
    for axes, coupling in zip(picture.figure.axes, data["coupling"].values, strict=True):
        assert len(axes.containers) == len(data["optimizer"])
        for container, name in zip(axes.containers, data["optimizer"].values, strict=True):
            marks, _, [bars] = container
            count = dead.sel(optimizer=name, coupling=coupling).values
            assert to_hex(marks.get_color()) == colour_of(name).lower()
            np.testing.assert_allclose(marks.get_ydata(), 20 * count)
            for k, segment in zip(count, bars.get_segments(), strict=True):
                interval = binomtest(int(k), 5).proportion_ci(0.95, method="exact")
                np.testing.assert_allclose(segment[:, 1], [100 * interval.low, 100 * interval.high], atol=1e-9)


def test_the_title_is_computed() -> None:
    title = feature.draw(odd()).figure.get_suptitle()
    assert "SGD and momentum 0.0%, Adam and RMSprop 50.0%" in title
    data = odd()
    data["inactive"].loc[{"optimizer": "sgd", "coupling": "l2", "selectivity": 0.8}] = 1
    assert "SGD and momentum 12.5%" in feature.draw(data).figure.get_suptitle()


def test_the_caption_says_how_many_and_under_what() -> None:
    picture = feature.draw(world())
    for part in ("n = 5 seeds", "exact 95% binomial interval", "96 steps on 64 images, batch 8", "strength 0.03"):
        assert part in picture.caption
    assert f"Adam {float(world()['lr'].sel(optimizer='adam')):g}" in picture.caption
    assert picture.alt.endswith(".")
    assert len(picture.alt) > 60


def test_data_are_left_as_they_were() -> None:
    before = world().copy(deep=True)
    feature.draw(world())
    xr.testing.assert_identical(world(), before)
