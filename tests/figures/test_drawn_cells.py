"""Figures of the study of trained networks draw its cells and knobs, and their titles are computed."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import interval, marks, title_of
from trained import COUPLINGS, KNOBS
from worlds import drawn, measured

from figures.style import colour_of, label_of


def test_matched_draws_each_cell_and_rings_the_lowest_held_out_error() -> None:
    data, figure = measured("matched"), drawn("matched").figure
    for axes, name in zip(figure.axes, data.optimizer.values, strict=True):
        assert axes.get_title(loc="left") == label_of(name)
        for container, coupling in zip(axes.containers, data.coupling.values, strict=True):
            at = data.sel(optimizer=name, coupling=coupling)
            at = at.isel(cell=at.lr.notnull().values)
            x, y, _ = marks(container)
            np.testing.assert_allclose(x, at.test_error.mean("seed"))
            np.testing.assert_allclose(y, at.inactive.mean("seed"))
            assert to_hex(container[0].get_color()) == colour_of(name).lower()
            across, up = (bars.get_segments() for bars in container[2])
            np.testing.assert_allclose([s[:, 0] for s in across], interval(at.test_error.values)[1])
            np.testing.assert_allclose(
                [s[:, 1] for s in up], np.clip(interval(at.inactive.values)[1], 0, 100), atol=1e-9
            )
        [ring] = [line for line in axes.lines if line.get_markersize() == 12]
        error, chosen = (data[of].sel(optimizer=name).mean("seed") for of in ("test_error", "held_out_error"))
        assert ring.get_xdata()[0] == pytest.approx(float(error.where(chosen == chosen.min()).max()))
        assert ring.get_xdata()[0] > float(error.min())
    assert title_of(figure).endswith(
        "the adaptive optimizers leave 11%, SGD and momentum leave 0% of the filters inactive"
    )
    assert "Adam 0.003, L2 in the gradient 0.001" in drawn("matched").caption


def test_matched_leaves_out_what_diverged_and_tells_of_what_is_far() -> None:
    adam = {"optimizer": "adam", "coupling": "l2", "cell": 2}
    gone = ("test_error", adam | {"seed": 1}, np.nan)
    picture = drawn("matched", gone)
    assert "79 in all" in picture.caption
    assert "1 more with a run that diverged left out" in picture.caption
    panel = picture.figure.axes[list(measured("matched").optimizer.values).index("adam")]
    assert len(marks(panel.containers[1])[0]) == 3
    far = drawn("matched", ("test_error", adam, 90.0))
    panel = far.figure.axes[list(measured("matched").optimizer.values).index("adam")]
    edge = [line for line in panel.lines if line.get_marker() == ">" and len(line.get_xdata())]
    assert len(edge) == 1
    assert edge[0].get_xdata()[0] < panel.get_xlim()[1] < 60
    assert "1 at the right edge have a test error above" in far.caption
    # A diverged cell is no lowest error.
    sgd = ("test_error", {"optimizer": "sgd"}, np.nan)
    assert "SGD" not in drawn("matched", sgd).caption
    assert "No cell" in title_of(drawn("matched", ("test_error", {}, np.nan)).figure)


def test_optimizers_draws_a_mark_a_coupling() -> None:
    data, figure = measured("optimizers"), drawn("optimizers").figure
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [
        label_of(n) for n in data.optimizer.values
    ]
    for axes, name in zip(figure.axes, ("inactive", "test_error"), strict=True):
        drawn_marks = iter(axes.containers)
        for k, coupling in enumerate(COUPLINGS):
            for row, optimizer in enumerate(data.optimizer.values):
                container = next(drawn_marks)
                samples = data[name].sel(optimizer=optimizer, coupling=coupling).values[None]
                x, y = container[0].get_data()
                np.testing.assert_allclose(x, samples.mean())
                assert abs(y[0] - row) < 0.4
                assert container[0].get_marker() == "osv"[k]
                assert to_hex(container[0].get_color()) == colour_of(optimizer).lower()
                [ends] = [bars.get_segments()[0][:, 0] for bars in container[2]]
                np.testing.assert_allclose(ends, np.clip(interval(samples)[1][0], 0, 100), atol=1e-9)
    assert title_of(figure) == (
        "L2 silences 8% to 28% of the filters under Adagrad, Adadelta, RMSprop, Adam, AMSGrad and Adamax, 0% under SGD and "
        "momentum; without a regularizer none falls silent"
    )
    assert "Adam 20.1% at a test error of 36.1%" in drawn("optimizers").alt


def test_optimizers_leaves_out_what_diverged_and_says_what_falls_silent_without_a_regularizer() -> None:
    gone = [(name, {"optimizer": "adam", "coupling": "l2", "seed": 1}, np.nan) for name in ("inactive", "test_error")]
    picture = drawn("optimizers", *gone, ("inactive", {"optimizer": "sgd", "coupling": "none"}, 0.3))
    assert "1 runs diverged and are left out" in picture.caption
    assert "without a regularizer up to 0.3% fall silent" in title_of(picture.figure)
    lost = drawn("optimizers", *((name, {"optimizer": "adam"}, np.nan) for name in ("inactive", "test_error")))
    assert "nan" not in lost.alt
    assert "Adam" not in title_of(lost.figure).replace("Adamax", "")
    none = drawn("optimizers", ("inactive", {}, np.nan), ("test_error", {}, np.nan))
    assert title_of(none.figure) == "No run with L2 that did not diverge"


def test_knobs_draws_means_seeds_and_slopes() -> None:
    data, figure = measured("knobs"), drawn("knobs").figure
    for axes, (name, (levels, slope)) in zip(figure.axes, KNOBS.items(), strict=True):
        x, y, ends = marks(axes.containers[0])
        samples = data.inactive.sel(knob=name).values[: len(levels)]
        np.testing.assert_allclose(x, levels)
        np.testing.assert_allclose(y, samples.mean(axis=1))
        np.testing.assert_allclose(ends, np.clip(interval(samples)[1], 0, 100))
        [dots] = [line for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(dots.get_ydata(), samples.ravel())
        low, high = interval(np.array([slope - 1, slope, slope + 1]))[1]
        assert axes.get_title(loc="left") == f"{name}\n{slope:+.1f} [{low:.1f}, {high:.1f}] a doubling"
    said = title_of(figure)
    assert (
        "rises with width; falls with batch (equal epochs), classes; has no certain trend with batch (equal steps)"
        in said
    )


def test_knobs_leaves_seeds_that_diverged_out_of_the_slope() -> None:
    lost = ("inactive", {"knob": "width", "level": 1, "seed": 2}, np.nan)
    picture = drawn("knobs", lost)
    assert "1 runs diverged" in picture.caption
    low, high = interval(np.array([9.0, 10.0]))[1]
    assert f"width +9.5 [{low:.1f}, {high:.1f}]" in picture.alt
    bare = drawn("knobs", ("inactive", {"knob": "width", "seed": [1, 2]}, np.nan))
    assert "width unknown" in bare.alt
    assert "no slope: too few seeds" in bare.figure.axes[2].get_title(loc="left")


def test_knobs_turned_with_fewer_seeds_have_lost_no_run() -> None:
    unasked = {"knob": "width", "seed": 2}
    fewer = drawn("knobs", ("inactive", unasked, np.nan), ("asked", unasked, False))
    assert "diverged" not in fewer.caption
    assert "n = 2 or 3 seeds" in fewer.caption
