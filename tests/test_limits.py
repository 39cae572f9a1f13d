"""Counts beyond all sense are refused in one line before memory or time is spent on them, and long runs cost no memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest
from console import refused, run

from dynamics.errors import InputError, on_one_line
from dynamics.room import check_room, memory
from dynamics.simulate.lanes import simulate
from evidence.progress import Live
from fullscale.data import load
from fullscale.spec import RunSpec
from synthetic.compete import Compete
from synthetic.feature import Feature
from synthetic.phase import Phase

HUGE = str(10**400)
TRAIN = ("train", "digits", "--epochs", "1", "--width", "0.03125", "--batch", "512", "--device", "cpu")
PHASE = ("phase", "selectivity", "--cells", "4", "--seeds", "2", "--steps", "50")


@pytest.mark.parametrize(
    ("command", "flag", "values"),
    [
        (PHASE, "--cells", ["0", "1", "-1", "100000", HUGE]),
        (PHASE, "--seeds", ["0", "1000000000", HUGE]),
        (PHASE, "--steps", ["0", "4294967296", HUGE]),
        (PHASE, "--threads", ["0", "1025", HUGE]),
        (TRAIN, "--epochs", ["0", "-1", str(10**18), HUGE, "", "nan", "9" * 5000]),
        (TRAIN, "--batch", ["1", str(10**12), HUGE]),
        (TRAIN, "--width", ["0", "1e9", "1e308", "inf", HUGE]),
        (TRAIN, "--size", ["-1", str(10**6), HUGE]),
        (TRAIN, "--seed", ["-1", str(2**63), HUGE]),
        (TRAIN, "--lr", ["1e308", HUGE, "nan", "inf", "-1"]),
        ((*TRAIN, "--l2", "1e30"), "--lr", ["1e30"]),
        (TRAIN, "--label-noise", ["-1", "1e308", "nan"]),
        (TRAIN, "--device", ["", "CPU", "cpu:7", "cuda:-1", "cuda:99", "meta", "mps", "xla"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_flag_takes_no_absurd_value(command: tuple[str, ...], flag: str, values: list[str], tmp_path: Path) -> None:
    for value in values:
        started = time.process_time()
        said = run(*command, f"{flag}={value}", "--out", tmp_path / "out")
        refused(said, "accepted")
        assert len(said.problems[0]) < 400
        assert time.process_time() - started < 5
    assert not (tmp_path / "out" / "figures" / "x").exists()


def test_the_multipliers_of_a_long_run_are_made_when_they_are_needed(tmp_path: Path) -> None:
    spec = RunSpec("d", 1.0, "adam", "none", lr=1e-3, strength=0.0, batch=2, epochs=10**9, seed=0, schedule="cosine")
    plan = spec.multiplier(spec.epochs * 10**6)
    assert plan(np.array([0, 5 * 10**14, 10**15])).round(9).tolist() == [1, 0.5, 0]


def test_room_is_asked_for_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 10**8 < memory() < 10**14
    before = resource.getrlimit(resource.RLIMIT_AS)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**20, before[1]))
    assert memory() < 2**20
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"^lanes: 2\.0 GB of memory would be needed, up to 1\.0 GB is accepted$"):
        check_room("lanes", 2e9, 10**9)
    with pytest.raises(InputError, match=r"1,000,000,000,000 lanes: .* GB of memory would be needed"):
        simulate("sgd", "l2", record=[1], lanes={"strength": np.broadcast_to(0.0, 10**12)})
    with pytest.raises(InputError, match=r"cells 10000 with seeds 100000, .* of memory would be needed"):
        Phase(cells=10_000, seeds=100_000, steps=1)
    with pytest.raises(InputError, match="up to 100,000,000,000,000 steps of lanes"):
        Phase(steps=2**32 - 1, cells=1000)
    for counts in ({"seeds": 10**20}, {"tuning_seeds": 10**12}, {"epochs": 10**20}):
        for world in (Feature, Compete):
            with pytest.raises(InputError, match=r"seeds with .* images in .* of memory would be needed"):
                world(**counts).run()


def test_a_network_without_room_is_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dynamics.room.memory", lambda: 10**6)
    refused(run(*TRAIN, "--width", "1", "--out", tmp_path), "batch 512 for basicnet of width 1 with 10 outputs", "GB")


def test_line_ends_in_names_are_written_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Live() as live:
        live.line("reading a\nb\x1b[31m")
        live.task("x\ry", 2)(1, 2, "z\u2028")
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.split("\n")]
    assert lines == ["reading a\\nb\\x1b[31m", "x\\ry: 0 of 2 done", "x\\ry: 1 of 2 done, 1 left: z\\u2028", ""]
    refused(run("train", tmp_path / "a\n  b", "--out", tmp_path / "out"), r"a\n  b")
    refused(run("explain", "adam", "--plot", "a\nb.jpeg"), r"a\nb.jpeg")
    assert on_one_line("gr\u00fcn") == "gr\u00fcn"
    with pytest.raises(InputError):
        load(tmp_path / "a\nb")
