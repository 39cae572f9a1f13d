"""What commands print keeps to the terminal's width, breaks at blanks and loses nothing; colours and bars where they are wanted."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

import pytest
import torch
from console import run
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dynamics.answers.convert import Conversion
from dynamics.answers.match import Range
from dynamics.answers.printed import side_by_side
from dynamics.answers.pull_rate import Gradients
from dynamics.answers.usual import table as of_groups
from dynamics.estimate import Estimate
from dynamics.lines import fit, hanging, table, width
from dynamics.probe.finding import Finding as Found
from dynamics.probe.report import Answer, Probe
from evidence.claim import Finding
from evidence.progress import Live, messages, moves
from evidence.registry import CLAIMS
from fullscale.measure import Activity
from undertow import explain, read
from undertow.__main__ import main
from undertow.commands import claims, prune
from undertow.commands.filter_report import _layers
from undertow.experiments import declare


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


WIDTHS = (40, 60, 80, 120)
words = st.text("abc01.%-[", min_size=1, max_size=9)
sentences = st.lists(words, max_size=12).map(" ".join)


def kept(text: str, shown: str, most: int) -> None:
    """The words are the same, in their order, and only what has no blank to break at is longer."""
    assert shown.split() == text.split()
    for line in shown.split("\n"):
        assert len(line) <= most or len(line.split()) == 1, line


@given(st.lists(st.tuples(st.integers(0, 6), sentences), max_size=4), st.integers(12, 60))
def test_lines_fit_and_keep_their_words(parts: list[tuple[int, str]], most: int) -> None:
    text = "\n".join(" " * indent + sentence for indent, sentence in parts)
    kept(text, fit(text, most), most)
    for line in text.split("\n"):
        kept(line, hanging("", line, most), most)
    assert fit(text, None) == text
    assert fit(fit(text, most), most) == fit(text, most)


@st.composite
def grids(draw: st.DrawFn) -> list[list[str]]:
    columns = draw(st.integers(1, 5))
    return draw(st.lists(st.lists(sentences, min_size=columns, max_size=columns), min_size=1, max_size=4))


@given(grids(), st.integers(4, 80))
def test_a_table_fits_and_loses_no_cell(rows: list[list[str]], most: int) -> None:
    shown = table(rows, {0}, most)
    assert all(len(line) <= most or len(line.split()) <= 2 for line in shown)
    found = sorted(word.rstrip(":") for line in shown for word in line.split())
    whole = sorted(word for row in rows for cell in row for word in cell.split())
    if len(found) == len(whole):
        assert found == whole
    else:  # upright: the head stands before each cell
        assert all(word in found for row in rows[1:] for cell in row for word in cell.split())
    if all(len(line) <= most for line in table(rows, {0})):
        assert shown == table(rows, {0})


def of_network() -> Any:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 40, 3), torch.nn.BatchNorm2d(40))
    return read(torch.optim.AdamW(net.parameters(), weight_decay=0.1), net=net)


def of_filters() -> list[str]:
    values = tuple(torch.linspace(0, 1, 1 + 10**k) for k in range(4))
    names = tuple(f"features.{k}.batch_norm" for k in range(4))
    made = Activity(names, ("relu", "gelu") * 2, ("BatchNorm",) * 4, values, values, values, values, values, 7)
    return _layers(made, None), lambda most: "\n".join(_layers(made, most))  # type: ignore[return-value]


CERTIFIED: dict[str, Any] = {
    "random_images": 256, "random_difference": 1.25e-7, "held_out_difference": 2.5e-7, "held_out_images": 1000,
    "resized_difference": 1e-8,
    "resized": (42, 40), "rounding": 3e-8, "error_before": 0.0123, "error_after": 0.0124, "parameters_before": 14_728_266,
    "parameters_after": 1_234_567, "multiply_adds_before": 313_000_000, "multiply_adds_after": 42_000_000,
    "latency": [{"images": 16, "before": (1.5, 1.25, 2.5), "after": (0.5, 0.25, 1.0)}],
}  # fmt: skip
ANSWER = Answer(
    0, "1-D", "adam", "l2", "Adam, L2 in the gradient", True, (), {"lr": 1e-3, "strength": 0.05}, {}, 0.0, 0
)
REACH = {"weight": Range(None, 3.25), "gradient_rms": Range(9e-4, 1.1e-3), "arrival": Range(0.9, None)}
RATIO = Estimate(1.0003, 0.9995, 1.0012, 8, "times the pull", "95% t-interval over seeds")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Of each command that prints no table what it prints, but for what it reads from a store."""
    declare(None)
    found = [Finding(claim, RATIO, "holds") for claim in list(CLAIMS.values())[:12]]
    settings = [explain("adam lr=1e-3 l2=1e-4"), explain("adamw lr=1e-3 weight_decay=0.1", schedule="cosine", steps=90)]
    conversion = Conversion(
        "adam lr=0.001 l2=0.0001", "adam lr=0.001 decoupled_lr=0.1", 0.1, 1e-4, 0.1, RATIO, REACH, "", None,
        "torch.optim.AdamW", (), Gradients(1e-3),
    )  # fmt: skip
    layer = dict.fromkeys(prune.CLASSES, 3)
    return [
        str(settings[0]),
        str(settings[1]),
        side_by_side(settings[:1] * 2),
        of_groups(of_network(), 60),
        str(conversion),
        str(Probe("Adam", (ANSWER,), (Found("wrong", "weight decay 0.1 is claimed, 0.05 acts"),))),
        "\n\n".join(claims._why(one) for one in found),
        "\n".join(prune.in_words({"share": 0.1, "layers": [layer]}, CERTIFIED)),
    ]


