"""`undertow forecast`: what is typed, what is said, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Said, refused, run

TINY = (
    "--width",
    0.04,
    "--batch",
    64,
    "--epochs",
    2,
    "--classes",
    "0,1",
    "--strength",
    0.05,
    "--coupling",
    "l2",
    "--lr",
    0.01,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs of a few steps that have ended, one of them recorded, looked at at every step; read with small images."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fullscale.forecast.recorded.INTERVAL", 1)
        patch.setattr("fullscale.forecast.live._SIDE", 8)
        for name, flags in (("recorded", ["--record"]), ("plain", [])):
            assert run("train", "digits", *TINY, *flags, "--out", out / name).status == 0
        yield out


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return folder / "recorded" / "training.safetensors"


def test_a_run_is_forecast_from_the_past_in_words(file: Path) -> None:
    said = run("forecast", file, "--at", 0.5)
    assert (said.status, said.err) == (0, "")
    assert re.search(r"^step \d+: \d+ of \d+ filters are dead; \d+ steps on \d+ are expected to be", said.out)
    assert "adam lr=0.01 l2=0.05" in said.out
    assert re.search(r"it came so: of \d+ filters alive then \d+ are dead", said.out)
    assert "dead at the end" not in said.out


def test_as_json_with_changes_and_a_picture(file: Path, tmp_path: Path) -> None:
    said = run("forecast", file, "--at", 0.5, "--json", "--share", 0.5, "--plot", tmp_path / "picture.png")
    assert said.status == 0

    def no(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(said.out, parse_constant=no)  # NaN is none
    assert set(found) == {"step", "steps", "setting", "share", "filters", "went", "changes"}
    assert {row["layer"] for row in found["filters"]} >= {"features.1"} or len(found["filters"]) > 0
    assert found["went"]["alive"] >= found["went"]["died"]
    assert [change["knob"] for change in found["changes"]].count("coupling") == 6
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_forecast_is_one_line(folder: Path, file: Path, tmp_path: Path) -> None:
    def asked(*words: object) -> Said:
        return run("forecast", *words)

    plain = folder / "plain" / "training.safetensors"
    refused(asked(file), "has ended, at step", "--at, is accepted")
    refused(asked(plain), "was trained without a record", "undertow train --record")
    refused(asked(folder / "recorded" / "network.safetensors"), "holds no training run")
    refused(asked(file, "--at", 0), "at 0", "above 0 and below 1")
    refused(asked(file, "--at", 1), "at 1", "above 0 and below 1")
    refused(asked(file, "--share", 2), "--share 2", "a share from 0 to 1 is accepted")
    refused(asked(file, "--at", "nan"), "--at")
    refused(asked(file, "--at", 0.5, "--plot", tmp_path / "picture.txt"), "picture.txt", ".png")
    refused(asked(tmp_path / "nothing"), "nothing")
    refused(asked(), "FILE", "undertow forecast --help")
    assert list(tmp_path.iterdir()) == []
