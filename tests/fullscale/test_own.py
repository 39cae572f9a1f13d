"""Networks of the user's own on the command line: a function that makes them, and a file of weights of which nothing runs."""

from __future__ import annotations

import io
import json
import pickle
import random
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from console import refused, run
from planting import plant, randomize
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dynamics.errors import InputError
from fullscale.checkpoint import save
from fullscale.data import load
from fullscale.feed import Resident
from fullscale.measure import measure
from fullscale.models import basicnet
from fullscale.own import fit, made, own_network, read_weights

SOURCE = """
import torch
from torch import nn

print("hello from the user's module")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU()
        )
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        print("hello from forward")
        return {"out": self.head(self.body(x).mean((2, 3)))}


def make():
    return Net()


def wrapped():
    return nn.DataParallel(torch.compile(Net(), backend="eager"))


def meta():
    with torch.device("meta"):
        return Net()


def needing(width):
    return Net()


def text():
    return "no network"


def failing():
    raise OSError("no such\\nthing")


def leaving():
    raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mynets.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    yield tmp_path
    for name in ("mynets", "broken"):
        sys.modules.pop(name, None)


def trained() -> Any:
    net = randomize(made("mynets:make"), 1).float().eval()
    plant(net, 4, 0.4)
    # Silent on the digits, though it might fire.
    net.body[1].weight.data[5], net.body[1].bias.data[5] = 1e-3, -1  # type: ignore[index, union-attr]
    return net


def test_every_kind_of_file_gives_the_same_weights(folder: Path) -> None:
    state = {name: tensor.clone() for name, tensor in trained().state_dict().items()}
    save_file(state, "plain.safetensors")
    torch.save(state, "plain.pt")
    torch.save(
        {"epoch": 3, "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}, "whole.pth"
    )
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, "parallel.pt")
    torch.save({"model": {f"_orig_mod.{name}": tensor for name, tensor in state.items()}}, "compiled.pth")
    save_file({f"module._orig_mod.{name}": tensor for name, tensor in state.items()}, "both.safetensors")
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, "lightning.pt")
    averaged = AveragedModel(own_network("mynets:make", Path("plain.pt")))
    torch.save(averaged.state_dict(), "averaged.pt")
    for file, make in (
        *((file, "make") for file in ("plain.safetensors", "plain.pt", "whole.pth", "parallel.pt", "compiled.pth")),
        *((file, "make") for file in ("both.safetensors", "lightning.pt", "averaged.pt")),
        *((file, "wrapped") for file in ("plain.pt", "both.safetensors")),
    ):
        found = own_network(f"mynets:{make}", Path(file)).state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    # A weight that two layers share is there once.
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    fit(tied, {"0.weight": torch.eye(3)})
    assert torch.equal(tied[1].weight, torch.eye(3))
    fit(tied, {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2)})
    assert tied[1].weight is tied[0].weight
    assert (tied[0].out_features, tied[0].bias.tolist()) == (2, [1, 1])
    with pytest.raises(InputError, match=r"2\.weight is in the weights, but not in the network"):
        fit(tied, {"0.weight": torch.eye(2), "0.bias": torch.ones(2), "2.weight": torch.ones(2)})


class Running:
    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return open, ("run.txt",)


def _zipped(path: str, change: Callable[[str, bytes], bytes] = lambda _, held: held, compress: bool = False) -> None:
    """A file of torch.save, with its records changed."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(64, 64)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for one in old.infolist():
            kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            new.writestr(one.filename, change(one.filename, old.read(one)), kind)


def test_files_of_more_than_weights_are_refused_and_nothing_runs(folder: Path) -> None:
    torch.save(trained(), "network.pt")
    torch.save({"state_dict": {"a": torch.ones(1)}, "ema": {"a": torch.ones(1)}}, "several.pt")
    torch.save({"epoch": 3}, "none.pt")
    torch.save([torch.ones(1)], "list.pt")
    torch.save({"a": torch.ones(1).expand(10**12)}, "expanded.pt")
    torch.save({"a": torch.ones(3).to_sparse()}, "sparse.pt")
    torch.save({"a": torch.ones(3, device="meta")}, "meta.pt")
    torch.save({"a": Running()}, "running.pt")
    Path("pickled.pt").write_bytes(pickle.dumps({"a": Running()}))
    Path("empty.pt").write_bytes(b"")
    Path("network.onnx").write_bytes(b"")
    torch.save({"a": torch.ones(3)}, "old.pt", _use_new_zipfile_serialization=False)
    _zipped("bomb.pt", compress=True)
    _zipped("short.pt", lambda name, held: held[:8] if "/data/" in name else held)
    whole = Path("network.pt").read_bytes()
    Path("cut.pt").write_bytes(whole[: len(whole) // 2])
    for file, words in (
        ("network.pt", "holds mynets.Net, for which code would have to run; weights alone are accepted"),
        ("several.pt", "weights in state_dict, ema"),
        ("none.pt", "no weights, but epoch"),
        ("list.pt", "holds a list"),
        ("expanded.pt", "a is no plain tensor that is stored whole"),
        ("sparse.pt", "weights alone are accepted"),
        ("meta.pt", "a is no plain tensor"),
        ("running.pt", "for which code would have to run"),
        ("pickled.pt", "no whole file of torch.save, in its format since torch 1.6"),
        ("empty.pt", "no whole file of torch.save"),
        ("old.pt", "no whole file of torch.save"),
        ("cut.pt", "no whole file of torch.save"),
        ("bomb.pt", "bomb.pt cannot be read; weights alone are accepted"),
        ("short.pt", "weights alone are accepted"),
        ("network.onnx", "ends in .safetensors, .pt, .pth"),
        ("nowhere.pt", "is no file"),
        ("nowhere.safetensors", "is no file"),
    ):
        with pytest.raises(InputError, match=words.replace(".", r"\.")) as caught:
            read_weights(Path(file))
        assert file in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not Path("run.txt").exists()


def test_whatever_byte_is_changed_weights_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path, draws = tmp_path / "weights.pt", random.Random(0)
    torch.save(nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)).state_dict(), path)
    content, seen = path.read_bytes(), set()
    start = content.index(b"\x80\x02")  # of the pickle within
    for place in [
        *draws.sample(range(len(content)), 50),
        *draws.sample(range(start, content.index(b"PK", start)), 200),
    ]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << draws.randrange(8)
        path.write_bytes(flipped)
        try:
            seen.add(f"{len(read_weights(path))} weights")
        except InputError as error:
            seen.add("more lines" if "\n" in str(error) else "one line")
    assert {"7 weights", "one line"} <= seen
    assert "more lines" not in seen


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.float8_e5m2])
def test_weights_of_another_kind_of_number_are_not_cast(dtype: torch.dtype) -> None:
    net = nn.Linear(2, 1)
    with pytest.raises(InputError, match=rf"bias is {dtype} \(1,\), in the network torch.float32"):
        fit(net, {name: tensor.to(dtype) for name, tensor in net.state_dict().items()})


