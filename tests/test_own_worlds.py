"""`undertow run`, and a user's own worlds, claims and figures: from a file outside the package into every command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import refused, run
from PIL import Image

import undertow.experiments  # noqa: F401
from evidence import registry
from synthetic.selective import Selective
from undertow.commands.run import with_constants

MINE = '''
"""A world of one's own."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from evidence.claim import above, mean_interval
from evidence.registry import claim, figure, world


@world("coin")
@dataclass(frozen=True)
class Coin:
    """A coin is flipped, again and again.

    Not part of the chapter's text.
    """

    seeds: int = 20
    flips: int = 100
    bias: float = 0.5

    def run(self, threads: int = 1) -> xr.Dataset:
        heads = np.random.default_rng(0).binomial(self.flips, self.bias, self.seeds) / self.flips
        return xr.Dataset({"heads": ("seed", heads)})


@claim("X1", source="common knowledge", experiment="coin", decision=above(0.4))
def half(data):
    """A coin shows heads in more than two fifths of its flips.

    Share of heads, one sample a seed.
    """
    return mean_interval(data["heads"], "of flips", "seeds")
'''
DRAWN = """

@figure("heads", "coin")
def draw(data):
    from matplotlib import pyplot as plt

    from figures.style import Picture

    axes = plt.figure().add_subplot()
    axes.plot(np.sort(data["heads"]), "o")
    return Picture("heads", axes.figure, "Sorted shares.", "Dots that rise.")
"""


@pytest.fixture(autouse=True)
def registry_as_it_was() -> Iterator[None]:
    tables = [(table, dict(table)) for table in (registry.EXPERIMENTS, registry.CLAIMS, registry.FIGURES)]
    yield
    for table, before in tables:
        table.clear()
        table.update(before)
    for name in [name for name in sys.modules if name.startswith("undertow_worlds_")]:
        del sys.modules[name]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_reproduce_runs_and_reports_a_world_that_no_chapter_names(mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run("reproduce", "--only", "coin", "--worlds", mine, "--out", out)
    assert (said.status, said.problems) == (0, [])
    assert said.out.startswith("X1  holds      A coin shows heads in more than two fifths of its flips.\n")
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in (
        "<p>A coin is flipped, again and again.</p>",
        '<li id="claim-x1"><b class="verdict holds">holds</b>',
        '<a href="#claim-x1">X1</a>',  # in its chapter
        "common knowledge",
        "--only coin --fresh",
    ):
        assert words in page
    assert {path.stem for path in (out / "figures").iterdir()} == {"verdicts"}
    again = run("reproduce", "--only", "coin", "--worlds", mine, "--out", out)
    assert "1 of 1 runs are stored already" in again.err
    # Another text of the file is another world: what is stored does not answer for it.
    mine.write_text(MINE.replace("self.bias,", "self.bias / 2,"))
    del registry.EXPERIMENTS["coin"], registry.CLAIMS["X1"]  # as in a new process
    changed = run("reproduce", "--only", "coin", "--worlds", mine, "--out", out)
    assert changed.out.startswith("X1  fails ")


def test_claims_and_run_take_the_file_too(mine: Path, tmp_path: Path) -> None:
    said = run("claims", "X1", "--why", "--worlds", mine, "--out", tmp_path / "out")
    assert (said.status, said.problems) == (0, [])
    for words in (
        "X1: holds",
        "experiment coin: seeds 20, flips 100, bias 0.5",
        "measured: Share of heads, one sample",
    ):
        assert words in said.out
    new = ("--out", tmp_path / "new")
    said = run("run", "coin", "--worlds", mine, "--set", "bias=0.25", "--set", "seeds=5", "--json")
    found = json.loads(said.out)
    assert found["constants"] == {"seeds": 5, "flips": 100, "bias": 0.25}
    [judged] = found["claims"]
    assert (judged["id"], judged["verdict"], judged["n"]) == ("X1", "fails", 5)
    assert judged["constants"] == found["constants"]
    refused(run("run", "coin", "--worlds", mine, "--plot", tmp_path / "x.png"), "no picture of coin alone", "silence")
    for arguments in (["reproduce", "--only", "coin", *new], ["claims", "X1", *new], ["run", "coin"]):
        refused(
            run(*arguments, "--worlds", tmp_path / "nowhere.py"), "nowhere.py", "a Python file of worlds is accepted"
        )
    assert not (tmp_path / "new").exists()


def test_a_figure_of_ones_own_is_drawn_and_stands_in_the_report(mine: Path, tmp_path: Path) -> None:
    mine.write_text(MINE + DRAWN)
    assert run("reproduce", "--only", "coin", "--worlds", mine, "--out", tmp_path).status == 0
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"heads", "verdicts"}
    assert 'id="figure-heads"' in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert run("run", "coin", "--plot", tmp_path / "coin.png").status == 0
    with Image.open(tmp_path / "coin.png") as picture:
        assert min(picture.size) > 100


def test_a_world_may_join_a_chapter_that_is_there(mine: Path) -> None:
    from undertow.reproduce import chapters

    title = "Where features die"
    mine.write_text(MINE.replace('@world("coin")', f'@world("coin", chapter="{title}")'))
    registry.load_worlds(mine)
    [joined] = chapters(["coin"])
    assert (joined.title, joined.worlds[-1]) == (title, "coin")
    assert len(chapters(list(registry.worlds()))) == len(chapters([n for n in registry.worlds() if n != "coin"])) == 7


def test_run_judges_and_draws_a_world_with_other_constants(tmp_path: Path) -> None:
    file = tmp_path / "drawn.svg"
    said = run("run", "silence", "--set", "lr=1e-2", "--set", "optimizers=adam,sgd", "--plot", file)
    assert (said.status, said.problems) == (0, [])
    assert "S8 silent  holds" in said.out
    assert "(n = 3, smallest to largest)" in said.out  # one adaptive rule, three strengths
    assert file.read_text(encoding="utf-8").count("Adam") >= 1
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    said = run("run", "selective", "--set", "optimizers=adam", "--set", "seeds=2", "--set", "weights=2")
    assert said.status == 0
    assert "S8 selective  " in said.out
    assert said.out.splitlines()[-1].startswith("B3  is not about these constants (KeyError: ")


def test_numbers_that_overflow_are_no_lines_of_their_own() -> None:
    said = run("run", "residue", "--set", "lr=1e17")
    assert (said.status, said.problems) == (0, [])
    assert "E5  undecided" in said.out


def test_run_refuses_what_it_cannot_do() -> None:
    for arguments, words in (
        ("nowhere", ["'nowhere'", "silence, laws"]),
        ("silence --set bogus=1", ["--set bogus=1", "optimizers, lr, strengths"]),
        ("silence --set lr", ["--set lr", "NAME=VALUE"]),
        ("silence --set lr=fast", ["--set lr=fast", "a finite number"]),
        ("silence --set lr=nan", ["--set lr=nan", "a finite number"]),
        ("silence --set steps=1.5", ["--set steps=1.5", "a whole number"]),
        ("silence --set strengths=1e-3,x", ["--set strengths=1e-3,x", "a finite number, or several"]),
        ("laws --set lr=1e-3", ["--set lr=1e-3", "2 times a finite number"]),
        ("phase_rate --set diagram=map", ["--set diagram=map", "selectivity, rate, batch, epoch"]),
        ("silence --set horizon=-1", ["rising step numbers"]),
        ("noise --set steps=10000000000", ["steps 10000000000", "0 to 4,294,967,295"]),
        ("silence --set optimizers=adm", ["silence does not run with optimizers=adm", "'adm'"]),
        ("silence --plot drawn.gif", ["drawn.gif", ".png, .svg, .pdf"]),
        ("laws --plot drawn.png", ["no picture of laws alone", "silence"]),
    ):
        refused(run("run", *arguments.split()), *words)


def test_a_world_of_ones_own_that_raises_is_told_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "raising.py"
    file.write_text(
        MINE.replace('"coin"', '"bent"').replace('"X1"', '"X9"').replace("bias: float = 0.5", "bias: float = 2.0")
    )
    refused(run("run", "bent", "--worlds", file), "bent does not run (ValueError: ", "p > 1")


def test_a_world_of_ones_own_that_gives_nothing_is_told_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text(MINE.replace('"coin"', '"void"').replace('"X1"', '"X8"').replace("return xr.Dataset", "xr.Dataset"))
    said = "run() of Coin gave None: a Dataset of xarray is accepted"
    refused(run("run", "void", "--worlds", file), said)
    refused(run("reproduce", "--only", "void", "--worlds", file, "--out", tmp_path / "out"), said)


def test_constants_are_taken_by_their_types() -> None:
    given = ["optimizers=adam, sgd", "lr=1", "seeds=3", "arrivals=0.5,1"]
    assert with_constants(Selective(), given) == Selective(
        optimizers=("adam", "sgd"), lr=1.0, seeds=3, arrivals=(0.5, 1.0)
    )
    changed = with_constants(registry.find_world("plane").world, ["starts=(1,2),(3,4)", "gammas=0.1,2,7"])
    assert (changed.starts, changed.gammas) == (((1.0, 2.0), (3.0, 4.0)), (0.1, 2.0, 7))
