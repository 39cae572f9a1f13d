"""What is drawn is what was measured, in the shared colours and lines, with labels that can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from pictures import assert_readable
from scipy import stats
from worlds import EPOCHS, SEEDS, cnn, crossover, silence

from figures import alive
from figures import crossover as crossover_figure
from figures import silence as silence_figure
from figures.style import LINES, Picture, colour_of, label_of, save
from fullscale.pocket import OPTIMIZERS, STRENGTH
from synthetic.selective import Selective

# Inactive shares at the end: as measured, all close together, all alike, and everything lost.
ENDS = {
    "measured": {"sgd": 0.0, "momentum": 0.01, "adam": 0.2, "rmsprop": 0.39},
    "close": {"sgd": 0.30, "momentum": 0.31, "adam": 0.32, "rmsprop": 0.33},
    "none": {"sgd": 0.0, "momentum": 0.0, "adam": 0.0, "rmsprop": 0.0},
    "all": {"sgd": 0.99, "momentum": 0.99, "adam": 0.99, "rmsprop": 0.99},
}
PICTURES: dict[str, Callable[[], Picture]] = {
    "silence": lambda: silence_figure.draw(silence()),
    "crossover": lambda: crossover_figure.draw(crossover()),
} | {f"alive, {name}": lambda ends=ends: alive.draw(cnn(ends)) for name, ends in ENDS.items()}


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_lies_on_another_or_is_cut(name: str) -> None:
    assert_readable(PICTURES[name]().figure)


def test_silence_draws_each_path_until_it_is_through() -> None:
    data, picture = silence(), silence_figure.draw(silence())
    assert picture.name == "silence"
    for axes, coupling in zip(picture.figure.axes, ("l2", "decoupled_lr"), strict=True):
        *curves, target = axes.lines
        assert [to_hex(c.get_color()) for c in curves] == [colour_of(n).lower() for n in data.optimizer.values]
        assert {c.get_linestyle() for c in curves} == {LINES[coupling]}
        for curve, name in zip(curves, data.optimizer.values, strict=True):
            cell = data.sel(optimizer=name, coupling=coupling, strength=1e-2).isel(step=slice(1, None))
            path = abs(cell["w"].fillna(cell["closed"]))
            drawn = len(curve.get_xdata())
            np.testing.assert_array_equal(curve.get_xdata(), path.step[:drawn])
            np.testing.assert_array_equal(curve.get_ydata(), path[:drawn])
            # The last point is the first below the target, or the last there is.
            assert (path[: drawn - 1] >= 1e-3).all()
            assert drawn == len(path) or path[drawn - 1] < 1e-3
        assert set(target.get_ydata()) == {1e-3}
        assert {t.get_text() for t in axes.texts} == set(map(label_of, Selective().rules))
    assert "2,722 steps" in picture.figure.get_suptitle()
    assert "690,773" in picture.figure.get_suptitle()


def centres(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Marks and error bars by colour."""
    found = {}
    for container in axes.containers:
        marks, _, [bars] = container
        found[to_hex(marks.get_color())] = (marks.get_xdata(), marks.get_ydata(), bars.get_segments())
    return found


def test_crossover_draws_geometric_means_with_their_intervals() -> None:
    data, picture = crossover(), crossover_figure.draw(crossover())
    [axes] = picture.figure.axes
    found = centres(axes)
    assert picture.name == "crossover"
    assert set(found) == {colour_of(name).lower() for name in Selective().rules}
    for name in Selective().rules:
        x, y, bars = found[colour_of(name).lower()]
        samples = np.log(data["ratio"].sel(optimizer=name, arrival=1.0).transpose("seed", "size").values)
        np.testing.assert_allclose(x, data["size"], rtol=0.1)  # side by side
        np.testing.assert_allclose(y, np.exp(samples.mean(axis=0)))
        half = stats.sem(samples) * stats.t.ppf(0.975, len(samples) - 1)
        expected = np.exp(samples.mean(axis=0) + half * np.array([[-1], [1]]))
        np.testing.assert_allclose(np.array(bars)[:, :, 1].T, expected, rtol=1e-9)
    closed, one = axes.lines[0], [line for line in axes.lines if set(line.get_ydata()) == {1}]
    np.testing.assert_allclose(closed.get_ydata() * np.hypot(closed.get_xdata(), 1e-3), 1, rtol=1e-6)
    assert len(one) == 1
    assert {t.get_text() for t in axes.texts} >= set(map(label_of, Selective().rules))


