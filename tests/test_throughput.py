"""The throughput script measures both loops and tells what it measured. Nothing here asserts a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import side_by_side, throughput
from bench.throughput import Augmented, Row, main, noise, peak, table


def test_it_runs_at_a_tiny_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--images", "32", "--width", "0.04", "--repeats", "1", "--workers", "0", "--batches", "16", "32"]
    models = ["--models", "basicnet", "vgg16"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main([*sizes, *models, "--device", "cpu", "--json", str(tmp_path / "found.json")]) == 0
    finally:
        torch.set_num_threads(threads)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(row["model"], row["batch"]) for row in found["rows"]] == [(m, b) for m in models[1:] for b in (16, 32)]
    for row in found["rows"]:
        assert len(row["ours"]) == len(row["plain"]) == throughput.EPOCHS - 2
        assert min(*row["ours"], *row["plain"]) > 0
    assert found["environment"]["torch"]
    said = capsys.readouterr().out
    assert said.count("| basicnet, ") == said.count("| vgg16, ") == 2


def test_table_counts_images_and_operations() -> None:
    row = Row("vgg16", 128, images=1000, operations=989 * 10**9, ours=[2.0, 1.0, 4.0], plain=[4.0, 5.0, 6.0])
    [line] = table([row], "NVIDIA H100 80GB HBM3").splitlines()[2:]
    # Half the peak would be 500 images a second of a thousandth of the peak each.
    assert line == "| vgg16, 128 | 500 | 200 | 2.00 [1.50, 5.00] | 2 s | 50.0% |"
    assert table([row], "cpu").endswith("| unknown |")


def test_peaks_are_found_by_name() -> None:
    assert peak("NVIDIA H200") == peak("NVIDIA H100 80GB HBM3") == 989e12
    assert peak("NVIDIA H100 PCIe") == 756e12
    # A part of one is another device.
    assert peak("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert peak("cpu") is None


def test_plain_loop_augments_as_ours_does() -> None:
    images = noise(20)
    torch.manual_seed(0)
    data = Augmented(images)
    assert len(data) == 20
    x, label = data[3]
    assert x.shape == (3, 32, 32)
    assert label == 3
    assert not torch.equal(x, data[3][0])


def test_bad_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", "20", "--batches", "30", "--models", "basicnet", "--device", "cpu", "--workers", "0"]) == 2
    assert (
        capsys.readouterr().err.splitlines()[-1] == "bench: batch 30: must be at most 20, the number of training images"
    )
    assert main(["--repeats", "0", "--device", "cpu"]) == 2
    assert capsys.readouterr().err == "bench: repeats 0: a positive whole number is accepted\n"
    assert main(["--json", "/nowhere/found.json", "--device", "cpu"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_small_networks_alone_and_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "TURN", 1e6)
    monkeypatch.setattr(side_by_side, "SIZES", (8,))
    monkeypatch.setattr(side_by_side, "WIDTHS", (0.04, 0.05))
    monkeypatch.setattr(
        side_by_side, "machine", lambda at, repeats, threads: {"both cores": [float(at.size)] * repeats}
    )
    threads = torch.get_num_threads()
    assert main(["--device", "cpu", "--repeats", "2", "--json", str(tmp_path / "found.json")]) == 0
    assert torch.get_num_threads() == threads
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["cell"]["width"] for row in found["rows"]] == [0.04, 0.05]
    for row in found["rows"]:
        assert row["cell"]["runs"] == side_by_side.REPLICAS
        assert {kind: len(speeds) for kind, speeds in row["speeds"].items()} == dict.fromkeys(side_by_side.KINDS, 2)
        assert all(speed > 0 for speeds in row["speeds"].values() for speed in speeds)
    assert "| both cores | 8 |" in capsys.readouterr().out


def test_speed_is_that_of_turns_at_the_same_time_and_runs_together_count_each() -> None:
    assert side_by_side.speed([(1.0, 3.0, 40), (2.0, 5.0, 80)]) == 30
    at = side_by_side.Cell(8, 0.04, 3, 2)
    assert [side_by_side.turn(at, kind)[2] for kind in side_by_side.KINDS] == [80, 80, 240]
    assert side_by_side.cell(32, 1.0, 8).runs == 2
    assert side_by_side.cell(16, 0.125, 8).steps > 10 * side_by_side.cell(32, 1.0, 8).steps


def test_ratios_are_of_turns_that_followed_each_other() -> None:
    row = side_by_side.Row(side_by_side.Cell(16, 0.125, 8, 1))
    row.speeds = {"plain": [1.0, 2.0, 4.0], "alone": [2.0, 3.0, 4.0], "together": [4.0, 8.0, 20.0]}
    line = side_by_side.table([row], {}).splitlines()[2]
    assert line == "| 16x16, 0.125 | 2 | 3 | 1.50 [1.00, 2.00] | 8: 8 | 4.00 [4.00, 5.00] | 2.67 [2.00, 5.00] |"
