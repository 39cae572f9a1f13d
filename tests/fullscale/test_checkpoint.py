"""A network's file gives the network back, bit for bit, or one clear line."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Literal

import pytest
import safetensors.torch
import torch

from dynamics.errors import InputError
from fullscale import checkpoint
from fullscale.models import MODELS, Architecture, Chain, NetConfig, build

CONFIG = NetConfig((3, 5), (1, 2), in_channels=2, classes=4)


def write(path: Path, state: dict[str, torch.Tensor], config: str) -> None:
    safetensors.torch.save_file(state, path, metadata={checkpoint.HEADER: f'{{"network": {config}, "notes": {{}}}}'})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_is_bit_equal(tmp_path: Path, dtype: torch.dtype) -> None:
    net = Chain(CONFIG).to(dtype)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    net(torch.randn(3, 2, 4, 4, dtype=dtype))  # moves the running statistics
    checkpoint.save(net, tmp_path / "net.safetensors")
    back = checkpoint.load_network(tmp_path / "net.safetensors")
    assert back.config == CONFIG
    assert not back.training
    state = back.state_dict()
    assert state.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor)
    # What was loaded can be trained on.
    back.train()(torch.randn(3, 2, 4, 4, dtype=dtype)).sum().backward()
    assert all(parameter.grad is not None for parameter in back.parameters())


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    checkpoint.save(Chain(CONFIG), tmp_path / "net")
    before = torch.get_rng_state()
    checkpoint.load_network(tmp_path / "net")
    assert torch.equal(torch.get_rng_state(), before)


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
    with path.open("rb") as reader:
        checkpoint.save(second, path)
        assert reader.read() == original  # who reads the old file meanwhile reads all of it
    assert torch.equal(checkpoint.load_network(path).head.weight, second.head.weight)
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def test_loaded_weights_no_longer_depend_on_the_file(tmp_path: Path) -> None:
    net = Chain(CONFIG)
    checkpoint.save(net, tmp_path / "net")
    back = checkpoint.load_network(tmp_path / "net")
    with (tmp_path / "net").open("r+b") as file:
        file.write(bytes((tmp_path / "net").stat().st_size))
    assert torch.equal(back.head.weight, net.head.weight)


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in ("none", "file"):
        with pytest.raises(InputError, match="cannot be written"):
            checkpoint.save(Chain(CONFIG), tmp_path / place / "net")


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


def test_safetensors_of_something_else_is_refused(tmp_path: Path) -> None:
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "net")
    refused(tmp_path / "net", "holds no network's configuration")


@pytest.mark.parametrize(
    "config",
    [
        "", "[1]", "{", "null", '{"channels": [3]}', "[" * 100_000,
        json.dumps(CONFIG.as_dict() | {"channels": 3}),
        json.dumps(CONFIG.as_dict() | {"depth": 3}),
    ],
)  # fmt: skip
def test_configuration_that_is_none_is_refused(tmp_path: Path, config: str) -> None:
    write(tmp_path / "net", dict(Chain(CONFIG).state_dict()), config)
    refused(tmp_path / "net", "holds no network's configuration")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"channels": (3, 4)}, "blocks.1.conv.weight is .* \\(5, 3, 3, 3\\), in the network \\(4, 3, 3, 3\\)"),
        ({"classes": 3}, "head.bias is"),
        ({"in_channels": 1}, "blocks.0.conv.weight is"),
        ({"in_channels": 3}, "the weights do not fit each other"),
        ({"channels": (3,), "strides": (1,)}, "in the weights or in the network, but not in both"),
        ({"channels": (3, 5, 5), "strides": (1, 2, 1)}, "but not in both"),
        ({"channels": (3, 0)}, "positive whole numbers"),
        ({"channels": (3, "5")}, "positive whole numbers"),
        ({"strides": (1,)}, "one of each a layer"),
        ({"channels": (10**12, 10**12)}, "too large for any machine"),
        ({"channels": (10**30, 5)}, "too large for any machine"),
    ],
)
def test_weights_must_fit_the_configuration(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    write(tmp_path / "net", dict(Chain(CONFIG).state_dict()), json.dumps(CONFIG.as_dict() | change))
    refused(tmp_path / "net", reason)


def test_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    state = dict(Chain(CONFIG).state_dict())
    write(tmp_path / "net", state | {"head.bias": torch.zeros(4, dtype=torch.int32)}, json.dumps(CONFIG.as_dict()))
    refused(tmp_path / "net", "head.bias is torch.int32")


@pytest.mark.parametrize(("model", "head"), [(model, head) for model in MODELS for head in MODELS[model]])
def test_every_model_comes_back(tmp_path: Path, model: str, head: Literal["cifar", "imagenet"]) -> None:
    net = build(Architecture(model, 1 / 16, 1, 3, head)).eval()
    checkpoint.save(net, tmp_path / "net")
    back = checkpoint.load_network(tmp_path / "net")
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(back(images), net(images))
    assert back.config == net.config


def test_what_was_saved_beside_the_network_comes_back(tmp_path: Path) -> None:
    net = Chain(CONFIG)
    extra = {"optimizer/head.bias/m": torch.randn(4, dtype=torch.float64), "order": torch.arange(3)}
    notes = {"step": 3, "lr": 0.1 + 0.2, "curves": {"loss": [1.5]}}
    checkpoint.save(net, tmp_path / "net", extra | {"shared": net.head.bias}, notes)
    saved = checkpoint.load(tmp_path / "net")
    assert saved.notes == notes
    assert {name: tensor.tolist() for name, tensor in saved.extra.items()} == {
        name: tensor.tolist() for name, tensor in (extra | {"shared": net.head.bias}).items()
    }
    assert saved.net.state_dict().keys() == net.state_dict().keys()


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


def test_layers_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    state = narrow()
    state["blocks.0.norm.bias"] = torch.zeros(3)
    write(tmp_path / "net", state, json.dumps(CONFIG.as_dict()))
    refused(tmp_path / "net", "the weights do not fit each other")
    state = narrow() | {"blocks.1.conv.weight": torch.zeros(5, 1, 3, 3)}
    write(tmp_path / "net", state, json.dumps(CONFIG.as_dict()))
    refused(tmp_path / "net", "the weights do not fit each other")


def foreign() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3),
        torch.nn.BatchNorm2d(6),
        torch.nn.Conv2d(6, 6, 3, groups=6),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 2),
    )


def test_networks_from_elsewhere_take_narrower_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Sequential has no configuration"):
        checkpoint.save(foreign(), tmp_path / "net")
    small = foreign()
    state = {
        name: tensor[:4] if tensor.ndim and len(tensor) == 6 else tensor for name, tensor in small.state_dict().items()
    }
    state["4.weight"] = state["4.weight"][:, :4].contiguous()
    safetensors.torch.save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, tmp_path / "net")
    net = foreign()
    net[4].weight.requires_grad_(False)
    checkpoint.load_into(net, tmp_path / "net")
    assert net(torch.randn(2, 1, 5, 5)).shape == (2, 2)
    assert net[2].groups == 4
    assert not net[4].weight.requires_grad
    assert net[0].weight.requires_grad
    wide = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3))
    with pytest.raises(InputError, match=r"0.bias is torch.float32 \(4,\), in the network \(3,\)"):
        checkpoint.load_into(wide, tmp_path / "net")
    assert wide[0].weight.shape == (3, 1, 3, 3)


def test_equal_networks_are_equal_files(tmp_path: Path) -> None:
    net = Chain(CONFIG)
    for name in ("one", "two"):
        checkpoint.save(net, tmp_path / name, {"b": torch.ones(2), "a": torch.zeros(2)}, {"x": 1, "y": 2})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