def test_what_a_command_prints_fits(texts: list[str]) -> None:
    for most in WIDTHS:
        for text in texts:
            kept(text, fit(text, most), most)


@pytest.mark.parametrize("most", WIDTHS)
def test_tables_of_commands_fit_and_keep_their_numbers(most: int) -> None:
    found = [Finding(claim, RATIO, "undecided") for claim in list(CLAIMS.values())[:12]]
    kept(claims.table(found), claims.table(found, most), most)
    whole, narrow = of_filters()
    shown = narrow(most)  # type: ignore[operator]
    assert all(len(line) <= most or len(line.split()) == 1 for line in shown.split("\n"))
    for line in whole[1:]:
        for word in line.split():
            assert word in shown.split()


@pytest.mark.parametrize("most", [40, 80])
def test_a_command_asks_for_the_width_and_data_are_left_alone(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["explain", "adam", "--l2", "1e-4"]
    wide, data = run(*words).out, run(*words, "--json").out
    monkeypatch.setenv("COLUMNS", str(most))
    assert run(*words).out == wide  # not on a terminal
    for more, shown in (([], wide), (["--json"], data)):
        with redirect_stdout(Terminal()) as terminal:
            assert main([*words, *more]) == 0
        kept(shown, terminal.getvalue(), 10**6 if more else most)
    assert terminal.getvalue() == data
    assert json.loads(data)["optimizer"] == "adam"


def test_the_width_is_that_of_columns_or_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    with redirect_stdout(io.StringIO()):
        assert (width(), width(91)) == (None, 91)
        monkeypatch.setenv("COLUMNS", "57")
        assert (width(), width(91)) == (None, 57)
    with redirect_stdout(Terminal()):
        assert (width(), width(91)) == (57, 57)
        monkeypatch.setenv("COLUMNS", "wide")
        assert isinstance(width(), int)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name in ("NO_COLOR", "TERM", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", shown := Terminal())
    with Live() as live:
        live.task("toy worlds", 3)(3, 3, "rest")
    return shown.getvalue()


def test_colours_and_bars_are_left_out_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = "\x1b[3"
    assert colours in on_a_terminal(monkeypatch, TERM="xterm-256color")
    assert colours in on_a_terminal(monkeypatch, TERM="xterm-256color", NO_COLOR="")
    plain = on_a_terminal(monkeypatch, TERM="xterm-256color", NO_COLOR="1")
    assert colours not in plain
    assert "toy worlds" in plain
    dumb = on_a_terminal(monkeypatch, TERM="dumb")
    assert "\x1b" not in dumb
    assert dumb.count("\n") == 2
    assert "toy worlds: 3 of 3 done, 0 left: rest" in dumb
    assert not moves(Console(file=Terminal()))
    assert messages().stderr
