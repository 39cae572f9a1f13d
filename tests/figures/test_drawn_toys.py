"""Figures of toy worlds draw what was measured: marks are means with their intervals, lines are the closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from pictures import interval, marks, title_of
from scipy.stats import binomtest
from worlds import FIGURES, changed, drawn, measured

from figures.style import LINES, colour_of, label_of
from synthetic.visits import ARRIVALS


def lines(axes: Axes, points: int, style: str = "-") -> list:  # type: ignore[type-arg]
    return [line for line in axes.lines if line.get_linestyle() == style and len(line.get_xdata()) == points]


def test_silence_draws_each_path_until_it_is_through() -> None:
    data = measured("silence")
    for axes, coupling in zip(drawn("silence").figure.axes, ("l2", "decoupled_lr"), strict=True):
        *curves, target = axes.lines
        assert [to_hex(c.get_color()) for c in curves] == [colour_of(n).lower() for n in data.optimizer.values]
        assert {c.get_linestyle() for c in curves} == {LINES[coupling]}
        for curve, name in zip(curves, data.optimizer.values, strict=True):
            cell = data.sel(optimizer=name, coupling=coupling, strength=1e-2).isel(step=slice(1, None))
            path = abs(cell["w"].fillna(cell["closed"]))
            count = len(curve.get_xdata())
            np.testing.assert_array_equal(curve.get_xdata(), path.step[:count])
            np.testing.assert_array_equal(curve.get_ydata(), path[:count])
            # The last point is the first below the target, or the last there is.
            assert (path[: count - 1] >= 1e-3).all()
            assert count == len(path) or path[count - 1] < 1e-3
        assert set(target.get_ydata()) == {1e-3}
        assert {t.get_text() for t in axes.texts} == {label_of(n) for n in data.optimizer.values}


def test_crossover_draws_geometric_means_beside_the_closed_form() -> None:
    data, [axes] = measured("crossover"), drawn("crossover").figure.axes
    found = {to_hex(container[0].get_color()): marks(container) for container in axes.containers}
    assert set(found) == {colour_of(n).lower() for n in data.optimizer.values}
    for name in data.optimizer.values:
        x, y, ends = found[colour_of(name).lower()]
        samples = np.log(data["ratio"].sel(optimizer=name, arrival=1.0).transpose("size", "seed").values)
        mean, expected = interval(samples)
        np.testing.assert_allclose(x, data["size"], rtol=0.1)  # side by side
        np.testing.assert_allclose(y, np.exp(mean))
        np.testing.assert_allclose(ends, np.exp(expected), rtol=1e-9)
    closed, one = axes.lines[0], [line for line in axes.lines if set(line.get_ydata()) == {1}]
    np.testing.assert_allclose(closed.get_ydata() * np.hypot(closed.get_xdata(), 1e-3), 1, rtol=1e-6)
    assert len(one) == 1
    assert {t.get_text() for t in axes.texts} >= {label_of(n) for n in data.optimizer.values}
    [halved] = drawn("crossover", ("ratio", {"optimizer": "adam"}, lambda x: 0.5 * x)).figure.axes
    assert float(title_of(halved.figure).split()[-1]) == pytest.approx(0.5, abs=0.02)


def test_batch_draws_shares_against_the_batch_and_the_arrival() -> None:
    data, panels = measured("batch"), drawn("batch").figure.axes
    dead = data["dead"].sel(optimizer="adam", coupling="l2")
    for panel, horizon in zip(panels, ("epochs", "steps", "steps"), strict=True):
        assert panel.xaxis_inverted()
        *each, over_all = panel.containers if panel is not panels[2] else [*panel.containers, None]
        if over_all is not None:
            shares = dead.sel(horizon=horizon).mean("exciting").transpose("batch", "seed").values
            _, y, ends = marks(over_all)
            np.testing.assert_allclose(y, interval(shares)[0])
            np.testing.assert_allclose(ends, interval(shares)[1], atol=1e-9)
            # Its ends are written beside it.
            assert {f"{y[0]:.0%}", f"{y[-1]:.0%}"} <= {t.get_text() for t in panel.texts}
        for container, exciting in zip(each, reversed(data.exciting.values), strict=True):
            x, y, ends = marks(container)
            mean, expected = interval(dead.sel(horizon=horizon, exciting=exciting).transpose("batch", "seed").values)
            arrival = 1 - data["silent_epoch"].sel(exciting=exciting)
            np.testing.assert_array_equal(x, arrival if panel is panels[2] else data.batch)
            np.testing.assert_allclose(y, mean)
            np.testing.assert_allclose(ends, expected, atol=1e-9)
    labels = {t.get_text() for t in panels[1].texts}
    assert labels >= {"excited by", "mean", *(f"{k} of 512" for k in data.exciting.values)}
    curves = [c[0] for c in panels[0].containers[:-1]]
    assert len({c.get_marker() for c in curves}) == len({tuple(c.get_color()) for c in curves}) == 6


def by_batch(axes: Axes, adam: xr.DataArray, along: str) -> None:
    """A set of marks for each batch size, and their mean with its ends in numbers."""
    *each, over_all = axes.containers
    mean = adam.mean("batch").transpose(along, "seed").values
    np.testing.assert_allclose(marks(over_all)[1], mean.mean(axis=1))
    np.testing.assert_allclose(marks(over_all)[2], interval(mean)[1], atol=1e-9)
    assert {f"{x:.0%}" for x in mean.mean(axis=1)[[0, -1]]} <= {t.get_text() for t in axes.texts}
    for container, batch in zip(each, adam.batch.values, strict=True):
        x, y, ends = marks(container)
        mean, expected = interval(adam.sel(batch=batch).transpose(along, "seed").values)
        np.testing.assert_array_equal(x, adam[along])
        np.testing.assert_allclose(y, mean)
        np.testing.assert_allclose(ends, expected, atol=1e-9)


def without_marks(axes: Axes) -> dict[tuple[str, str], np.ndarray]:
    plain = [line for line in axes.lines if line.get_marker() == "None"]
    return {(to_hex(line.get_color()), line.get_linestyle()): line.get_ydata() for line in plain}


def test_capacity_stands_on_its_formulas_and_draws_shares() -> None:
    data, (right, left) = measured("capacity"), drawn("capacity").figure.axes
    for formula, mark, coupling in zip(left.lines[::2], left.lines[1::2], ("l2", "decoupled_lr"), strict=True):
        np.testing.assert_array_equal(mark.get_xdata(), data.network)
        np.testing.assert_array_equal(mark.get_ydata(), data["shared"].sel(coupling=coupling))
        np.testing.assert_array_equal(formula.get_ydata(), data["shared_closed"].sel(coupling=coupling))
    assert {t.get_text() for t in left.texts} == {"Adam + L2", "Adam + decay"}
    by_batch(right, data["dead"].sel(optimizer="adam", coupling="l2"), "network")
    plain = without_marks(right)
    for rule, coupling, line in (("adam", "decoupled_lr", "--"), ("sgd", "l2", "-")):
        mean = data["dead"].sel(optimizer=rule, coupling=coupling).mean(("batch", "seed"))
        np.testing.assert_allclose(plain[(colour_of(rule).lower(), line)], mean)
    np.testing.assert_allclose(plain[("#cccccc", "-")], data["unused"].mean("seed"))


def test_difficulty_draws_shares_from_hard_to_easy() -> None:
    data, panels = measured("difficulty"), drawn("difficulty").figure.axes
    views = (data["dead"].sel(patterns=512), "scale"), (data["dead"].sel(scale=1.0), "patterns")
    for panel, (dead, along) in zip(panels, views, strict=True):
        easier = dead.sortby(along, ascending=False)
        assert panel.xaxis_inverted()
        by_batch(panel, easier.sel(optimizer="adam", coupling="l2"), along)
        for rule, coupling, line in (("adam", "decoupled_lr", "--"), ("sgd", "l2", "-")):
            mean = easier.sel(optimizer=rule, coupling=coupling).mean(("batch", "seed"))
            np.testing.assert_allclose(without_marks(panel)[(colour_of(rule).lower(), line)], mean)
    np.testing.assert_allclose(without_marks(panels[1])[("#cccccc", "-")], data["unused"].mean("seed")[::-1])


def test_pull_holds_one_rules_pulls_a_panel() -> None:
    data, figure = measured("pull"), drawn("pull").figure
    for axes, rule in zip(figure.axes, data.optimizer.values, strict=True):
        assert axes.get_title(loc="left") == label_of(rule)
        thin = {x.get_linestyle(): x for x in axes.lines if len(x.get_xdata()) == 9 and x.get_linewidth() < 2}
        for coupling in ("l2", "decoupled_lr"):
            mean = data["pull"].sel(optimizer=rule, coupling=coupling).mean("seed")
            np.testing.assert_array_equal(thin[LINES[coupling]].get_xdata(), data.arrival)
            np.testing.assert_allclose(thin[LINES[coupling]].get_ydata(), mean.where(mean > 0))
        assert to_hex(thin["-"].get_color()) == colour_of(rule).lower()
        # Beside L2's pull, from where it starts, what 1/sqrt(p) would be.
        [guide] = [x for x in axes.lines if x.get_linewidth() > 2]
        pull = thin["-"].get_ydata()
        start = int(np.argmax(np.isfinite(pull)))
        np.testing.assert_allclose(guide.get_ydata() * np.sqrt(data.arrival), pull[start] * data.arrival[start] ** 0.5)
    critical = data.arrival.sel(arrival=data.attrs["critical"], method="nearest")
    at = {"optimizer": "adam", "coupling": "l2"}
    altered = changed(
        "pull",
        ("pull", at | {"arrival": 1.0}, 1.0),
        ("pull", at | {"arrival": critical}, 7.0),
        ("pull", {"coupling": "decoupled_lr"}, 1.0),
    )
    redrawn = FIGURES["pull"][0](altered)
    assert "x 7 under Adam" in title_of(redrawn.figure)
    assert "weight decay's grows under no rule" in title_of(redrawn.figure)
    assert "Adam x 7;" in redrawn.alt
    assert "x 7" in {t.get_text() for axes in redrawn.figure.axes for t in axes.texts}
    few = altered.sel(optimizer=["sgd", "lion", "adam"])
    few["pull"].loc[{"optimizer": ["sgd", "lion"], "coupling": "decoupled_lr", "arrival": critical}] = 3.0
    assert "under 2 of 3 rules" in title_of(FIGURES["pull"][0](few).figure)


def test_critical_and_rest_draw_marks_on_predictions() -> None:
    data, (left, right) = measured("critical"), drawn("critical").figure.axes
    ratio = np.exp(np.log(data["inverse_root"] / data["on_arrival"]).mean("seed"))
    for k, kind in enumerate(ARRIVALS):
        for axes, seen, form in ((left, ratio, "predicted"), (right, data["rest"].mean("seed"), "rests")):
            x, y, _ = marks(axes.containers[k])
            line = lines(axes, 5)[k]
            np.testing.assert_allclose(x, 1 / data.epoch.values / data.attrs["critical"])
            np.testing.assert_allclose(y, seen.sel(arrivals=kind))
            np.testing.assert_allclose(line.get_ydata(), data[form].sel(arrivals=kind))
            assert to_hex(line.get_color()) == colour_of("adam" if kind == "independent" else "sgd").lower()
    data = measured("rest")
    panels = [(loss, coupling) for loss in ("restoring", "constant") for coupling in ("l2", "decoupled_lr")]
    for axes, (loss, coupling) in zip(drawn("rest").figure.axes, panels, strict=True):
        for container, line, rule in zip(axes.containers, lines(axes, 7), data.optimizer.values, strict=True):
            at = data.sel(optimizer=rule, loss=loss, coupling=coupling)
            np.testing.assert_allclose(marks(container)[1], at["rest"].mean("seed"))
            np.testing.assert_allclose(line.get_ydata(), at["predicted"])
            # Marks that coincide stand side by side, no further than from one arrival to the next.
            np.testing.assert_allclose(line.get_xdata() * data.attrs["critical"] / data.arrival, 1, atol=0.09)
            assert to_hex(line.get_color()) == colour_of(rule).lower()
    second = {"loss": "restoring", "arrival": data.arrival[1]}
    three = enumerate((("adam", "l2"), ("sgd", "l2"), ("adam", "decoupled_lr")), 1)
    redrawn = drawn("rest", *(("rest", second | {"optimizer": r, "coupling": c}, k / 10) for k, (r, c) in three))
    assert "0.10 of a weight under Adam and 0.20 under SGD, weight decay 0.30" in title_of(redrawn.figure)
    assert "Adam 0.10 and 0.30" in redrawn.alt


def test_equilibrium_draws_simulated_over_predicted_sizes() -> None:
    data = measured("equilibrium")
    [axes] = drawn("equilibrium").figure.axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    for label, coupling in (("Adam, L2", "l2"), ("Adam, decay x lr", "decoupled_lr"), ("SGD, L2", "l2")):
        one = data.sel(optimizer="sgd" if "SGD" in label else "adam", coupling=coupling)
        known = one["predicted"].notnull().values
        x, y, _ = marks(axes.containers[rows.index(label)])
        ratios = one["mean_square"].values[known] / one["predicted"].values[known][:, None]
        mean, expected = interval(np.log(ratios))
        seen = (np.exp(mean) > 0.4) & (np.exp(mean) < 1.6)  # the others are told at the edge
        np.testing.assert_allclose(x, np.exp(mean)[seen])
        assert {round(float(at)) for at in y} == {rows.index(label)}
        ends = np.array([bar[:, 0] for bar in axes.containers[rows.index(label)][2][0].get_segments()])
        np.testing.assert_allclose(ends, np.exp(expected)[seen])
    # Crosses stand where a formula is stretched.
    x, _, _ = marks(axes.containers[rows.index("Adam, decay at p = 0.01")])
    decay = data.sel(optimizer="adam", coupling="decoupled_lr")
    ratio = (decay["mean_square"].sel(arrival=0.01) / decay["predicted"].sel(arrival=1.0)).values.reshape(
        -1, data.sizes["seed"]
    )
    mean = np.exp(np.log(ratio).mean(axis=1))
    np.testing.assert_allclose(x, mean[(mean > 0.4) & (mean < 1.6)])
    seeds = xr.ones_like(data["seed"], dtype=float)
    common = data["predicted"].sel(optimizer="adam", coupling="decoupled_lr", arrival=1.0)
    halved = drawn(
        "equilibrium",
        ("mean_square", {}, data["predicted"].fillna(1.0) * seeds),
        ("mean_square", {"optimizer": "sgd", "coupling": "l2", "arrival": 1.0}, lambda x: 0.25 * x),
        ("mean_square", {"optimizer": "adam", "coupling": "decoupled_lr", "arrival": 0.01}, common * 0.7 * seeds),
    ).figure
    assert "within a factor of 4 in every setting;" in title_of(halved)
    assert "p = 0.01, beyond its formula, are 0.7 of it" in title_of(halved)
    # What lies far out is told at the edge, in its row.
    assert [t.get_text() for t in halved.axes[0].texts if t.get_position()[1] == 0] == ["← 0.25 to 0.25"]


def test_minima_draws_rests_over_their_closed_forms() -> None:
    data = measured("minima")
    for axes, coupling in zip(drawn("minima").figure.axes, ("l2", "decoupled_lr"), strict=True):
        _, *curves = axes.lines
        assert len(curves) == 2 * data.sizes["optimizer"]
        for k, name in enumerate(data.optimizer.values):
            at = data.sel(optimizer=name, coupling=coupling, strength=0.5)
            np.testing.assert_array_equal(curves[2 * k].get_ydata(), at["predicted"])
            np.testing.assert_array_equal(curves[2 * k + 1].get_ydata(), at["rest"])
            np.testing.assert_array_equal(curves[2 * k + 1].get_xdata(), data.target)
        colours = {line.get_color() for line in curves[1::2]}
        assert len(colours) == data.sizes["optimizer"]
        # Curves that coincide share a label, in the colour of the one on top.
        labels = [text.get_text() for text in axes.texts]
        assert labels == (
            ["all 7"] if coupling == "l2" else ["momentum", "SGD", "Adamax, Lion", "RMSprop, Adam", "AMSGrad"]
        )
        assert coupling == "l2" or {text.get_color() for text in axes.texts} < colours


def test_schedules_draws_silent_weights_beside_sizes() -> None:
    data, panels = measured("schedules"), drawn("schedules").figure.axes
    for column, schedule in enumerate(data.schedule.values):
        above, below = panels[2 * column : 2 * column + 2]
        at = data.sel(schedule=schedule)
        floor, *silent = above.lines
        np.testing.assert_allclose(floor.get_ydata(), 1 - at["gone"])
        three = (("adam", "decoupled_lr"), ("adam", "l2"), ("rmsprop", "l2"))
        for line, (rule, coupling) in zip(silent, three, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), at["silent"].sel(optimizer=rule, coupling=coupling))
        rate, *sizes = below.lines
        np.testing.assert_allclose(rate.get_ydata(), at["rates"] / 0.1)
        for line, band, sized in zip(sizes, below.collections, ("decoupled_lr", "corrected"), strict=True):
            mean, ends = interval(at["mean_square"].sel(sized=sized).values.T / 0.1)
            np.testing.assert_allclose(line.get_ydata(), mean)
            assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(ends.max())


@pytest.mark.parametrize("lost", [(), (("inactive", {}, 0), ("inactive", {"optimizer": "rmsprop"}, 1))])
def test_feature_draws_shares_with_their_exact_intervals(lost: tuple[tuple[str, dict[str, str], int], ...]) -> None:
    data, picture = changed("feature", *lost), drawn("feature", *lost)
    assert f"Adam {float(data['lr'].sel(optimizer='adam')):g}" in picture.caption
    dead = data["inactive"].sel(strength=data.attrs["reference"]).sum("seed").astype(int)
    for axes, coupling in zip(picture.figure.axes, data["coupling"].values, strict=True):
        for container, name in zip(axes.containers, data["optimizer"].values, strict=True):
            count = dead.sel(optimizer=name, coupling=coupling).values
            _, y, ends = marks(container)
            assert to_hex(container[0].get_color()) == colour_of(name).lower()
            np.testing.assert_allclose(y, 20 * count)
            exact = [binomtest(int(k), 5).proportion_ci(0.95, method="exact") for k in count]
            np.testing.assert_allclose(ends, [[100 * e.low, 100 * e.high] for e in exact], atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_compete_draws_losses_with_their_intervals(share: float) -> None:
    size = measured("compete")["inactive"].shape
    inactive = ("inactive", {}, np.random.default_rng(0).random(size) < share)
    data, figure = changed("compete", inactive), drawn("compete", inactive).figure
    lost = 100 * data["inactive"].sel(strength=data.attrs["reference"]).mean("copy")
    for axes, coupling in zip(figure.axes, data["coupling"].values, strict=True):
        for container, name in zip(axes.containers, data["optimizer"].values, strict=True):
            _, y, ends = marks(container)
            samples = lost.sel(optimizer=name, coupling=coupling).transpose("selectivity", "seed").values
            mean, expected = interval(samples)
            expected = np.clip(expected, 0, 100)
            assert to_hex(container[0].get_color()) == colour_of(name).lower()
            np.testing.assert_allclose(y, mean)
            np.testing.assert_allclose(ends, expected, atol=1e-9)
            low, high = axes.get_ylim()
            assert low == 0
            assert expected.max() <= high


def test_plane_draws_every_path_and_shades_the_dead_cone() -> None:
    data, figure = measured("plane"), drawn("plane").figure
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["SGD + L2", "AdamW", "Adam + L2"]
    for axes, name in zip(figure.axes, data["update"].values, strict=True):
        bound, *seen = axes.lines
        np.testing.assert_allclose(bound.get_ydata(), -data.attrs["bound"] * bound.get_xdata())
        assert len(seen) == 3 * data.sizes["start"]
        for k in range(data.sizes["start"]):
            path, first, last = seen[3 * k : 3 * k + 3]
            at = data.sel(update=name).isel(start=k)
            np.testing.assert_array_equal(path.get_xdata(), at["gamma"])
            np.testing.assert_array_equal(path.get_ydata(), at["beta"])
            assert (first.get_xdata()[0], last.get_xdata()[0]) == (float(at["gamma"][0]), float(at["gamma"][-1]))
        assert axes.patches  # heads of the streamlines
        corners = axes.collections[0].get_paths()[0].vertices
        right = corners[corners[:, 0] == data["x"].values[-1]]
        edge = -data.attrs["largest"] * float(data["x"][-1]), float(data["y"][0])
        assert set(right[:, 1].round(9)) == {round(y, 9) for y in edge}


def test_phase_maps_are_the_data_and_the_line_the_boundary() -> None:
    data = measured("phase_selectivity")
    for axes, name in zip(drawn("phase_selectivity").figure.axes[:3], ("dead", "time", "size"), strict=True):
        [mesh] = axes.collections
        np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan), data[name].values)
        known = data.boundary.notnull().values
        for line in axes.lines:
            np.testing.assert_array_equal(line.get_xdata(), data.boundary.values[known])
            np.testing.assert_array_equal(line.get_ydata(), data.y.values[known])
    first = title_of(drawn("phase_batch").figure)
    assert title_of(drawn("phase_batch", ("boundary", {}, lambda x: 2 * x)).figure) != first
