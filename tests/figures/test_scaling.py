"""The figure of scaling draws what the benchmark measured, and its title is computed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from pictures import assert_readable

from bench import scaling
from figures.scaling import draw

LANES, STEPS = [16, 256, 4096, 65_536], [1, 16, 256, 4096]


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


def measured(by_lanes: list[float], by_threads: list[float], cores: int = 2) -> xr.Dataset:
    """As the benchmark stores it, speeds in millions; three repetitions a point, the middle one as given."""

    def points(axis: str, at: list[int], speeds: list[float]) -> list[dict[str, object]]:
        return [
            {axis: x, "weight_steps_per_second": [1e6 * s, 0.9e6 * s, 1.2e6 * s]}
            for x, s in zip(at, speeds, strict=True)
        ]

    content = {
        "fixed": {"lanes": 4096, "steps": 1024, "threads": 1},
        "lanes": points("lanes", LANES, by_lanes),
        "steps": points("steps", STEPS, [1, 20, 180, 270]),
        "threads": points("threads", [1, 2, 4][: len(by_threads)], by_threads),
    }
    return scaling.dataset(content, "some processor", cores)


USUAL = ([20, 190, 265, 270], [270, 520, 530])
ODD = {
    "usual": measured(*USUAL),
    "slower with more": measured([200, 100, 50, 25], [200, 150, 100]),
    "all alike": measured([100] * 4, [100] * 3),
    "one core": measured([20, 190, 265, 270], [270, 260], cores=1),
}


@pytest.mark.parametrize("name", ODD)
def test_no_text_lies_on_another_or_is_cut(name: str) -> None:
    assert_readable(draw(ODD[name]).figure)


def test_marks_are_medians_and_bands_are_the_extremes() -> None:
    figure = draw(measured(*USUAL)).figure
    for panel, at, speeds in zip(
        figure.axes, (LANES, STEPS, [1, 2, 4]), (USUAL[0], [1, 20, 180, 270], USUAL[1]), strict=True
    ):
        curve = panel.lines[0]
        np.testing.assert_array_equal(curve.get_xdata(), at)
        np.testing.assert_allclose(curve.get_ydata(), speeds)
        edge = panel.collections[0].get_paths()[0].vertices
        for x, s in zip(at, speeds, strict=True):
            here = edge[edge[:, 0] == x][:, 1]
            assert here.min() == pytest.approx(0.9 * s)
            assert here.max() == pytest.approx(1.2 * s)
    ideal = figure.axes[2].lines[1]
    np.testing.assert_allclose(ideal.get_ydata(), [270, 540, 540])


def test_the_title_is_computed() -> None:
    def title(data: xr.Dataset) -> str:
        return draw(data).figure.get_suptitle()

    assert title(ODD["usual"]) == (
        "4,096 weights at once reach nine tenths of the best speed; 2 threads are 1.93 times as fast as one"
    )
    assert "16 weights at once" in title(ODD["slower with more"])
    assert "2 threads are 0.75 times" in title(ODD["slower with more"])
    assert title(ODD["one core"]).endswith("best speed")


def test_caption_and_alt_say_how_many_and_what() -> None:
    picture = draw(measured(*USUAL))
    assert picture.name == "scaling"
    for part in ("n = 3 repetitions", "some processor, 2 cores", "smallest to largest"):
        assert part in picture.caption
    assert "20 to 270 from 16 to 65,536 weights" in picture.alt
    assert picture.alt.endswith(".")
    said = [panel.get_title(loc="left") for panel in picture.figure.axes]
    assert said == ["1,024 steps, 1 thread", "4,096 weights, 1 thread", "4,096 weights, 1,024 steps"]
