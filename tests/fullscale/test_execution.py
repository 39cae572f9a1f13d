"""Where and how a step runs: what is asked for is there, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from dynamics.errors import InputError
from fullscale.execution import Execution
from fullscale.models import Architecture, build


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes as if so many CUDA devices were here."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


def test_what_is_best_is_plain_steps_on_a_cpu_and_compiled_graphs_on_cuda(devices: Callable[[int], None]) -> None:
    for count, asked, device in ((0, None, "cpu"), (1, "cpu", "cpu"), (1, None, "cuda"), (2, "cuda:1", "cuda:1")):
        devices(count)
        cuda = device != "cpu"
        assert Execution.best(asked) == Execution(device, channels_last=True, compile=cuda, graphs=cuda)


@pytest.mark.parametrize(
    ("count", "asked", "reason"),
    [
        (0, {"device": "tpu9"}, "device 'tpu9' is unknown: cpu, cuda, cuda:1, ... are accepted"),
        (0, {"device": "meta"}, "device 'meta' is unknown: cpu, cuda, cuda:1, ... are accepted"),
        (0, {"device": "cpu:7"}, "device 'cpu:7' is unknown: cpu, cuda, cuda:1, ... are accepted"),
        (0, {"device": ""}, "device '' is unknown: cpu, cuda, cuda:1, ... are accepted"),
        (0, {"device": "CPU"}, "device 'CPU' is unknown: cpu, cuda, cuda:1, ... are accepted"),
        (0, {"device": "cuda:-1"}, "device 'cuda:-1' is unknown: cpu, cuda, cuda:1, ... are accepted"),
        (0, {"device": "cuda"}, "device 'cuda': no CUDA device is here, cpu is accepted"),
        (0, {"graphs": True}, "graphs on device 'cpu': CUDA graphs need a cuda device"),
        (2, {"device": "cuda:2"}, "device 'cuda:2': 2 CUDA devices are here"),
    ],
)
def test_what_is_not_there_is_refused(devices: Callable[[int], None], count: int, asked: Any, reason: str) -> None:
    devices(count)
    with pytest.raises(InputError, match=f"^{re.escape(reason)}$"):
        Execution(**asked)


def test_narrow_strided_shortcuts_stay_out_of_channels_last_on_a_cpu() -> None:
    for model, width, last in (("basicnet", 0.1, True), ("resnet18", 1 / 16, False), ("resnet18", 1, True)):
        net = build(Architecture(model, width))
        assert Execution().layout(net) is (torch.channels_last if last else torch.contiguous_format)
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
