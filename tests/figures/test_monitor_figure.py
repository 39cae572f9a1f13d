"""The picture of a monitored run: what is drawn is what was seen, and the title says what the data say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable

from figures import monitor
from fullscale.monitor.record import VARIABLES, Record
from fullscale.monitor.summary import die_next, history

FILTERS, STEPS = 40, np.arange(0, 4000, 50)
LAYERS = ["blocks.0.norm"] * 10 + ["blocks.1.norm"] * 30


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


def death(filter_: int, step: int, cause: str = "regularizer", **other: Any) -> dict[str, Any]:
    row = {"step": step, "certain": step + 100, "filter": filter_, "measure": "activation", "cause": cause}
    row |= {"pull": -1.0, "loss": -0.1, "input": 0.0, "loss_error": 0.1, "intervals": 9, "revived": None}
    return row | other


def seen(deaths: list[dict[str, Any]]) -> xr.Dataset:
    """Filters of which each is more selective than the one before it."""
    record = Record(FILTERS)
    draws = np.random.default_rng(0)
    for step in STEPS:
        values = {name: draws.uniform(0, 1, FILTERS) for name in VARIABLES}
        values["selectivity"] = np.linspace(0, 1, FILTERS)
        record.add(int(step), values)
    activations = dict.fromkeys(LAYERS, "relu")
    return history(record, LAYERS, list(range(FILTERS)), activations, deaths, interval=50, last=4000, note="")


SELECTIVE = [death(39 - i, 1800 + 50 * (i % 3)) for i in range(6)]


def test_every_panel_shows_what_was_seen() -> None:
    data = seen([*SELECTIVE, death(0, 300, "noise", revived=500), death(5, 200, measure="scale")])
    before = data.copy(deep=True)
    picture = monitor.draw(data)
    xr.testing.assert_identical(data, before)
    left, middle, right = picture.figure.axes
    for line, size in zip(left.lines, (10, 30), strict=True):
        layer = data["layer"] == ("blocks.0.norm" if size == 10 else "blocks.1.norm")
        np.testing.assert_allclose(line.get_ydata(), 100 * data["alive"].sel(filter=layer).mean("filter"))
    assert sum(patch.get_height() for patch in middle.patches) == 7
    assert [text.get_text() for text in middle.get_legend().get_texts()] == ["regularizer: 6", "noise: 1"]
    marked = right.collections[1].get_offsets()
    assert len(marked) == 6
    np.testing.assert_allclose(sorted(marked[:, 0]), sorted(np.linspace(0, 1, FILTERS)[34:]), atol=1e-6)
    assert "1 came back" in picture.caption
    assert_readable(picture.figure)


def test_the_title_is_read_off_the_data() -> None:
    def title(deaths: list[dict[str, Any]]) -> str:
        return monitor.draw(seen(deaths)).figure.get_suptitle()

    assert "6 of 40 filters dead at the end; deaths: 6 by regularizer" in title(SELECTIVE)
    assert "the more selective die next: mean rank 0.91 (n = 6" in title(SELECTIVE)
    least = [death(10 + i, 1800) for i in range(6)]
    assert "the less selective die next" in title(least)
    either = [death(i, 1800) for i in (12, 20, 30, 38)]
    assert "selectivity does not tell who dies next" in title(either)
    assert "too few deaths" in title([])
    assert title([]).startswith("0 of 40 filters dead at the end;")


def test_who_dies_next_is_who_dies_in_time_and_was_alive() -> None:
    deaths = [
        death(39, 1050),
        death(38, 1200),
        death(37, 1499),
        death(36, 1700),
        death(35, 400),
        death(34, 1200, measure="scale"),
    ]
    found = die_next(seen(deaths), ahead=500, gap=100)
    at = found.moments == 1000
    assert set(found.filters[at & found.dies]) == {37, 38}
    assert 35 not in found.filters[at]
    assert 39 not in found.filters[at]  # as good as dead
    of_first = at & (found.filters < 10)
    np.testing.assert_allclose(found.rank[of_first], np.linspace(0, 1, 10))
    assert set(found.moments) == {500, 1000, 1500, 2000, 2500, 3000}
    np.testing.assert_allclose(found.selectivity[at], np.linspace(0, 1, FILTERS)[found.filters[at]], atol=1e-6)


def test_ties_share_their_mean_rank_and_one_alone_tells_nothing() -> None:
    data = seen([])
    data["selectivity"][:] = 0.5
    assert set(die_next(data).rank) == {0.5}
    assert len(die_next(data.isel(step=slice(0, 5))).rank) == 0


def test_odd_data_can_be_read() -> None:
    data = seen([death(i % FILTERS, 20 * i + 100, cause) for i, cause in enumerate([*monitor.CAUSES] * 8)])
    data = data.assign_coords(layer=("filter", [f"layer{i % 14}.norm" for i in range(FILTERS)]))
    assert_readable(monitor.draw(data).figure)