def test_the_title_of_crossover_is_computed() -> None:
    data = crossover().copy(deep=True)
    data["ratio"].loc[{"optimizer": "adam"}] *= 0.5
    [axes] = crossover_figure.draw(data).figure.axes
    assert float(axes.get_title(loc="left").split()[-1]) == pytest.approx(0.5, abs=0.02)


def test_alive_draws_means_with_their_intervals() -> None:
    data = cnn(ENDS["measured"])
    picture = alive.draw(data)
    [axes] = picture.figure.axes
    kept = 100 * (1 - data["inactive_by_activation"])
    assert picture.name == "alive"
    assert len(axes.lines) == len(axes.collections) == 8
    drawn = {(to_hex(line.get_color()), line.get_linestyle()): line for line in axes.lines}
    bands = dict(zip(drawn, axes.collections, strict=True))
    for name in OPTIMIZERS:
        for strength, style in ((STRENGTH, LINES["l2"]), (0.0, LINES["none"])):
            curve, where = kept.sel(optimizer=name, strength=strength), (colour_of(name).lower(), style)
            np.testing.assert_array_equal(drawn[where].get_xdata(), EPOCHS)
            np.testing.assert_allclose(drawn[where].get_ydata(), curve.mean("seed"))
            half = stats.sem(curve.values, axis=0) * stats.t.ppf(0.975, SEEDS - 1)
            edge = bands[where].get_paths()[0].vertices[:, 1]
            assert edge.max() == pytest.approx(float((curve.mean("seed") + half).max()))
            assert edge.min() == pytest.approx(float((curve.mean("seed") - half).min()))
    assert {t.get_text() for t in axes.texts} == {*(f"{label_of(n)} + L2" for n in OPTIMIZERS), "all, no L2"}


def test_the_title_of_alive_is_computed() -> None:
    data = cnn(ENDS["measured"])
    data["inactive_by_activation"].loc[{"optimizer": "adam", "strength": STRENGTH}] = 0.63
    data["inactive_by_activation"].loc[{"optimizer": "sgd", "strength": 0.0}] = 0.17
    title = alive.draw(data).figure.axes[0].get_title(loc="left")
    assert "63%" in title
    assert "17%" in title


def test_a_curve_ends_where_a_seed_diverged_and_keeps_its_label() -> None:
    data = cnn(ENDS["measured"])
    lost = {"optimizer": "rmsprop", "strength": STRENGTH, "seed": 1, "epoch": EPOCHS[3:]}
    data["inactive_by_activation"].loc[lost] = np.nan
    [axes] = alive.draw(data).figure.axes
    [curve] = [c for c in axes.lines if (c.get_color(), c.get_linestyle()) == (colour_of("rmsprop"), LINES["l2"])]
    assert np.isfinite(curve.get_ydata()).tolist() == [True] * 3 + [False] * 2
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert set(heights) == {*(f"{label_of(n)} + L2" for n in OPTIMIZERS), "all, no L2"}
    assert np.diff(sorted(heights.values())).min() >= 0.055 - 1e-9
    low, high = axes.get_ylim()
    assert heights["RMSprop + L2"] == pytest.approx((curve.get_ydata()[2] - low) / (high - low), abs=0.055)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("silence", ["n = 1 path", "lr 0.001", "strength 0.01"]),
        ("crossover", ["n = 3 seeds of 16 weights", "95% t-interval", "strength 0.001"]),
        ("alive, measured", [f"n = {SEEDS} seeds", "95% t-interval", "232 filters", "L2 0.005", "Adam 0.003"]),
    ],
)
def test_every_picture_says_how_many_and_what_is_seen(name: str, said: list[str]) -> None:
    picture = PICTURES[name]()
    for part in said:
        assert part in picture.caption
    assert len(picture.alt) > 60
    assert picture.alt.endswith(".")


def test_the_same_data_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("silence", "crossover", "alive, measured"):
        files = []
        for _ in range(2):
            picture = PICTURES[name]()
            save(picture, tmp_path)
            files.append((tmp_path / f"{picture.name}.svg").read_bytes())
        assert files[0] == files[1]


def test_data_are_left_as_they_were() -> None:
    for draw, data in (
        (silence_figure.draw, silence()),
        (crossover_figure.draw, crossover()),
        (alive.draw, cnn(ENDS["measured"])),
    ):
        before = data.copy(deep=True)
        draw(data)
        xr.testing.assert_identical(data, before)
