"""What answers show of themselves: data frames and tables hold exactly their numbers, pictures draw them."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import matplotlib as mpl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from dynamics.answers.by_layer import Layer, Layers
from dynamics.answers.convert import Conversion
from dynamics.answers.horizon import Horizon
from dynamics.answers.match import Range
from dynamics.answers.pull_rate import Gradients
from dynamics.estimate import Estimate
from dynamics.probe.report import Answer, Probe, wrong
from dynamics.result import SHOWN, Result, as_html
from evidence.claim import Claim, Finding, within
from fullscale.measure import Activity
from fullscale.prune.certificate import Certificate
from fullscale.prune.compare import Difference
from fullscale.prune.removal import LayerRemoval, Removal
from undertow import InputError, Monitor, explain, read


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


# made by hand, so that a test knows every number

SPREAD = Estimate(1.125, 1.0 / 3, 1.5, 4, "steps", "95% t-interval over seeds", (1.0, 1.2, 0.9, 1.4))
CONVERSION = Conversion(
    "adam l2=1e-4", "adam decoupled_lr=0.1", 0.1, 1e-4, 1.0 / 3, SPREAD,
    {"weight": Range(None, 10.0 / 3), "gradient_rms": Range(9e-4, 1.1e-3), "arrival": Range(0.9, None)}, "", None, "", (),
)  # fmt: skip
NONE = Conversion(
    "adagrad", None, None, None, None, None, {}, "it falls", Horizon(625, 10_000, 0.016, 1.9, 0.6), "", ()
)
CLAIM = Claim("S1", "Weights <b>shrink</b> $^.", "me", "coin", lambda _: SPREAD, within(0, 2))
FINDING = Finding(CLAIM, SPREAD, "holds")
ANSWER = Answer(
    0, "<b>$^$", "adam", "l2", "Adam", True, (), {"lr": 1e-3, "strength": 0.05, "eps": 0.0}, {"lr": 1e-3, "strength": 0.1}, 0.0, 0
)  # fmt: skip
PROBE = Probe("<b>Adam</b>", (ANSWER,), (wrong("weight decay 0.1 is claimed, 0.05 acts"),))
REMOVAL = Removal(
    (LayerRemoval("<b>$^$", 8, 3, 0, 0, 0, (0, 1, 2, 3, 4)), LayerRemoval("norm2", 16, 0, 0, 0, 0, tuple(range(16)))),
    None,  # type: ignore[arg-type]
)
DIFFERENCES = (
    Difference("held_out", "<b>", 0.0, 2.0, 1e-7, 1.0 / 3e5),
    Difference("random", "", 2.0 / 3e7, 2.0, 1e-7, 1.0 / 3e5),
)
CERTIFICATE = Certificate(
    2, 0.0, 0.0, 2, 0, 2.0 / 3e7, 1.0 / 3e7, None, None, None, None, None, None, "float32", 10, 5, 100, 40, DIFFERENCES
)


def activity() -> Activity:
    peaks = (torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 2.0]))
    scales = (torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0]))
    return Activity(
        ("<b>", "norm2"), ("relu", "relu"), ("BatchNorm", "BatchNorm"), peaks, peaks, scales, scales, (peaks[0], peaks[1] / 3), 7
    )  # fmt: skip


class TwoLayers(nn.Sequential):
    """Of two units, small enough to be watched at once."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2), nn.ReLU()
        )


def watched() -> Monitor:
    net = TwoLayers()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor = Monitor(net, optimizer, interval=2)
    for _ in range(4):
        net(torch.ones(8, 1, 5, 5)).square().mean().backward()
        optimizer.step()
    monitor.close()
    return monitor


def groups() -> Result:
    net = TwoLayers()
    sizes = [list(net[0].parameters()), list(net[1].parameters())]
    parameters = [{"params": sizes[0], "weight_decay": 0.1}, {"params": sizes[1]}]
    return read(torch.optim.SGD(parameters, lr=1e-2))


