"""A network's file gives the network back, bit for bit, or one clear line."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
from pathlib import Path
from typing import Any, Literal

import pytest
import safetensors.torch
import torch

from dynamics.errors import InputError
from fullscale import checkpoint
from fullscale.models import MODELS, Architecture, Chain, NetConfig, build
from fullscale.notes import LONGEST, check_notes

Head = Literal["cifar", "imagenet"]
CONFIG = NetConfig((3, 5), (1, 2), in_channels=2, classes=4)


def write(path: Path, state: dict[str, torch.Tensor], config: str, notes: str = "{}") -> None:
    safetensors.torch.save_file(state, path, metadata={checkpoint.HEADER: f'{{"network": {config}, "notes": {notes}}}'})


@pytest.mark.parametrize(("model", "head"), [(model, head) for model in MODELS for head in MODELS[model]])
def test_a_network_and_what_is_saved_beside_it_come_back(tmp_path: Path, model: str, head: Head) -> None:
    net = build(Architecture(model, 1 / 16, 1, 3, head)).to(torch.float64 if head == "imagenet" else torch.float32)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    some, weight = next(iter(net.named_parameters()))
    extra = {f"optimizer/{some}/m": torch.randn(weight.shape), "order": torch.arange(3), "shared": weight}
    notes = {"step": 3, "lr": 0.1 + 0.2, "curves": {"loss": [1.5]}}
    for name, things in (("net", extra), ("again", dict(reversed(extra.items())))):
        checkpoint.save(net, tmp_path / name, things, notes)
    content = (tmp_path / "net").read_bytes()
    assert content == (tmp_path / "again").read_bytes()
    before = torch.get_rng_state()
    saved = checkpoint.load(tmp_path / "net")
    assert torch.equal(torch.get_rng_state(), before)
    (tmp_path / "net").write_bytes(bytes(len(content)))  # what is loaded no longer depends on the file
    assert (saved.notes, saved.net.config, saved.net.training) == (notes, net.config, False)
    for found, expected in ((saved.extra, extra), (saved.net.state_dict(), net.state_dict())):
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)
    # What was loaded can be trained on.
    saved.net.train()(torch.randn(2, 1, 32, 32, dtype=weight.dtype)).sum().backward()
    assert all(parameter.grad is not None for parameter in saved.net.parameters())


def test_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net"
    first, second = Chain(CONFIG), Chain(CONFIG)
    checkpoint.save(first, path)
    original = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(InputError, match="cannot be written \\(No space left on device\\)"):
            checkpoint.save(second, path)
    assert path.read_bytes() == original
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    for place in ("none", "net"):
        with pytest.raises(InputError, match="cannot be written"):
            checkpoint.save(first, tmp_path / place / "net")
    with path.open("rb") as reader:
        checkpoint.save(second, path)
        assert reader.read() == original  # who reads the old file meanwhile reads all of it
    assert torch.equal(checkpoint.load_network(path).head.weight, second.head.weight)
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def refused(path: Path, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        checkpoint.load_network(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net"
    checkpoint.save(Chain(CONFIG), path)
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, "not a whole safetensors file")


def test_pickles_and_other_files_are_refused_unopened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    path = tmp_path / "net"
    path.write_bytes(pickle.dumps(Bomb()))
    refused(path, "not a whole safetensors file")
    torch.save({"bomb": Bomb()}, path)
    refused(path, "not a whole safetensors file")
    assert not (tmp_path / "exploded").exists()
    refused(tmp_path / "missing", "is no file")
    refused(tmp_path, "is no file")


GIVEN = CONFIG.as_dict()
NONE = "holds no network's configuration"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        *((config, NONE) for config in ("", "[1]", "{", "null", '{"channels": [3]}', "[" * 100_000)),
        (GIVEN | {"channels": 3}, "channels 3: one number a layer, of up to 256 layers, is accepted"),
        (GIVEN | {"depth": 3}, NONE),
        (
            GIVEN | {"channels": (3, 4)},
            r"blocks.1.conv.weight is .* \(5, 3, 3, 3\), in the network torch.float32 \(4, 3, 3, 3\)",
        ),
        (GIVEN | {"classes": 3}, "head.bias is"),
        (GIVEN | {"in_channels": 1}, "blocks.0.conv.weight is"),
        (GIVEN | {"in_channels": 3}, "the weights do not fit each other"),
        (GIVEN | {"channels": (3,), "strides": (1,)}, "in the weights, but not in the network"),
        (GIVEN | {"channels": (3, 5, 5), "strides": (1, 2, 1)}, "a configuration of 3 layers for 14 tensors"),
        (GIVEN | {"channels": (3, 0)}, "0: a whole number from 1 to 1,048,576 is accepted"),
        (GIVEN | {"channels": (3, "5")}, "'5': a whole number from 1"),
        (GIVEN | {"channels": (True, 5)}, "True: a whole number from 1"),
        (GIVEN | {"channels": (1,) * 257, "strides": (1,) * 257}, "of up to 256 layers"),
        (GIVEN | {"strides": (1,)}, "one of each a layer"),
        (GIVEN | {"channels": (10**12, 10**12)}, "10{12}: a whole number from 1 to 1,048,576 is accepted"),
        (GIVEN | {"in_channels": 10**30}, "a whole number from 1 to 1,048,576 is accepted"),
        ({"model": "vgg11", "classes": 2**20 + 1}, "classes 1048577: a whole number from 1"),
        ({"model": ["vgg11"]}, "model .* a text is accepted"),
        ({"model": "vgg11", "width": True}, "width True: a finite number is accepted"),
    ],
)
def test_weights_must_fit_the_configuration(tmp_path: Path, config: str | dict[str, object], reason: str) -> None:
    text = config if isinstance(config, str) else json.dumps(config)
    write(tmp_path / "net", dict(Chain(CONFIG).state_dict()), text)
    refused(tmp_path / "net", reason)


def narrow() -> dict[str, torch.Tensor]:
    """The weights of CONFIG's network without the second filter of its first layer."""
    kept, state = torch.tensor([0, 2]), dict(Chain(CONFIG).state_dict())
    for name in ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        state[f"blocks.0.{name}"] = state[f"blocks.0.{name}"][kept]
    return state | {"blocks.1.conv.weight": state["blocks.1.conv.weight"][:, kept]}


