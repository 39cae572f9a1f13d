"""Where a regularizer leaves a weight: the curves are the data, and the title follows them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable

from figures.minima import draw
from synthetic.quadratic import Quadratic


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@cache
def small() -> xr.Dataset:
    return Quadratic().run()


def test_curves_are_the_data_over_their_closed_forms() -> None:
    data = small()
    picture = draw(data)
    assert picture.name == "minima"
    for axes, coupling in zip(picture.figure.axes, ("l2", "decoupled_lr"), strict=True):
        _, *lines = axes.lines
        assert len(lines) == 2 * data.sizes["optimizer"]
        for k, name in enumerate(data.optimizer.values):
            at = data.sel(optimizer=name, coupling=coupling, strength=0.5)
            np.testing.assert_array_equal(lines[2 * k].get_ydata(), at["predicted"])
            np.testing.assert_array_equal(lines[2 * k + 1].get_ydata(), at["rest"])
            np.testing.assert_array_equal(lines[2 * k + 1].get_xdata(), data.target)
        colours = {line.get_color() for line in lines[1::2]}
        assert len(colours) == data.sizes["optimizer"]
        named = {text.get_text(): text.get_color() for text in axes.texts}
        assert set(named.values()) == colours


def test_the_title_is_computed() -> None:
    data = small().copy(deep=True)
    end = {"strength": 0.5, "target": 3.0}
    data["rest"].loc[{"coupling": "l2", **end}] = 1.25
    data["rest"].loc[{"coupling": "decoupled_lr", **end}] = np.linspace(0.4, 2.3, data.sizes["optimizer"])
    assert draw(data).figure.get_suptitle() == (
        "At w* = 3: L2 leaves the optimizers at 1.25, weight decay from 0.40 to 2.30"
    )


@pytest.mark.parametrize("odd", [False, True])
def test_it_can_be_read_and_says_how_many(odd: bool) -> None:
    data = small().copy(deep=True)
    if odd:
        data["rest"].loc[{"coupling": "decoupled_lr"}] = 7.0
    picture = draw(data)
    assert_readable(picture.figure)
    assert "n = 1 path" in picture.caption
    assert "deterministic" in picture.caption
    assert ("at most 6.8 from them" in picture.caption) == odd
    assert picture.alt.endswith(".")
