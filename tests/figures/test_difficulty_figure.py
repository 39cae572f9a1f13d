"""What an easy task does to features: what is drawn is what was measured."""

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

from figures.difficulty import draw
from figures.style import colour_of
from synthetic.difficulty import Difficulty


@cache
def measured() -> xr.Dataset:
    return Difficulty(seeds=3, steps=1024).run()


def odd(share: float) -> xr.Dataset:
    data = measured().copy(deep=True)
    data["dead"][:], data["unused"][:] = share, share
    return data


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("share", [None, 0.0, 1.0])
def test_no_text_lies_on_another_or_is_cut(share: float | None) -> None:
    assert_readable(draw(measured() if share is None else odd(share)).figure)


def test_shares_are_means_with_their_intervals() -> None:
    data, picture = measured(), draw(measured())
    assert picture.name == "difficulty"
    views = (data["dead"].sel(patterns=512), "scale"), (data["dead"].sel(scale=1.0), "patterns")
    for panel, (dead, along) in zip(picture.figure.axes, views, strict=True):
        easier = dead.sortby(along, ascending=False)
        assert panel.xaxis_inverted()
        for container, batch in zip(panel.containers, data.batch.values, strict=True):
            marks, _, [bars] = container
            here = easier.sel(optimizer="adam", coupling="l2", batch=batch)
            np.testing.assert_array_equal(marks.get_xdata(), easier[along])
            np.testing.assert_allclose(marks.get_ydata(), here.mean("seed"))
            half = stats.sem(here.transpose(along, "seed").values, axis=1) * stats.t.ppf(0.975, 2)
            edges = np.array(bars.get_segments())[:, :, 1]
            np.testing.assert_allclose(edges[:, 1] - edges[:, 0], 2 * half, atol=1e-9)
        for rule, coupling, line in (("adam", "decoupled_lr", "--"), ("sgd", "l2", "-")):
            [drawn] = [
                c
                for c in panel.lines
                if (to_hex(c.get_color()), c.get_linestyle(), c.get_marker()) == (colour_of(rule).lower(), line, "None")
            ]
            mean = easier.sel(optimizer=rule, coupling=coupling).mean(("batch", "seed"))
            np.testing.assert_allclose(drawn.get_ydata(), mean)
    [unused] = [line for line in picture.figure.axes[1].lines if to_hex(line.get_color()) == "#cccccc"]
    np.testing.assert_allclose(unused.get_ydata(), data["unused"].mean("seed")[::-1])


def test_the_title_and_the_texts_are_computed() -> None:
    data = measured().copy(deep=True)
    adam = {"optimizer": "adam", "coupling": "l2"}
    data["dead"].loc[{**adam, "patterns": 512, "scale": 0.1}] = 0.625
    data["dead"].loc[{**adam, "patterns": 512, "scale": 10.0}] = 0.25
    data["dead"].loc[{"optimizer": "adam", "coupling": "decoupled_lr", "scale": 0.1}] = 1.0
    data["dead"].loc[{**adam, "patterns": 32, "scale": 1.0}] = 0.875
    picture = draw(data)
    title = picture.figure.get_suptitle()
    assert "scale 10 to 0.1" in title
    assert "L2 loses 25% to 62%" in title
    assert "decay 0% to 100%" in title
    assert "88% with 32" in picture.alt


def test_the_caption_says_how_many() -> None:
    picture = draw(measured())
    for part in ("n = 3 seeds of 8 features", "95% t-interval", "1,024 steps", "strength 0.01"):
        assert part in picture.caption
    assert picture.alt.endswith(".")


def test_data_are_left_as_they_were() -> None:
    before = measured().copy(deep=True)
    draw(measured())
    xr.testing.assert_identical(measured(), before)
