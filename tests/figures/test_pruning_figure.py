"""The picture of the criteria: lines are means of the data, the star is the dead filters, and the title says what the data say."""

from __future__ import annotations

from collections.abc import Iterator

import comparison
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from pictures import assert_readable

from figures import pruning
from figures.style import Picture


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return comparison.comparison()


@pytest.fixture(scope="module")
def picture(data: xr.Dataset) -> Picture:
    before = data.copy(deep=True)
    drawn = pruning.draw(data)
    xr.testing.assert_identical(data, before)
    return drawn


def test_lines_are_the_data(data: xr.Dataset, picture: Picture) -> None:
    panels = [(tuned, training) for tuned in ("no", "yes") for training in data.training.values]
    for axes, (tuned, training) in zip(picture.figure.axes, panels, strict=True):
        at = data.sel(training=training, tuned=tuned)
        drawn = {to_hex(line.get_color()): line for line in axes.lines if line.get_marker() == "o"}
        for criterion in ("gamma",) if training == "slimming" else comparison.CRITERIA:
            line = drawn.pop(to_hex(pruning.CRITERIA[criterion][1]))
            np.testing.assert_allclose(line.get_xdata(), 100 * data.share)
            np.testing.assert_allclose(line.get_ydata(), 100 * at.test_error.sel(criterion=criterion).mean("seed"))
        assert not drawn
        thin = [line for line in axes.lines if len(line.get_xdata()) == 10 and line.get_marker() != "o"]
        assert len(thin) == 3 * (1 if training == "slimming" else 5)
        [star] = [line for line in axes.lines if line.get_marker() == "*"]
        assert star.get_xydata().tolist() == [[100 * comparison.DEAD[str(training)], 100 * comparison.OWN]]
        [limit] = [line for line in axes.lines if line.get_linestyle() == ":"]
        np.testing.assert_allclose(limit.get_ydata(), 3)
    assert_readable(picture.figure)


def test_title_alt_and_caption_are_read_off_the_data(picture: Picture) -> None:
    title = picture.figure.get_suptitle()
    assert "Adam and strong L2 has silenced 50% of the filters" in title
    assert "L1 norm removes 71%, chance 21%" in title
    assert "n = 3 seeds" in picture.caption
    assert "on digits" in picture.caption
    assert "L1 on BatchNorm's scales 0.001" in picture.caption
    assert "abs(gamma) 51% and 61%" in picture.alt
    altered = pruning.draw(comparison.comparison({"selective": 0.7, "random": 0.3}, {"momentum": 0.7}))
    title = altered.figure.get_suptitle()
    assert "momentum and weak L2 has silenced 70% of the filters" in title
    assert "selective removes 81%, chance 41%" in title
    assert altered.alt.endswith(".")


def test_odd_data_can_be_read(data: xr.Dataset) -> None:
    odd = data.copy(deep=True)
    odd["test_error"].loc[{"criterion": "l1", "training": "adam"}] = np.nan
    odd["test_error"].loc[{"criterion": "random"}] = 0.0
    odd["dead_error"].loc[{"training": "momentum"}] = 0.9
    odd["dead_reached"].loc[{"training": "momentum"}] = np.nan
    assert_readable(pruning.draw(odd).figure)
