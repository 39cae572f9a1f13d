"""A scheduler is read ahead as it will be, by a copy: stepping the scheduler itself is the oracle."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as torchs
from torch.optim.swa_utils import SWALR

from dynamics.answers.scheduler import plan_of, rates
from dynamics.errors import InputError

STEPS = 24


def _sequence(o: Any) -> Any:
    return torchs.SequentialLR(o, [torchs.LinearLR(o, 0.1, 1.0, 5), torchs.CosineAnnealingLR(o, 19)], [5])


class Halving:
    """A callable object with a state of its own."""

    def __init__(self) -> None:
        self.called = 0

    def __call__(self, epoch: int) -> float:
        self.called += 1
        return 0.5 ** (epoch // 7)


MADE: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: torchs.LambdaLR(o, lambda t: 1 / (1 + t)),
    "LambdaLR of an object": lambda o: torchs.LambdaLR(o, Halving()),
    "LambdaLR a group": lambda o: torchs.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1.0]),
    "MultiplicativeLR": lambda o: torchs.MultiplicativeLR(o, lambda t: 0.9),
    "StepLR": lambda o: torchs.StepLR(o, 5),
    "MultiStepLR": lambda o: torchs.MultiStepLR(o, [3, 9]),
    "ConstantLR": lambda o: torchs.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: torchs.LinearLR(o, 0.1, 1.0, 6),
    "ExponentialLR": lambda o: torchs.ExponentialLR(o, 0.9),
    "SequentialLR": _sequence,
    "CosineAnnealingLR": lambda o: torchs.CosineAnnealingLR(o, STEPS),
    "ChainedScheduler": lambda o: torchs.ChainedScheduler([torchs.ConstantLR(o, 0.1, 4), torchs.ExponentialLR(o, 0.9)]),
    "CyclicLR": lambda o: torchs.CyclicLR(o, 0.01, 0.1, step_size_up=5, cycle_momentum=False),
    "CyclicLR of a function": lambda o: torchs.CyclicLR(
        o, 0.01, 0.1, step_size_up=5, scale_fn=lambda x: 0.5**x, cycle_momentum=False
    ),
    "CosineAnnealingWarmRestarts": lambda o: torchs.CosineAnnealingWarmRestarts(o, 7),
    "OneCycleLR": lambda o: torchs.OneCycleLR(o, [0.1, 0.3], total_steps=STEPS),
    "PolynomialLR": lambda o: torchs.PolynomialLR(o, STEPS, 2.0),
    "SWALR": lambda o: SWALR(o, 0.01, anneal_epochs=8),
}


def made_optimizer(kind: Any = torch.optim.AdamW, lr: Any = 0.1) -> Any:
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(3))]},
        {"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.3},
    ]
    return kind(groups, lr=lr)


def test_every_scheduler_of_torch_is_tried() -> None:
    named = {name.partition(" ")[0] for name in MADE}
    assert set(torchs.__all__) - named == {"LRScheduler", "ReduceLROnPlateau"}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("kind", ["adamw", "sgd", "tensor"])
@pytest.mark.filterwarnings("ignore")
def test_it_is_what_the_scheduler_does_and_leaves_it_alone(name: str, kind: str) -> None:
    make = functools.partial(torch.optim.SGD, momentum=0.9) if kind == "sgd" else torch.optim.AdamW
    optimizer = made_optimizer(make, torch.tensor(0.1) if kind == "tensor" else 0.1)
    scheduler = MADE[name](optimizer)
    for begun in (0, 3):
        for _ in range(begun):
            optimizer.step()
            scheduler.step()
        left = STEPS - begun
        groups = [{k: v for k, v in group.items() if k != "params"} for group in copy.deepcopy(optimizer.param_groups)]
        state = copy.deepcopy(scheduler.state_dict())
        found = rates(scheduler, optimizer, left)
        assert str(scheduler.state_dict()) == str(state)
        assert str(groups) == str([{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups])
    wanted = []
    for t in range(left):
        wanted.append([float(group["lr"]) for group in optimizer.param_groups])
        if t + 1 < left:
            optimizer.step()
            scheduler.step()
    np.testing.assert_allclose(found, wanted, rtol=1e-6 if kind == "tensor" else 1e-12)
    plan, peak = plan_of(scheduler, left, found[:, 1])
    np.testing.assert_allclose(peak * plan.blocks[1], found[:, 1])


def test_a_scheduler_stepped_by_epochs_holds_its_rate_within_one() -> None:
    optimizer = made_optimizer()
    scheduler = torchs.ExponentialLR(optimizer, 0.5)
    assert rates(scheduler, optimizer, 5, every=2)[:, 0].tolist() == [0.1, 0.1, 0.05, 0.05, 0.025]


def test_what_cannot_be_read_ahead_is_refused() -> None:
    one, other = made_optimizer(), made_optimizer()
    plateau = torchs.ReduceLROnPlateau(one)
    step = torchs.StepLR(one, 5)
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((plateau, one, 5), "ReduceLROnPlateau follows a loss"),
        ((torch.nn.Identity(), one, 5), "scheduler .*: one of torch.optim.lr_scheduler"),
        ((step, other, 5), "StepLR is the scheduler of another optimizer"),
        ((step, one, 0), "steps 0: a whole number from 1"),
        ((step, one, 10**9), "steps 1000000000: a whole number from 1 to 1,048,576"),
        ((step, one, 5, 0), "every 0"),
        ((torchs.OneCycleLR(one, 0.1, total_steps=4), one, 9), r"OneCycleLR over 9 steps failed \(ValueError"),
    ]
    for arguments, words in cases:
        with pytest.raises(InputError, match=words) as caught:
            rates(*arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="a learning rate below 0"):
        rates(torchs.LambdaLR(one, lambda t: 1.0 - t), one, 5)
