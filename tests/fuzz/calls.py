"""A valid call of every public function and class: name -> (what is called, its arguments, those by name)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import undertow
from dynamics.answers.pull_rate import Gradients
from dynamics.simulate.gradients import selective

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()


def _images() -> torch.Tensor:
    return torch.linspace(-1, 1, 64).reshape(4, 1, 4, 4)


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
    return function, args, kwargs


LANES = {"lr": 1e-3, "strength": 1e-3, "arrival": 0.5, "pull": 1.0, "target": 1.0, "sigma": 0.5}

CALLS: dict[str, Callable[[], Call]] = {
    "undertow.parse": lambda: _call(undertow.parse, "adam lr=1e-3", {"l2": 1e-4}),
    "undertow.explain": lambda: _call(undertow.explain, undertow.parse("sgd lr=0.1 l2=1e-4"), gradient_rms=1e-3),
    "undertow.convert": lambda: _call(
        undertow.convert,
        undertow.parse("sgd lr=0.1 l2=1e-4"),
        undertow.parse("sgd lr=0.1 decoupled_lr=0"),
        Gradients(1e-3, 1.0),
        weight=1.0,
        steps=1_000,
    ),
    "undertow.read": lambda: _call(undertow.read, torch.optim.Adam(_net().parameters(), weight_decay=1e-4)),
    "undertow.load_rules": lambda: _call(undertow.load_rules, "nowhere.py"),
    "undertow.load_network": lambda: _call(undertow.load_network, "nowhere.safetensors"),
    "undertow.simulate": lambda: _call(
        undertow.simulate,
        "adam",
        "l2",
        selective,
        record=[0, 10],
        lanes=LANES,
        start=1.0,
        state={"v": 0.5},
        schedule=np.ones_like,
        seed=1,
        stream=0,
        fields=["w", "v"],
        watch=0.5,
        threads=1,
        block=128,
        compiled=False,
    ),
    "undertow.pull_share": lambda: _call(
        undertow.pull_share, "adam", "l2", 1.0, 0.5, None, lr=0.1, strength=0.5, multiplier=1.0, beta1=0.9
    ),
    "undertow.measure": lambda: _call(undertow.measure, _net(), _images(), batch=4),
    "undertow.remove_dead": lambda: _call(
        undertow.remove_dead, _net(), undertow.measure(_net(), _images()), multiple=1, example=_images()
    ),
    "undertow.certify": lambda: _call(
        undertow.certify,
        _net(),
        _net(),
        _images(),
        torch.tensor([0, 1, 0, 1]),
        example=_images(),
        shape=(1, 4, 4),
        seed=0,
        random_images=4,
    ),
    "undertow.Monitor": lambda: _call(
        undertow.Monitor, (net := _net()), torch.optim.SGD(net.parameters(), lr=0.1), interval=10, example=_images()
    ),
    "undertow.parameter_groups": lambda: _call(
        undertow.parameter_groups, _net(), 1e-4, norms=False, biases=False, skip=()
    ),
    "undertow.Optimizer": lambda: _call(
        undertow.Optimizer,
        list(_net().parameters()),
        "adam",
        "l2",
        lr=1e-3,
        weight_decay=1e-4,
        maximize=False,
        capturable=False,
        beta1=0.9,
    ),
}

# (call, argument) of which more is taken than its annotation says, and that is meant.
MEANT: frozenset[tuple[str, str]] = frozenset()
