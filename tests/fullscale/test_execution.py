"""Where and how a step runs: what is asked for is there, or is refused."""

from __future__ import annotations

import pytest
import torch

from dynamics.errors import InputError
from fullscale.execution import Execution
from fullscale.models import Architecture, build


def test_a_cpu_runs_steps_as_they_are() -> None:
    best = Execution.best("cpu")
    assert best == Execution("cpu", channels_last=True, compile=False, graphs=False, deterministic=False)


def test_without_cuda_the_cpu_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Execution.best() == Execution.best("cpu")


def test_with_cuda_compiler_and_graphs_are_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert Execution.best() == Execution("cuda", compile=True, graphs=True)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"device": "tpu9"}, "device 'tpu9' is unknown: cpu, cuda, cuda:1, ... are accepted"),
        ({"device": "meta"}, "device 'meta': cpu or cuda is accepted"),
        ({"device": "cuda"}, "device 'cuda': no CUDA device is here, cpu is accepted"),
        ({"graphs": True}, "graphs on device 'cpu': CUDA graphs need a cuda device"),
    ],
)
def test_what_is_not_there_is_refused(asked: dict[str, object], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError) as caught:
        Execution(**asked)  # type: ignore[arg-type]
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("model", "width", "expected"),
    [
        ("basicnet", 0.1, torch.channels_last),
        ("resnet18", 1 / 16, torch.contiguous_format),
        ("resnet18", 1, torch.channels_last),
    ],
)
def test_narrow_strided_shortcuts_stay_out_of_channels_last_on_a_cpu(
    model: str, width: float, expected: torch.memory_format
) -> None:
    net = build(Architecture(model, width))
    assert Execution().layout(net) is expected
    assert Execution(channels_last=False).layout(net) is torch.contiguous_format


def test_settings_hold_within_a_run_and_come_back() -> None:
    before = torch.backends.cudnn.allow_tf32
    for deterministic in (True, False):
        with Execution(deterministic=deterministic).applied():
            assert torch.are_deterministic_algorithms_enabled() == deterministic
            assert torch.backends.cudnn.benchmark != deterministic
            assert not torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_device_beyond_those_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    Execution("cuda:1")
    with pytest.raises(InputError, match="device 'cuda:2': 2 CUDA devices are here"):
        Execution("cuda:2")