MADE: dict[str, Any] = {
    "explain": lambda: explain("adam lr=1e-3 l2=1e-4"),
    "explain a run": lambda: explain("adamw lr=1e-3", schedule="cosine", steps=100),
    "read": groups,
    "convert": lambda: CONVERSION,
    "convert to none": lambda: NONE,
    "convert each tensor": lambda: LAYERS,
    "probe": lambda: PROBE,
    "finding": lambda: FINDING,
    "activity": activity,
    "removal": lambda: REMOVAL,
    "certificate": lambda: CERTIFICATE,
    "monitor": watched,
}


@pytest.fixture(scope="module", params=MADE)
def shown(request: pytest.FixtureRequest) -> Any:
    return MADE[request.param]()


class Parsed(HTMLParser):
    """The tags and the text of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag in ("td", "th", "caption"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


TABLE = {"table", "caption", "thead", "tbody", "tr", "th", "td"}
words = st.text(st.characters(exclude_categories=["C"]))
values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | words
tables = st.lists(st.dictionaries(words, values, min_size=1, max_size=4), max_size=5)


def same(one: Any, other: Any) -> bool:
    """Equal, with nothing and not a number as one."""
    nothing = [x is None or (isinstance(x, float) and math.isnan(x)) for x in (one, other)]
    return all(nothing) or (not any(nothing) and one == other)


class Plain(Result):
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def rows(self) -> list[dict[str, Any]]:
        return self._rows

    @property
    def finding(self) -> str:
        return "<script>"


@given(tables)
def test_a_data_frame_has_exactly_the_rows(rows: list[dict[str, Any]]) -> None:
    frame = Plain(rows).to_dataframe()
    assert len(frame) == len(rows)
    assert set(frame.columns) == {name for row in rows for name in row}
    for k, row in enumerate(rows):
        for name in frame.columns:
            assert same(frame[name].tolist()[k], row.get(name))


@given(tables.filter(lambda rows: len(rows) != 1))
def test_a_table_shows_any_text_and_has_no_tags_of_it(rows: list[dict[str, Any]]) -> None:
    found = Parsed(Plain(rows)._repr_html_())
    assert set(found.tags) <= TABLE
    caption, *cells = found.cells
    columns = list(dict.fromkeys(name for row in rows for name in row))
    assert caption == "<script>"
    assert cells[: len(columns)] == columns
    for k, row in enumerate(rows):
        for name, cell in zip(columns, cells[(k + 1) * len(columns) :], strict=False):
            value = row.get(name)
            if isinstance(value, str):
                assert cell == value
            elif isinstance(value, float) and math.isfinite(value):
                assert float(cell) == pytest.approx(value, rel=1e-5)


@given(st.integers(SHOWN - 2, 3 * SHOWN))
def test_a_long_table_keeps_its_ends_and_counts_the_rest(count: int) -> None:
    cells = Parsed(as_html([{"k": k} for k in range(count)], "")).cells[2:]
    assert (cells[0], cells[-1]) == ("0", str(count - 1))
    left_out = [cell for cell in cells if "more rows" in cell]
    assert left_out == ([f"... {count - SHOWN} more rows ..."] if count > SHOWN else [])


def test_every_answer_shows_its_rows(shown: Any) -> None:
    rows, frame, html = shown.rows(), shown.to_dataframe(), Parsed(shown._repr_html_())
    assert rows
    for k, row in enumerate(rows):
        assert all(type(value) in (int, float, bool, str, type(None)) for value in row.values()), row
        assert all(same(frame[name].tolist()[k], value) for name, value in row.items())
    assert set(html.tags) <= TABLE
    assert html.cells[0] == shown.finding


def test_a_picture_says_its_finding_and_leaves_all_else_as_it_was(shown: Any) -> None:
    before, numbers = dict(mpl.rcParams), plt.get_fignums()
    given_axes = Figure().add_subplot()
    for axes in (shown.plot(given_axes), shown.plot()):
        assert axes.get_title(loc="left").split() == shown.finding.split()
        assert axes.get_xlabel()
        axes.figure.savefig(io.BytesIO(), format="svg")
    assert shown.plot(ax=given_axes) is given_axes
    assert len(plt.get_fignums()) == len(numbers) + 1
    assert dict(mpl.rcParams) == before


LAYERS = Layers(
    iter([
        Layer("a", "adam", Gradients(1e-2), 0.1), Layer("b", "adam", Gradients(1e-1), 1e-3),
        Layer("<c>", "adam", None, None, "why"),
    ]),
    "adam with weight decay x lr",
)  # fmt: skip


def bars(axes: Axes) -> list[float]:
    """Where each bar ends, those of nothing left out."""
    return [bar.get_x() + bar.get_width() for bar in axes.patches if bar.get_width()]  # type: ignore[attr-defined]


def drawn(axes: Axes) -> list[list[float]]:
    return [[float(x) for x in line.get_xdata()] for line in axes.lines]  # type: ignore[union-attr]


def test_pictures_draw_the_numbers() -> None:
    setting = explain("adam lr=1e-3 l2=1e-4")
    assert bars(setting.plot()) == pytest.approx([time.steps for time in setting.steps_from_1_to_1e_3.values()])
    run = explain("adamw lr=1e-3", schedule="cosine", steps=100)
    assert run.run is not None
    assert bars(run.plot()) == pytest.approx([left.size for left in run.run.couplings.values()])
    of = groups()
    assert bars(of.plot()) == pytest.approx([of.rows()[0]["half_life"]])
    lines = drawn(CONVERSION.plot())
    assert (lines[0][1], lines[3], lines[6][0]) == (10.0 / 3, [9e-4, 1.1e-3], 0.9)
    assert list(NONE.plot().lines[0].get_ydata()) == [1.9, 0.6]
    points, middle = LAYERS.plot().lines
    assert (list(points.get_xdata()), list(points.get_ydata())) == ([1e-2, 1e-1], [0.1, 1e-3])  # type: ignore[arg-type]
    assert middle.get_ydata()[0] == pytest.approx(0.01)  # type: ignore[index]
    apart, claimed, acting = drawn(PROBE.plot())
    assert (apart, claimed, acting) == ([0.1, 0.05], [1e-3, 0.1], [1e-3, 0.05, 0.0])
    samples, interval, value = drawn(FINDING.plot())
    assert (samples, interval, value) == (list(SPREAD.samples), [SPREAD.low, SPREAD.high], [SPREAD.value])
    of_layers = activity()
    shares = [*of_layers.layers_by_activation(), *of_layers.layers_by_scale()]
    assert bars(of_layers.plot()) == pytest.approx([100 * share for share in shares if share])
    assert bars(REMOVAL.plot()) == [8, 16, 5, 16]
    assert drawn(CERTIFICATE.plot()) == [
        [getattr(one, name) for one in DIFFERENCES] for name in ("allowed", "rounding", "difference")
    ]
    seen = watched()
    assert drawn(seen.plot()) == [[0.0, 2.0]] * 2
    assert [sorted(line.get_ydata()) for line in seen.plot().lines] == [[100.0, 100.0]] * 2


def test_what_cannot_be_drawn_is_said_and_leaves_no_figure() -> None:
    net = TwoLayers()
    nothing = Monitor(net, torch.optim.SGD(net.parameters(), lr=0.1))
    unknown = Finding(CLAIM, Estimate(math.nan, math.nan, math.nan, 0, "", ""), "undecided")
    for empty in (nothing, unknown, Conversion("a", None, None, None, None, None, {}, "why", None, "", ())):
        with pytest.raises(InputError, match="nothing to draw"):
            empty.plot()
    assert plt.get_fignums() == []
    nothing.close()
    with pytest.raises(InputError, match="axes of matplotlib's"):
        FINDING.plot(ax=3)  # type: ignore[arg-type]


def test_a_missing_pandas_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="'pandas' is missing"):
        FINDING.to_dataframe()
    assert "<table>" in FINDING._repr_html_()