def test_narrower_weights_make_a_narrower_network(tmp_path: Path) -> None:
    write(tmp_path / "net", narrow(), json.dumps(CONFIG.as_dict()))
    net = checkpoint.load_network(tmp_path / "net")
    assert net(torch.randn(2, 2, 5, 5)).shape == (2, 4)
    assert net.blocks[0].conv.out_channels == net.blocks[0].norm.num_features == net.blocks[1].conv.in_channels == 2
    checkpoint.save(net, tmp_path / "again")
    assert checkpoint.load_network(tmp_path / "again").blocks[0].conv.weight.shape == (2, 2, 3, 3)


def test_weights_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    for change, reason in (
        ({"blocks.0.norm.bias": torch.zeros(3)}, "the weights do not fit each other"),
        ({"blocks.1.conv.weight": torch.zeros(5, 1, 3, 3)}, "the weights do not fit each other"),
        (
            {"head.bias": torch.zeros(4, dtype=torch.int32)},
            "head.bias is torch.int32",
        ),
    ):
        write(tmp_path / "net", narrow() | change, json.dumps(GIVEN))
        refused(tmp_path / "net", reason)
    for dtype in (torch.float8_e5m2, torch.complex64, torch.int64):
        state = {name: t if t.dtype == torch.int64 else t.to(dtype) for name, t in narrow().items()}
        write(tmp_path / "net", state, json.dumps(GIVEN))
        refused(tmp_path / "net", f"blocks.0.conv.weight is {dtype} .*, in the network torch.float32")
    write(tmp_path / "net", narrow() | {"a\nb": torch.zeros(1)}, json.dumps(GIVEN))
    refused(tmp_path / "net", r"a\\nb is in the weights, but not in the network")
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "net")
    refused(tmp_path / "net", NONE)


