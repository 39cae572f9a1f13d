"""A phase diagram shows the shares, times and sizes that were measured, and says what the data say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable

from figures.phase import draw
from synthetic.phase import AXES, Phase


@cache
def small(diagram: str) -> xr.Dataset:
    return Phase(diagram, cells=9, seeds=4, steps=4_000).run()  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("diagram", AXES)
def test_every_diagram_can_be_read(diagram: str) -> None:
    picture = draw(small(diagram))
    assert picture.name == f"phase_{diagram}"
    assert_readable(picture.figure)
    assert "n = 4 seeds" in picture.caption
    assert f"{small(diagram).attrs['lanes']:,} lanes" in picture.caption
    assert picture.alt.endswith("died.")


def test_the_maps_are_the_data_and_the_line_the_boundary() -> None:
    data = small("selectivity")
    panels = draw(data).figure.axes[:3]
    for axes, name in zip(panels, ("dead", "time", "size"), strict=True):
        [mesh] = axes.collections
        shown = np.ma.filled(mesh.get_array(), np.nan)
        np.testing.assert_array_equal(shown, data[name].values)
        known = data.boundary.notnull().values
        for line in axes.lines:
            np.testing.assert_array_equal(line.get_xdata(), data.boundary.values[known])
            np.testing.assert_array_equal(line.get_ydata(), data.y.values[known])


def test_the_title_follows_the_data() -> None:
    data = small("batch")
    first = draw(data).figure.get_suptitle()
    assert "times the computed boundary" in first
    assert draw(data.assign(boundary=data.boundary * 2)).figure.get_suptitle() != first
    none = draw(data.assign(dead=0 * data.dead, time=data.time * np.nan))
    assert none.figure.get_suptitle() == "Of these settings 0% of the lanes die"
    assert_readable(none.figure)
