"""The plane of gamma and beta as drawn: paths, cone and title are those of the data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable

from figures import plane
from figures.style import Picture
from synthetic.plane import Plane


@cache
def world() -> xr.Dataset:
    return Plane().run()


@cache
def drawn() -> Picture:
    return plane.draw(world())


@cache
def odd() -> xr.Dataset:
    """Other starts, a narrower cone, and hardly any movement."""
    starts = ((0.5, -0.2), (0.6, -3.0))
    return Plane(starts=starts, largest=4.0, count=26, strength=1e-3, steps=10).run()


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("make", [world, odd])
def test_no_text_lies_on_another_or_is_cut(make) -> None:  # type: ignore[no-untyped-def]
    assert_readable((drawn() if make is world else plane.draw(make())).figure)


def test_every_path_is_drawn_from_its_start_to_its_end() -> None:
    data, picture = world(), drawn()
    assert picture.name == "plane"
    assert [axes.get_title(loc="left") for axes in picture.figure.axes] == ["SGD + L2", "AdamW", "Adam + L2"]
    for axes, name in zip(picture.figure.axes, data["update"].values, strict=True):
        bound, *marks = axes.lines
        np.testing.assert_allclose(bound.get_ydata(), -data.attrs["bound"] * bound.get_xdata())
        for k in range(data.sizes["start"]):
            path, first, last = marks[3 * k : 3 * k + 3]
            at = data.sel(update=name).isel(start=k)
            np.testing.assert_array_equal(path.get_xdata(), at["gamma"])
            np.testing.assert_array_equal(path.get_ydata(), at["beta"])
            assert (first.get_xdata()[0], last.get_xdata()[0]) == (float(at["gamma"][0]), float(at["gamma"][-1]))
        assert len(marks) == 3 * data.sizes["start"]
        assert axes.patches  # heads of the streamlines


def test_the_shade_is_the_dead_cone() -> None:
    for data, picture in ((world(), drawn()), (odd(), plane.draw(odd()))):
        axes = picture.figure.axes[0]
        corners = axes.collections[0].get_paths()[0].vertices
        right = corners[corners[:, 0] == data["x"].values[-1]]
        assert set(right[:, 1].round(9)) == {
            round(-data.attrs["largest"] * float(data["x"][-1]), 9),
            round(float(data["y"][0]), 9),
        }


def test_the_title_is_counted() -> None:
    assert "Of 5 features" in drawn().figure.get_suptitle()
    assert "SGD + L2 0, AdamW 0, Adam + L2 2" in drawn().figure.get_suptitle()
    data = world().copy(deep=True)
    data["beta"].loc[{"update": "sgd"}][:, -1] = -9.0
    data["gamma"].loc[{"update": "sgd"}][:, -1] = 0.1
    assert "SGD + L2 5, AdamW 0" in plane.draw(data).figure.get_suptitle()


def test_the_caption_says_how_many_and_under_what() -> None:
    picture = drawn()
    for part in ("n = 7 starts", "lr 0.005", "strength 0.2", "1,200 steps", "first 20 steps", "-2.5 abs(gamma)"):
        assert part in picture.caption
    assert picture.alt.endswith(".")
    assert len(picture.alt) > 60


def test_data_are_left_as_they_were() -> None:
    before = odd().copy(deep=True)
    plane.draw(odd())
    xr.testing.assert_identical(odd(), before)
