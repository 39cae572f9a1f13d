"""Where weights rest: marks are the simulation, lines the closed forms, and the title says what the data say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from pictures import assert_readable

from figures import rest
from figures.style import COLOURS, Picture
from synthetic.rest import Rest


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return Rest(seeds=2, weights=2).run()


@pytest.fixture(scope="module")
def picture(data: xr.Dataset) -> Picture:
    before = data.copy(deep=True)
    drawn = rest.draw(data)
    xr.testing.assert_identical(data, before)
    return drawn


PANELS = [(loss, coupling) for loss in ("restoring", "constant") for coupling in ("l2", "decoupled_lr")]


def test_marks_are_simulated_and_lines_predicted(data: xr.Dataset, picture: Picture) -> None:
    assert picture.name == "rest"
    for axes, (loss, coupling) in zip(picture.figure.axes, PANELS, strict=True):
        lines = [x for x in axes.lines if x.get_linestyle() == "-" and len(x.get_xdata()) == 7]
        for marks, line, rule in zip(axes.containers, lines, data.optimizer.values, strict=True):
            at = data.sel(optimizer=rule, loss=loss, coupling=coupling)
            np.testing.assert_allclose(marks.lines[0].get_ydata(), at["rest"].mean("seed"))
            np.testing.assert_allclose(line.get_ydata(), at["predicted"])
            # Marks that coincide stand side by side, no further than from one arrival to the next.
            np.testing.assert_allclose(line.get_xdata() * data.attrs["critical"] / data.arrival, 1, atol=0.09)
            if rule in COLOURS:
                assert to_hex(line.get_color()) == COLOURS[rule].lower()
    assert_readable(picture.figure)


def test_title_alt_and_caption_are_read_off_the_data(data: xr.Dataset, picture: Picture) -> None:
    altered = data.copy(deep=True)
    at = {"loss": "restoring", "arrival": altered.arrival[1]}
    for k, (rule, coupling) in enumerate((("adam", "l2"), ("sgd", "l2"), ("adam", "decoupled_lr")), 1):
        altered["rest"].loc[at | {"optimizer": rule, "coupling": coupling}] = k / 10
    redrawn = rest.draw(altered)
    title = redrawn.figure.get_suptitle()
    assert "0.10 of a weight under Adam and 0.20 under SGD, weight decay 0.30" in title
    assert "Adam 0.10 and 0.30" in redrawn.alt
    assert redrawn.alt.endswith(".")
    assert picture.figure.get_suptitle() != title
    assert "n = 2 seeds of 2 weights and 2,000 steps" in picture.caption


def test_odd_data_can_be_read(data: xr.Dataset) -> None:
    odd = data.copy(deep=True)
    odd["rest"].loc[{"loss": "constant"}] = 0.3
    odd["rest"].loc[{"loss": "restoring"}] = 1.0
    assert_readable(rest.draw(odd).figure)
