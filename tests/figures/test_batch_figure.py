"""Death against the batch size: what is drawn is what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable
from scipy import stats

from figures.batch import draw
from synthetic.minibatch import MiniBatch


@cache
def measured() -> xr.Dataset:
    return MiniBatch(seeds=3, features=4, optimizers=("adam",), lr=(0.01,), epochs=2).run()


def odd(share: float) -> xr.Dataset:
    """The same share of features dead everywhere."""
    data = measured().copy(deep=True)
    data["dead"][:] = share
    return data


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("share", [None, 0.0, 1.0])
def test_no_text_lies_on_another_or_is_cut(share: float | None) -> None:
    assert_readable(draw(measured() if share is None else odd(share)).figure)


def test_each_panel_draws_means_with_their_intervals() -> None:
    data, picture = measured(), draw(measured())
    assert picture.name == "batch"
    dead = data["dead"].sel(optimizer="adam", coupling="l2")
    arrival = 1 - data["silent_epoch"]
    for panel, horizon in zip(picture.figure.axes, ("epochs", "steps", "steps"), strict=True):
        assert len(panel.containers) == data.sizes["exciting"]
        assert panel.xaxis_inverted()
        for container, exciting in zip(panel.containers, reversed(data.exciting.values), strict=True):
            marks, _, [bars] = container
            here = dead.sel(horizon=horizon, exciting=exciting)
            x = arrival.sel(exciting=exciting) if panel is picture.figure.axes[2] else data.batch
            np.testing.assert_array_equal(marks.get_xdata(), x)
            np.testing.assert_allclose(marks.get_ydata(), here.mean("seed"))
            half = stats.sem(here.values, axis=1) * stats.t.ppf(0.975, 2)
            edges = np.array(bars.get_segments())[:, :, 1]
            np.testing.assert_allclose(edges[:, 1] - edges[:, 0], 2 * half, atol=1e-9)
    labels = {t.get_text() for t in picture.figure.axes[1].texts}
    assert labels == {"excited by", *(f"{k} of 512" for k in data.exciting.values)}


def test_curves_are_told_apart_by_mark_as_well_as_by_colour() -> None:
    marks = [c[0] for c in draw(measured()).figure.axes[0].containers]
    assert len({m.get_marker() for m in marks}) == len({tuple(m.get_color()) for m in marks}) == 6


def test_the_title_and_the_texts_are_computed() -> None:
    data = measured().copy(deep=True)
    data["dead"].loc[{"optimizer": "adam", "coupling": "l2", "horizon": "steps"}] = 0.25
    data["dead"].loc[{"optimizer": "adam", "coupling": "l2", "horizon": "steps", "batch": 1}] = 0.75
    data["dead"].loc[{"optimizer": "adam", "coupling": "l2", "horizon": "epochs", "batch": 32}] = 0.125
    picture = draw(data)
    assert "75% of the features in batches of 1, 25% in batches of 32" in picture.figure.get_suptitle()
    assert "12%" in picture.alt
    assert "up to 50% of the features apart" in picture.caption
    assert "0% of the features in batches of 1, 0%" in draw(odd(0.0)).figure.get_suptitle()


def test_the_caption_says_how_many() -> None:
    picture = draw(measured())
    for part in ("n = 3 seeds of 4 features", "95% t-interval", "strength 0.01", "beta2 0.99", "512 images"):
        assert part in picture.caption
    assert picture.alt.endswith(".")


def test_data_are_left_as_they_were() -> None:
    before = measured().copy(deep=True)
    draw(measured())
    xr.testing.assert_identical(measured(), before)
