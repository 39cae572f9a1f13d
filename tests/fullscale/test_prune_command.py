"""`undertow prune`: what it writes and prints, and when it writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from console import Said, refused, run
from planting import difference, noise, plant, randomize
from torch import nn

from dynamics.errors import InputError
from fullscale.checkpoint import load, save
from fullscale.cost import multiply_adds
from fullscale.data import load as load_images
from fullscale.data import prepared
from fullscale.feed import Resident
from fullscale.measure import measure
from fullscale.models import Architecture, Chain, NetConfig, build
from fullscale.prune import certify, remove_dead
from undertow.commands import prune as prune_command


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    net = randomize(Chain(NetConfig((6, 8, 7), (1, 2, 1), 1, 10)), 3)
    plant(net, 4, 0.4)
    # Never seen to fire, though it might.
    net.blocks[1].norm.weight.data[0], net.blocks[1].norm.bias.data[0] = 0.5, -40
    net.blocks[1].conv.weight.data[0] = 0.1
    return net.to(dtype).eval()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path, net = tmp_path / "network.safetensors", network()
    extra = {f"optimizer/{name}/m": torch.randn_like(p) for name, p in net.named_parameters()}
    save(
        net,
        path,
        extra | {"order": torch.arange(5)},
        {"epoch": 3, "optimizer": {"rule": "adam", "clocks": {}, "training": True}},
    )
    return path


def pruned(*arguments: object) -> tuple[Said, dict[str, Any]]:
    said = run("prune", *arguments)
    assert said.status == 0, said.err
    assert said.problems == []
    out = Path(arguments[list(arguments).index("-o") + 1])  # type: ignore[arg-type]
    return said, json.loads(out.with_suffix(".json").read_text())


def test_the_smaller_network_and_its_certificate_are_written(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "smaller.safetensors"
    said, report = pruned(file, "-o", out)
    net, saved = network(), load(out)
    expected, removal = remove_dead(net)
    assert removal.share > 0.2
    images = noise(1, 4, 1, 9, 9).float()
    assert difference(saved.net, expected, images) == 0
    assert difference(saved.net, net, images) < 1e-5
    assert report["removal"] == json.loads(json.dumps(removal.as_dict() | {"share": removal.share}))
    assert (report["data"], report["empirical"], report["tolerance"], report["judged"]) == (
        None,
        False,
        None,
        "both",
    )
    certificate = report["certificate"]
    assert certificate["held_out_difference"] is None
    assert certificate["random_difference"] <= certificate["largest"] <= 1e-5
    again = json.loads(json.dumps(certify(net, expected, shape=(1, 32, 32)).as_dict()))
    assert certificate | {"latency": 0} == again | {"latency": 0}
    assert [t["images"] for t in certificate["latency"]] == [1, 16]
    # The optimizer's tensors are cut and other tensors are there still; of the run it says no more than the optimizer.
    assert saved.notes == {"optimizer": {"rule": "adam", "clocks": {}, "training": True}}
    assert torch.equal(saved.extra["order"], torch.arange(5))
    for name, parameter in saved.net.named_parameters():
        full = load(file).extra[f"optimizer/{name}/m"]
        assert torch.equal(saved.extra[f"optimizer/{name}/m"], removal.narrow(name, full))
        assert saved.extra[f"optimizer/{name}/m"].shape == parameter.shape
    assert f"removed: {removal.share:.1%} of the filters" in said.out
    assert f"files: {out}, {out.with_suffix('.json')}" in said.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network.safetensors", "smaller.json", "smaller.safetensors"]


def test_data_certify_and_find_the_silent(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "smaller.safetensors"
    said, report = pruned(file, "-o", out, "--data", "digits", "--json")
    assert json.loads(said.out) == report
    feed, net = Resident(load_images("digits")), network()
    seen = {"classes": list("0123456789"), "shape": [1, 8, 8], "digest": feed.digest}
    assert report["data"] == {"name": "digits"} | seen
    assert report["certificate"]["held_out_images"] == sum(len(x) for x, _ in feed.test(1024))
    assert report["certificate"]["error_before"] == report["certificate"]["error_after"]
    assert sum(layer["empirically_dead"] for layer in report["removal"]["layers"]) == 0
    said, report = pruned(file, "-o", out, "--data", "digits", "--empirical")
    expected, removal = remove_dead(net, measure(net, feed.training(1024)))
    assert report["removal"]["layers"][1]["empirically_dead"] >= 1
    assert report["removal"]["share"] == removal.share
    assert difference(load(out).net, expected, noise(1, 4, 1, 9, 9).float()) == 0
    assert "test error: " in said.out
    _, report = pruned(file, "-o", out, "--data", "digits", "--classes", "1,7", "--size", "4")
    assert report["certificate"]["error_before"] is None
    assert report["data"]["digest"] == prepared(load_images("digits"), ("1", "7"), 4).digest


def test_networks_in_float64_and_for_large_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(network(torch.float64), tmp_path / "double")
    _, report = pruned(tmp_path / "double", "-o", tmp_path / "out", "--multiple", "4")
    counts = [block.conv.out_channels for block in load(tmp_path / "out").net.blocks]  # type: ignore[union-attr]
    assert all(count % 4 == 0 or count == whole for count, whole in zip(counts, (6, 8, 7), strict=True))
    assert report["tolerance"] is None
    assert report["certificate"]["largest"] <= 1e-12
    assert prune_command.SIDE == {"imagenet": 224}
    monkeypatch.setattr("undertow.commands.prune.SIDE", {"imagenet": 64})
    monkeypatch.setattr("undertow.commands.prune.NUMBERS", 5 * 3 * 64**2 + 1)
    net = randomize(build(Architecture("resnet18", 1 / 32, 3, 5, "imagenet")), 1).float()
    plant(net, 2)
    save(net, tmp_path / "large")
    _, report = pruned(tmp_path / "large", "-o", tmp_path / "out")
    assert report["certificate"]["multiply_adds_before"] == multiply_adds(net, torch.zeros(1, 3, 64, 64))
    assert report["certificate"]["random_images"] == 5


def test_nothing_is_written_where_the_outputs_differ(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "smaller.safetensors"
    out.write_text("kept")
    said = run("prune", file, "-o", out, "--tolerance", "0")
    assert said.status == 1
    assert said.out == ""
    [line] = said.problems
    assert line.startswith("undertow: outputs differ by ")
    assert "more than 0: nothing is written; keep the network as it is, or give a larger --tolerance" in line
    assert out.read_text() == "kept"
    assert not out.with_suffix(".json").exists()


def test_onnx_is_written_with_the_others_or_not_at_all(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[int, ...]] = []

    def as_onnx(net: nn.Module, images: torch.Tensor) -> tuple[bytes, float]:
        called.append(tuple(images.shape))
        if len(called) > 1:
            raise InputError("no export")
        return b"onnx", 0.0

    monkeypatch.setattr("fullscale.export.as_onnx", as_onnx)
    pruned(file, "-o", tmp_path / "one", "--onnx")
    assert (tmp_path / "one.onnx").read_text() == "onnx"
    assert called == [(2, 1, 32, 32)]
    refused(run("prune", file, "-o", tmp_path / "two", "--onnx"), "no export")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network.safetensors", "one", "one.json", "one.onnx"]


def test_what_cannot_be_done_is_refused(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    colour = tmp_path / "colour"
    save(Chain(NetConfig((2,), (1,), 3, 10)), colour)
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.json").mkdir()
    for arguments, words in (
        ((file, "-o", file), ("would replace the network that is read", "another name")),
        ((file, "-o", tmp_path / "folder" / ".." / file.name), ("would replace",)),
        ((file, "-o", tmp_path / "out.json"), ("out.json", "a file name such as smaller.safetensors")),
        ((file, "-o", tmp_path / "folder"), ("it is a folder",)),
        ((file, "-o", tmp_path / "there"), ("there.json cannot be written (it is a folder)",)),
        ((file, "-o", tmp_path / "nowhere" / "out"), ("cannot be written", "a writable place")),
        ((file, "-o", out, "--empirical"), ("--empirical without --data",)),
        ((file, "-o", out, "--classes", "1"), ("--classes without --data",)),
        ((file, "-o", out, "--size", "4"), ("--size without --data",)),
        ((file, "-o", out, "--tolerance", "-1"), ("--tolerance -1.0", "a number from 0")),
        ((file, "-o", out, "--tolerance", "nan"), ("--tolerance nan",)),
        ((file, "-o", out, "--multiple", "0"), ("multiple 0", "a whole number from 1")),
        ((colour, "-o", out, "--data", "digits"), ("digits has images of 1 channels", "3, as the network reads")),
        ((tmp_path / "none", "-o", out), ("none is no file",)),
        ((file,), ("-o/--out",)),
    ):
        refused(run("prune", *arguments), *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["colour", "folder", "network.safetensors", "there.json"]
