"""`undertow measure`: what it prints and writes, and how it says no."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from console import Said, refused, run
from PIL import Image
from safetensors.torch import save_file

from fullscale.checkpoint import load_network, save
from fullscale.data import load
from fullscale.feed import Resident
from fullscale.measure import Activity, measure, zeroed
from fullscale.models import Architecture, basicnet, build
from fullscale.thresholds import decades


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fifth filter of each norm silent, every sixth of small scale; its head is fitted to what the others put out."""
    torch.manual_seed(0)
    net = basicnet(0.06, 1, 10)
    for name, tensor in net.state_dict().items():
        if "norm" in name and name.endswith("weight"):
            tensor.uniform_(0.05, 1)
            tensor[::5], tensor[1::6] = 0, 1e-5
    [(x, y)] = Resident(load("digits")).training(2000)
    with torch.no_grad():
        for _ in range(10):  # until BatchNorm's averages are those of the images
            net(x)
        net.eval()
        for block in net.blocks:
            x = block(x)
        features = x.mean(dim=(2, 3))
        fitted = torch.linalg.lstsq(features, torch.nn.functional.one_hot(y).float(), driver="gelsd").solution
        net.head.weight.copy_(fitted.T)
        net.head.bias.zero_()
    file = tmp_path_factory.mktemp("network") / "network.safetensors"
    save(net, file)
    return file


def on_digits(*arguments: object) -> Said:
    said = run("measure", *arguments, "--data", "digits")
    assert said.status == 0, said.err
    assert said.problems == []
    return said


def expected(file: Path) -> tuple[Activity, Any, Resident]:
    feed, net = Resident(load("digits")), load_network(file)
    return measure(net, feed.training(1024)), net, feed


def test_the_table_and_the_files_are_what_was_measured(network: Path, tmp_path: Path) -> None:
    activity, _, _ = expected(network)
    said = on_digits(network, "--csv", tmp_path / "filters.csv", "--plot", tmp_path / "thresholds.png")
    first, _, header, *rows, total = said.out.splitlines()[: 4 + len(activity.norms)]
    digest = load("digits").digest[:12]
    assert first == f"network.safetensors on digits, digest {digest}: {activity.filters} filters, 1,438 training images"
    assert header.split("  ")[0] == "layer"
    for row, layer in zip(rows, activity.layers(), strict=True):
        _, filters, by, _, scale, _, constant, _, _ = row.split()
        assert [int(n) for n in (filters, by, scale, constant)] == [layer[name] for name in COUNTS]
    assert f"{activity.inactive_by_scale():.0%}" in total
    # Columns stand under each other.
    assert len({len(line) for line in (header, *rows, total)}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["filters.csv", "thresholds.png"]
    with (tmp_path / "filters.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert written == [{name: str(value) for name, value in row.items()} for row in activity.table()]
    with Image.open(tmp_path / "thresholds.png") as drawn:
        assert min(drawn.size) > 300


COUNTS = ("filters", "inactive_by_activation", "inactive_by_scale", "constant")


def test_thresholds_and_data(network: Path) -> None:
    activity, net, feed = expected(network)
    values = decades(1e-13, 0.5)
    points = zeroed(net, activity, feed.test(1024), values)
    found = json.loads(on_digits(network, "--thresholds", "1e-13", "0.5", "--json").out)
    wanted = {"data": "digits", "digest": load("digits").digest, "images": 1438, "test_images": 359}
    wanted |= {"thresholds": list(values), "error_before": points["error_before"]}
    wanted |= {"layers": activity.layers(), "total": activity.totals()}
    assert {name: found[name] for name in wanted} == wanted
    for name, by in found["by"].items():
        assert (by["sparsity"], by["error"]) == (points["sparsity"][name], points["error"][name])
    text = on_digits(network, "--thresholds", "1e-13", "0.5").out
    assert f"test error with all filters: {points['error_before']:.2%} of 359 images" in text
    lines = [line.split()[1:] for line in text.splitlines() if line[:2] in ("1e", "5e")]
    columns = [points[of][by] for by in ("activation", "scale") for of in ("sparsity", "error")]
    for line, (share, error, other, cost) in zip(lines, zip(*columns, strict=True), strict=True):
        assert line == [f"{share:.1%}", f"{error:.2%}", f"{other:.1%}", f"{cost:.2%}"]
    assert columns[1] != columns[3]
    # Apart from the paper's there is no range.
    apart = (network, "--thresholds", "1e-6", "1e-5")
    assert "the paper's threshold 1e-12 is not among these" in on_digits(*apart).out
    assert json.loads(on_digits(*apart, "--json").out)["by"]["scale"]["flat_decades"] is None


def test_weights_alone_are_read_into_a_named_network(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = build(Architecture("resnet20", 0.25, 1, 10))
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    asked = (tmp_path / "weights.safetensors", "--model", "resnet20", "--width", "0.25", "--classes", "0", "1",
             "--outputs", "10")  # fmt: skip
    said = on_digits(*asked).out
    assert "identity: the BatchNorm's own output" in said
    assert said.splitlines()[2].split()[:2] == ["layer", "activation"]
    # No test error of ten outputs on two classes.
    refused(run("measure", *asked, "--data", "digits", "--thresholds", "1e-3", "1"), "10 outputs", "2 classes")


def test_a_training_run_tells_if_its_images_were_others(tmp_path: Path) -> None:
    digest = load("digits").digest
    for trained_on, said in ((digest, False), ("0123456789abcdef", True)):
        save(basicnet(0.03, 1, 10), tmp_path / "training.safetensors", notes={"spec": {"digest": trained_on}})
        out = on_digits(tmp_path / "training.safetensors").out
        assert ("trained on others, digest 0123456789abcdef" in out.splitlines()) == said
        found = json.loads(on_digits(tmp_path / "training.safetensors", "--json").out)
        assert (found["trained_on"], found["digest"]) == (trained_on, digest)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("network --data digits --plot drawn.gif", ["--plot", "drawn.gif", ".svg"]),
        ("network --data digits --thresholds 1 0.1", ["thresholds 1 0.1", "the smaller one first"]),
        ("network --data digits --thresholds a 1", ["'a'", "a number"]),
        ("network --data digits --width 0.5", ["--width", "only with --model"]),
        ("network --data digits --model resnet19", ["resnet19", "resnet18"]),
        ("network --data digits --model resnet18", ["network.safetensors", ", but not in the "]),
        ("network --data digits --model basicnet --head imagenet", ["imagenet", "basicnet"]),
        ("network --data digits --csv missing/filters.csv", ["missing/filters.csv", "cannot be written"]),
        ("network --data digits --plot missing/drawn.svg", ["missing/drawn.svg", "cannot be written"]),
        ("network --data digits --csv .", [". cannot be written (it is a folder)"]),
        ("network --data digits --classes 0 nine", ["'nine'"]),
        ("network --data digits --size 9", ["size 9", "1 to 8"]),
        ("none --data digits", ["none.safetensors"]),
        ("colour --data digits", [", 1, 8, 8) do not fit Chain", "3 channels"]),
        ("colour --data nowhere", ["nowhere"]),
        ("colour", ["--data"]),
        ("broken --data digits", ["head.weight is not finite"]),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(network: Path, asked: str, words: list[str]) -> None:
    save(basicnet(0.03, 3, 10), network.parent / "colour.safetensors")
    broken = basicnet(0.03, 1, 10)
    broken.head.weight.data[0] = torch.inf
    save(broken, network.parent / "broken.safetensors")
    name, *flags = asked.split()
    refused(run("measure", network.parent / f"{name}.safetensors", *flags), *words)