def test_measure_and_prune_take_them(folder: Path) -> None:
    net = trained()
    torch.save(net.state_dict(), "weights.pt")
    own = ("--net", "mynets:make", "--weights", "weights.pt", "--data", "digits")
    feed = Resident(load("digits"))
    activity = measure(net, feed.training(1024))
    said = run("measure", *own, "--json", "--thresholds", "1e-13", "1e-11")
    assert said.status == 0, said.err
    assert "hello" not in said.out
    found = json.loads(said.out)
    assert (found["network"], found["layers"]) == ("weights.pt", activity.layers())
    said = run("prune", *own, "-o", "small.safetensors", "--empirical", "--json")
    assert said.status == 0, said.err
    report = json.loads(said.out)
    assert report["removal"]["share"] > 0.2
    assert sum(layer["empirically_dead"] for layer in report["removal"]["layers"]) > 0
    assert report["certificate"]["labelled"] == "['out']"
    assert report["certificate"]["error_before"] == report["certificate"]["error_after"] is not None
    assert report["judged"] == "held_out"
    # The file narrows a fresh network.
    fresh = own_network("mynets:make", Path("small.safetensors")).eval()
    assert fresh.body[0].out_channels < 6  # type: ignore[index, union-attr]
    images = next(feed.test(64))[0]
    assert torch.allclose(fresh(images)["out"], net(images)["out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("command", ["measure", "prune"])
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", ["no network", "CHECKPOINT, or --net with --weights"]),
        ("--net mynets:make", ["--net without --weights", "both or neither"]),
        ("--weights weights.pt", ["--weights without --net"]),
        (
            "checkpoint.safetensors --net mynets:make --weights weights.pt",
            ["checkpoint.safetensors", "--net mynets:make"],
        ),
        ("--net mynets --weights weights.pt", ["--net mynets", "module:function"]),
        ("--net mynets.py:make --weights weights.pt", ["mynets.py:make", "failed", "without arguments"]),
        ("--net nowhere:make --weights weights.pt", ["nowhere:make", "No module named 'nowhere'"]),
        ("--net broken:make --weights weights.pt", ["broken:make", "No module named 'nothing_of_that_name'"]),
        ("--net mynets:other --weights weights.pt", ["mynets:other", "no attribute 'other'"]),
        ("--net mynets:needing --weights weights.pt", ["mynets:needing", "'width'", "a function without arguments"]),
        ("--net mynets:text --weights weights.pt", ["mynets:text", "made a str", "torch.nn.Module"]),
        ("--net mynets:meta --weights weights.pt", ["--net mynets:meta", "body.0.weight is on the meta device"]),
        ("--net mynets:failing --weights weights.pt", ["mynets:failing", "OSError: no such thing"]),
        ("--net mynets:leaving --weights weights.pt", ["mynets:leaving", "SystemExit: 3"]),
        ("--net mynets:make --weights network.pt", ["network.pt", "holds mynets.Net"]),
        (
            "--net mynets:make --weights other.pt",
            ["other.pt does not fit mynets:make", "a is in the weights, but not in the network"],
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(folder: Path, command: str, flags: str, words: list[str]) -> None:
    net = trained()
    torch.save(net.state_dict(), "weights.pt")
    torch.save(net, "network.pt")
    torch.save({"a": torch.ones(2)}, "other.pt")
    save(basicnet(0.03, 1, 10), "checkpoint.safetensors")
    said = run(command, *flags.split(), "--data", "digits", *(["-o", "out.safetensors"] if command == "prune" else []))
    line = said.err.splitlines()
    hello = [one for one in line if one.startswith("hello")]
    assert len(hello) <= 1
    refused(type(said)(said.status, said.out, "\n".join(one for one in line if one not in hello)), *words)
    assert not Path("out.safetensors").exists()


def test_own_networks_need_data_and_a_form_that_weights_keep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(trained().state_dict(), "weights.pt")
    own = ("--net", "mynets:make", "--weights", "weights.pt", "-o", "out.safetensors")
    refused(run("prune", *own), "--net without --data")
    monkeypatch.setattr("fullscale.own.fit", lambda *_: None)
    said = run("prune", *own, "--data", "digits")
    assert said.status == 2
    assert "cannot be kept as weights of mynets:make" in said.problems[-1]
    assert not Path("out.safetensors").exists()
