"""Survivors against selectivity as drawn: means, intervals and title are those of the data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from pictures import assert_readable
from scipy import stats

from figures import compete
from figures.style import colour_of
from synthetic.compete import Compete


@cache
def world() -> xr.Dataset:
    return Compete(epochs=20, seeds=4, tuning_seeds=1).run()


def odd() -> xr.Dataset:
    """Everything lost under one optimizer, nothing under the others."""
    data = world().copy(deep=True)
    data["inactive"] *= 0
    data["inactive"].loc[{"optimizer": "adam"}] = 1
    return data


def mixed() -> xr.Dataset:
    data = world().copy(deep=True)
    draws = np.random.default_rng(0)
    data["inactive"][:] = draws.random(data["inactive"].shape) < 0.4
    return data


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("make", [world, odd, mixed])
def test_no_text_lies_on_another_or_is_cut(make) -> None:
    assert_readable(compete.draw(make()).figure)


@pytest.mark.parametrize("make", [odd, mixed])
def test_marks_are_means_with_their_intervals(make) -> None:
    data = make()
    picture = compete.draw(data)
    alive = 100 * (1 - data["inactive"].sel(strength=data.attrs["reference"]).mean("copy"))
    assert picture.name == "compete"
    for axes, coupling in zip(picture.figure.axes, data["coupling"].values, strict=True):
        for container, name in zip(axes.containers, data["optimizer"].values, strict=True):
            marks, _, [bars] = container
            samples = alive.sel(optimizer=name, coupling=coupling).transpose("seed", "selectivity").values
            assert to_hex(marks.get_color()) == colour_of(name).lower()
            np.testing.assert_allclose(marks.get_ydata(), samples.mean(0))
            half = stats.sem(samples) * stats.t.ppf(0.975, len(samples) - 1)
            expected = np.clip(samples.mean(0) + half * np.array([[-1], [1]]), 0, 100)
            np.testing.assert_allclose(np.array(bars.get_segments())[:, :, 1].T, expected, atol=1e-9)
            low, high = axes.get_ylim()
            assert low <= expected.min()
            assert expected.max() <= high


def test_the_title_is_computed() -> None:
    assert "Adam + L2 loses 100.0%, SGD + L2 0.0%" in compete.draw(odd()).figure.get_suptitle()
    data = odd()
    data["inactive"].loc[{"optimizer": "adam", "copy": 0}] = 0
    assert "Adam + L2 loses 75.0%" in compete.draw(data).figure.get_suptitle()


def test_the_caption_says_how_many_and_under_what() -> None:
    picture = compete.draw(world())
    for part in ("n = 4 seeds", "95% t-interval", "20 features, 4 of each", "160 steps on 64 images", "strength 0.005"):
        assert part in picture.caption
    assert picture.alt.endswith(".")
    assert len(picture.alt) > 60


def test_data_are_left_as_they_were() -> None:
    before = world().copy(deep=True)
    compete.draw(world())
    xr.testing.assert_identical(world(), before)
