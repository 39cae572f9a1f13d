"""A study whose driver and workers are killed on the way ends as if nothing had happened; `make chaos` kills more of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from chaos import FAILED, FILES, LOST, MORE, OTHER, PROCESSES, chaos, short_runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of a short name: a socket is to stand below it."""
    with TemporaryDirectory(prefix="chaos-") as name:
        yield Path(name)


def test_killed_drivers_and_workers_cost_no_row_and_leave_nothing(folder: Path) -> None:
    made = chaos(kills=3, seed=5, command=short_runs(runs=60, steps=20_000), folder=folder, each=3)
    assert made.wrong == [], (folder / "said.txt").read_text()
    assert not any(made.amiss.values())
    assert made.seen["drivers killed"] + made.seen["workers killed"] == 3
    assert made.seen["drivers killed"] >= 1
    assert made.seen["workers killed"] >= 1


def test_what_is_left_or_lost_is_noticed(folder: Path) -> None:
    careless = """
import os, sqlite3, subprocess, sys
from evidence.store import Store
from pathlib import Path
first = not Path("{folder}/../began").exists()
Path("{folder}/../began").touch()
with Store(Path("{folder}/results.sqlite")) as store:
    store.put("kind", {{}}, summary={{"first": first, "seconds": os.getpid()}}, curves={{}})
    if first:
        store.put("kind", {{"more": 1}}, summary={{}}, curves={{}})
    else:
        Path(os.environ["TMPDIR"], "left").touch()
        subprocess.Popen(["sleep", "60"])
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chaos.PATIENCE", 0.2)
        made = chaos(kills=1, seed=0, command=[sys.executable, "-c", careless], folder=folder, each=0)
    assert [words.split()[0] for words in made.wrong] == ["process", "left", "study"]
    assert made.wrong[2] == "study 1: 1 rows lost, 0 too many, 1 of other bits"
    assert made.amiss == {PROCESSES: 1, FILES: 1, LOST: 1, OTHER: 1, MORE: 0, FAILED: 0}
    assert made.alive() == []
