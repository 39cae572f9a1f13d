"""What a larger network does to its features: what is drawn is what was measured."""

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

from figures.capacity import draw
from figures.style import colour_of
from synthetic.capacity import Capacity


@cache
def measured() -> xr.Dataset:
    return Capacity(seeds=3, followed=8, steps=1024, shared_steps=512).run()


def odd(share: float) -> xr.Dataset:
    data = measured().copy(deep=True)
    for name in ("dead", "unused", "shared", "shared_closed"):
        data[name][:] = share
    return data


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("share", [None, 0.01, 1.0])
def test_no_text_lies_on_another_or_is_cut(share: float | None) -> None:
    assert_readable(draw(measured() if share is None else odd(share)).figure)


def test_weights_stand_on_their_formulas() -> None:
    data, picture = measured(), draw(measured())
    left = picture.figure.axes[0]
    assert picture.name == "capacity"
    formulas, marks = left.lines[::2], left.lines[1::2]
    for formula, mark, coupling in zip(formulas, marks, ("l2", "decoupled_lr"), strict=True):
        np.testing.assert_array_equal(mark.get_xdata(), data.network)
        np.testing.assert_array_equal(mark.get_ydata(), data["shared"].sel(coupling=coupling))
        np.testing.assert_array_equal(formula.get_ydata(), data["shared_closed"].sel(coupling=coupling))
    assert {t.get_text() for t in left.texts} == {"Adam + L2", "Adam + decay"}


def test_shares_are_means_with_their_intervals() -> None:
    data, right = measured(), draw(measured()).figure.axes[1]
    dead = data["dead"].sel(optimizer="adam", coupling="l2")
    for container, batch in zip(right.containers, data.batch.values, strict=True):
        marks, _, [bars] = container
        here = dead.sel(batch=batch)
        np.testing.assert_allclose(marks.get_ydata(), here.mean("seed"))
        half = stats.sem(here.values, axis=1) * stats.t.ppf(0.975, 2)
        edges = np.array(bars.get_segments())[:, :, 1]
        np.testing.assert_allclose(edges[:, 1] - edges[:, 0], 2 * half, atol=1e-9)
    plain = {
        (to_hex(line.get_color()), line.get_linestyle()): line for line in right.lines if line.get_marker() == "None"
    }
    for rule, coupling, line in (("adam", "decoupled_lr", "--"), ("sgd", "l2", "-")):
        drawn = plain[(colour_of(rule).lower(), line)].get_ydata()
        np.testing.assert_allclose(drawn, data["dead"].sel(optimizer=rule, coupling=coupling).mean(("batch", "seed")))
    np.testing.assert_allclose(plain[("#cccccc", "-")].get_ydata(), data["unused"].mean("seed"))


def test_the_title_and_the_texts_are_computed() -> None:
    data = measured().copy(deep=True)
    data["dead"].loc[{"optimizer": "adam", "coupling": "l2", "network": 1024}] = 0.5
    data["dead"].loc[{"optimizer": "adam", "coupling": "decoupled_lr", "network": 64, "batch": 8}] = 0.25
    data["shared"].loc[{"coupling": "l2", "network": 1024}] = 0.777
    picture = draw(data)
    assert "50% of 1,024" in picture.figure.get_suptitle()
    assert "decay 25% at most" in picture.figure.get_suptitle()
    assert "0.78 under L2" in picture.alt


def test_the_caption_says_how_many() -> None:
    picture = draw(measured())
    for part in ("n = 3 seeds of 8 features", "n = 4 networks", "95% t-interval", "512 patterns", "1,024 steps"):
        assert part in picture.caption
    assert picture.alt.endswith(".")


def test_data_are_left_as_they_were() -> None:
    before = measured().copy(deep=True)
    draw(measured())
    xr.testing.assert_identical(measured(), before)