def test_networks_from_elsewhere_are_read_and_not_saved(tmp_path: Path) -> None:
    def network(filters: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(1, filters, 3), torch.nn.Flatten(), torch.nn.Linear(filters, 2))

    with pytest.raises(InputError, match="Sequential has no configuration"):
        checkpoint.save(network(6), tmp_path / "net")
    safetensors.torch.save_file(network(4).state_dict(), tmp_path / "net")
    net, wide = network(6), network(3)
    checkpoint.load_into(net, tmp_path / "net")
    assert net(torch.randn(2, 1, 3, 3)).shape == (2, 2)
    with pytest.raises(InputError, match=r"net: 0.bias is torch.float32 \(4,\), in the network torch.float32 \(3,\)"):
        checkpoint.load_into(wide, tmp_path / "net")


NOTES = {
    "spec": {"digest": "ab"},
    "epoch": 1,
    "curves": {"loss": [1.5]},
    "optimizer": {"rule": "adam", "clocks": {"head.bias": {"step": 1.0}}, "training": True},
}


def test_a_flipped_bit_anywhere_is_seen(tmp_path: Path) -> None:
    path, draws = tmp_path / "net", random.Random(0)
    checkpoint.save(Chain(CONFIG), path, {"order": torch.arange(3)}, NOTES)
    content = path.read_bytes()
    for place in draws.sample(range(len(content)), 120):
        flipped = bytearray(content)
        flipped[place] ^= 1 << draws.randrange(8)
        path.write_bytes(flipped)
        refused(path, r"net: .")
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of a tensor
    refused(path, "damaged .its checksum is that of other content")


def test_files_of_other_formats(tmp_path: Path) -> None:
    net, path = Chain(CONFIG), tmp_path / "net"
    write(path, dict(net.state_dict()), json.dumps(GIVEN))  # as before there was a checksum
    assert torch.equal(checkpoint.load_network(path).head.weight, net.head.weight)
    for made, reason in (
        (3, r"written by a newer version \(format 3\): up to 2 is accepted"),
        (0, "a whole number from 1"),
        (True, "a whole number from 1"),
        (2, NONE),
    ):
        entry = json.dumps({"format": made, "network": GIVEN, "notes": {}})
        safetensors.torch.save_file(dict(net.state_dict()), path, metadata={checkpoint.HEADER: entry})
        refused(path, reason)


ODD = (None, True, -1, 1.5, math.inf, math.nan, 10**400, "x" * 1000, "a\nb", [], [[1]], {"": 1}, [1, "x"])


def test_a_part_of_the_notes_in_another_form_is_neither_read_nor_written(tmp_path: Path) -> None:
    taken, net = 0, Chain(CONFIG)
    for name, good in NOTES.items():
        inner = [(name, {part: odd}) for part in good for odd in ODD] if isinstance(good, dict) else []
        for where, odd in [*((name, odd) for odd in ODD), *((w, good | change) for w, change in inner)]:
            said = refusal(json.loads(json.dumps(NOTES | {where: odd})))
            taken += said == ""
            assert "\n" not in said
            assert len(said) < 400
    # Two texts in the place of each text, true in its own place, no points of a curve, a large epoch.
    assert taken == 7
    for notes in ({"mine": object()}, {1: 2}, {"mine": "x" * LONGEST}, NOTES | {"epoch": math.inf}):
        with pytest.raises(InputError, match=r"(notes|epoch) .* accepted"):
            checkpoint.as_bytes(net, notes=notes)
    write(tmp_path / "net", dict(net.state_dict()), json.dumps(GIVEN), '{"epoch": Infinity}')
    refused(tmp_path / "net", "epoch inf: a whole number from 0 is accepted")


def refusal(notes: Any) -> str:
    try:
        check_notes(notes)
    except InputError as error:
        return str(error)
    return ""
