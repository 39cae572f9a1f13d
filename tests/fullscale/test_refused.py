"""What is no network, no optimizer, no labels, ... is refused in one line that says what is accepted, before any work."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from planting import noise
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.export import export_onnx
from fullscale.measure import measure, zeroed
from fullscale.monitor import Monitor
from fullscale.prune import certify, remove_dead

X, LABELS = noise(0, 4, 3), torch.arange(4) % 2


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        return nn.Sequential(torch.jit.script(network()))  # type: ignore[no-untyped-call]


CALLS: dict[str, Callable[[Any], Any]] = {
    "measure": lambda net: measure(net, X),
    "remove_dead": lambda net: remove_dead(net, example=X),
    "certify": lambda net: certify(network(), net, X),
    "export": lambda net: export_onnx(net, "nowhere.onnx", X),
    "monitor": lambda net: Monitor(net, torch.optim.SGD(network().parameters())),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda: None, "a network of type NoneType: a torch.nn.Module is accepted"),
        (lambda: nn.Linear, "the class Linear: a torch.nn.Module is accepted"),
        (scripted, "0 is TorchScript: the network that it was made from is accepted"),
        (lambda: network().to("meta"), r"0\.weight is on the meta device"),
        (lambda: nn.Sequential(nn.LazyLinear(3), nn.ReLU()), r"0\.weight has no shape yet"),
    ],
)
def test_what_is_no_network_or_has_no_numbers_is_refused(call: str, net: Callable[[], Any], words: str) -> None:
    made = net()
    if call == "monitor" and r"0\.weight" in words:
        CALLS[call](made)  # it waits for the first pass
        return
    with pytest.raises(InputError, match=words) as caught:
        CALLS[call](made)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: certify(net, net, X, LABELS.tolist()), "labels of type list: a tensor"),
        (lambda net: certify(net, net, X, LABELS.numpy()), "labels of type ndarray: a tensor"),
        (lambda net: certify(net, net, X, random_images=1.5), "random_images 1.5"),
        (lambda net: certify(net, net, X, timed=(1, 0)), r"timed 0: a whole number from 1"),
        (lambda net: zeroed(net, measure(net, X), [(X, LABELS.tolist())]), r"\[0, 1, 0, 1\]: Tensor is accepted"),
        (lambda net: remove_dead(net, multiple=1.5, example=X), "multiple 1.5"),
        (lambda net: remove_dead(net, X), "activity of type Tensor: what measure gives is accepted"),
        (lambda net: measure(net, X, batch=1.5), "batch 1.5"),
        (lambda net: Monitor(net, None), "optimizer of type NoneType: a torch.optim.Optimizer is accepted"),
        (lambda net: Monitor(net, torch.optim.lr_scheduler.StepLR(sgd(net), 1)), "optimizer of type StepLR"),
        (lambda net: Monitor(net, sgd(net), interval=1.5), "interval 1.5"),
        (lambda net: Monitor(net, sgd(net)).load_state_dict({"a": 1}), "no state of a monitor"),
        (lambda net: export_onnx(Complex(), "nowhere.onnx", torch.ones(2, 3)), r"\[0\] is complex: real outputs"),
    ],
)
def test_what_is_of_another_type_is_refused(call: Callable[[nn.Module], Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        call(network())
    assert "\n" not in str(caught.value)


def sgd(net: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=0.1)


class Complex(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.fft.rfft(x), x


def test_whole_numbers_of_other_libraries_are_some() -> None:
    net = network()
    found = measure(net, X, batch=np.int64(2))
    remove_dead(net, found, multiple=np.int64(2), example=X)
    assert Monitor(net, sgd(net), interval=np.int64(2)).filters == 0


def test_a_default_device_without_numbers_is_refused() -> None:
    net = network()
    with torch.device("meta"), pytest.raises(InputError, match="the default device is meta"):
        measure(net, X)
