"""The pull of every rule: what is drawn is what was measured, and the title says what the data say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from pictures import assert_readable

from figures import pull
from figures.style import COLOURS, LABELS, LINES, OTHER_LABELS, Picture
from synthetic.selectivity import Selectivity

WORLD = Selectivity(seeds=2, weights=2)


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return WORLD.run()


@pytest.fixture(scope="module")
def picture(data: xr.Dataset) -> Picture:
    before = data.copy(deep=True)
    drawn = pull.draw(data)
    xr.testing.assert_identical(data, before)
    return drawn


def test_every_panel_holds_one_rules_pulls(data: xr.Dataset, picture: Picture) -> None:
    assert picture.name == "pull"
    assert len(picture.figure.axes) == len(data.optimizer)
    for axes, rule in zip(picture.figure.axes, data.optimizer.values, strict=True):
        assert axes.get_title(loc="left") == (LABELS | OTHER_LABELS)[rule]
        lines = {
            line.get_linestyle(): line for line in axes.lines if len(line.get_xdata()) == 9 and line.get_linewidth() < 2
        }
        for coupling in ("l2", "decoupled_lr"):
            mean = data["pull"].sel(optimizer=rule, coupling=coupling).mean("seed")
            np.testing.assert_array_equal(lines[LINES[coupling]].get_xdata(), data.arrival)
            np.testing.assert_allclose(lines[LINES[coupling]].get_ydata(), mean.where(mean > 0))
        if rule in COLOURS:
            assert to_hex(lines["-"].get_color()) == COLOURS[rule].lower()
    assert_readable(picture.figure)


def test_title_and_texts_are_read_off_the_data(data: xr.Dataset, picture: Picture) -> None:
    altered = data.copy(deep=True)
    critical = altered.arrival.sel(arrival=altered.attrs["critical"], method="nearest")
    altered["pull"].loc[{"optimizer": "adam", "coupling": "l2", "arrival": 1.0}] = 1.0
    altered["pull"].loc[{"optimizer": "adam", "coupling": "l2", "arrival": critical}] = 7.0
    altered["pull"].loc[{"coupling": "decoupled_lr"}] = 1.0
    redrawn = pull.draw(altered)
    title = redrawn.figure.get_suptitle()
    assert "x 7 under Adam" in title
    assert "weight decay's grows under no rule" in title
    assert "Adam x 7;" in redrawn.alt
    assert "x 7" in {t.get_text() for axes in redrawn.figure.axes for t in axes.texts}
    few = altered.sel(optimizer=["sgd", "lion", "adam"])
    few["pull"].loc[{"optimizer": ["sgd", "lion"], "coupling": "decoupled_lr", "arrival": critical}] = 3.0
    assert "under 2 of 3 rules" in pull.draw(few).figure.get_suptitle()
    assert picture.figure.get_suptitle() != title


def test_caption_says_what_it_is_drawn_from(picture: Picture) -> None:
    caption = picture.caption
    assert "n = 2 seeds of 2 weights" in caption
    assert "800 steps" in caption
    assert "0.0050" in caption
    assert picture.alt.endswith(".")


def test_odd_data_can_be_read(data: xr.Dataset) -> None:
    odd = data.sel(optimizer=["lars", "adam", "muon"]).copy(deep=True)
    odd["pull"].loc[{"optimizer": "adam"}] *= 1e5
    odd["pull"].loc[{"optimizer": "lars"}] = 0.0
    redrawn = pull.draw(odd)
    assert_readable(redrawn.figure)
    assert "SGD" not in redrawn.figure.get_suptitle()
