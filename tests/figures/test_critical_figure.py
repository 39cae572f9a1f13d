"""The critical selectivity: marks are the simulation, lines the closed forms, and the title says what the data say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from pictures import assert_readable

from figures import critical
from figures.style import COLOURS, Picture
from synthetic.visits import ARRIVALS, Visits


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return Visits(epochs=(20, 50, 100, 200, 400), seeds=3, weights=3).run()


@pytest.fixture(scope="module")
def picture(data: xr.Dataset) -> Picture:
    before = data.copy(deep=True)
    drawn = critical.draw(data)
    xr.testing.assert_identical(data, before)
    return drawn


def test_marks_are_simulated_and_lines_predicted(data: xr.Dataset, picture: Picture) -> None:
    assert picture.name == "critical"
    left, right = picture.figure.axes
    times = 1 / data.epoch.values / data.attrs["critical"]
    ratio = np.exp(np.log(data["inverse_root"] / data["on_arrival"]).mean("seed"))
    for k, kind in enumerate(ARRIVALS):
        for axes, seen, form in ((left, ratio, "predicted"), (right, data["rest"].mean("seed"), "rests")):
            marks, line = (
                axes.containers[k].lines[0],
                [x for x in axes.lines if x.get_linestyle() == "-" and len(x.get_xdata()) == 5][k],
            )
            np.testing.assert_allclose(marks.get_xdata(), times)
            np.testing.assert_allclose(marks.get_ydata(), seen.sel(arrivals=kind))
            np.testing.assert_allclose(line.get_ydata(), data[form].sel(arrivals=kind))
            assert to_hex(line.get_color()) == COLOURS["adam" if kind == "independent" else "sgd"].lower()
    assert_readable(picture.figure)


def test_title_alt_and_caption_are_read_off_the_data(data: xr.Dataset, picture: Picture) -> None:
    altered = data.copy(deep=True)
    altered["inverse_root"].loc[{"epoch": 400, "arrivals": "independent"}] = 3.0
    altered["inverse_root"].loc[{"epoch": 400, "arrivals": "once an epoch"}] = 6.0
    altered["on_arrival"].loc[{"epoch": 400}] = 2.0
    redrawn = critical.draw(altered)
    title = redrawn.figure.get_suptitle()
    assert "At 0.5 of the critical arrival" in title
    assert "is 1.5 times" in title
    assert title.endswith("3 times")
    assert "ends at 1.5" in redrawn.alt
    assert redrawn.alt.endswith(".")
    assert picture.figure.get_suptitle() != title
    assert "n = 3 seeds of 3 weights, 8,000 steps" in picture.caption


def test_odd_data_can_be_read(data: xr.Dataset) -> None:
    odd = data.copy(deep=True)
    odd["inverse_root"] *= 1e6
    odd["rest"] *= 0.01
    assert_readable(critical.draw(odd).figure)
