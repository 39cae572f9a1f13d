"""Every learning-rate scheduler of torch does to our optimizer what it does to torch's: drawn arguments, groups and reloads.

Here 35 examples; `make conformance` runs 2,000.
"""

from __future__ import annotations

import copy
import functools
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Parameter
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

from dynamics.optimizer import Optimizer

OPTIM = torch.optim
# Name: ours and torch's, with what is not lr.
TWINS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sgd": (functools.partial(Optimizer, rule="sgd"), OPTIM.SGD),
    "momentum": (
        functools.partial(Optimizer, rule="momentum", coupling="l2", momentum=0.8, weight_decay=0.1),
        functools.partial(OPTIM.SGD, momentum=0.8, weight_decay=0.1),
    ),
    "rmsprop": (
        functools.partial(Optimizer, rule="rmsprop", coupling="l2", alpha=0.9, eps=1e-6, weight_decay=0.1),
        functools.partial(OPTIM.RMSprop, alpha=0.9, eps=1e-6, weight_decay=0.1),
    ),
    "adam": (
        functools.partial(Optimizer, rule="adam", coupling="decoupled_lr", eps=1e-6, weight_decay=0.1),
        functools.partial(OPTIM.AdamW, eps=1e-6, weight_decay=0.1),
    ),
}
factors, counts, ways = st.floats(0.1, 1.5), st.integers(1, 6), st.sampled_from(["cos", "linear"])


def _kinds() -> list[Any]:
    """What an lr may be: torch 2.6 cannot schedule a tensor of one element that has a dimension."""
    try:
        lr_scheduler.LinearLR(OPTIM.SGD([Parameter(torch.ones(1))], lr=torch.tensor([0.1])))
    except RuntimeError:
        return [0.05, "tensor"]
    return [0.05, "tensor", "tensor of one"]


KINDS = _kinds()


def _by_group(o: Any, draw: Any, kind: Any) -> Any:
    """Of a scheduler that takes a function for each group: 1 / (1 + a t) with an a for each."""
    shares = [draw(st.floats(0.0, 1.0)) for _ in o.param_groups]
    return kind(o, [functools.partial(_falling, share) for share in shares])


def _falling(share: float, t: int) -> float:
    return 1 / (1 + share * t)


def _cyclic(o: Any, draw: Any) -> Any:
    mode = draw(st.sampled_from(["triangular", "triangular2", "exp_range"]))
    up, down, cycled = draw(counts), draw(counts), draw(st.booleans()) and cycles(o)
    return lr_scheduler.CyclicLR(o, 0.01, 0.1, up, down, mode=mode, gamma=0.9, cycle_momentum=cycled)


def _one_cycle(o: Any, draw: Any) -> Any:
    way, phases = draw(ways), draw(st.booleans())
    cycled = draw(st.booleans()) and cycles(o)
    return lr_scheduler.OneCycleLR(
        o, 0.1, total_steps=40, anneal_strategy=way, three_phase=phases, cycle_momentum=cycled
    )


def _plateau(o: Any, draw: Any) -> Any:
    mode = draw(st.sampled_from(["min", "max"]))
    return lr_scheduler.ReduceLROnPlateau(o, mode, draw(st.floats(0.1, 0.9)), draw(st.integers(0, 2)), min_lr=1e-3)


def _chain(o: Any, draw: Any) -> Any:
    parts = [lr_scheduler.ConstantLR(o, 0.5, draw(counts)), lr_scheduler.ExponentialLR(o, draw(st.floats(0.5, 1.0)))]
    return lr_scheduler.ChainedScheduler(parts, optimizer=o)


def _sequence(o: Any, draw: Any) -> Any:
    parts = [lr_scheduler.LinearLR(o, 0.1, total_iters=4), lr_scheduler.CosineAnnealingLR(o, draw(counts))]
    return lr_scheduler.SequentialLR(o, parts, milestones=[draw(counts)])


# A scheduler of an optimizer; the same draws make the same for its twin.
SCHEDULERS: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": functools.partial(_by_group, kind=lr_scheduler.LambdaLR),
    "MultiplicativeLR": functools.partial(_by_group, kind=lr_scheduler.MultiplicativeLR),
    "StepLR": lambda o, draw: lr_scheduler.StepLR(o, draw(counts), draw(factors)),
    "MultiStepLR": lambda o, draw: lr_scheduler.MultiStepLR(o, sorted(draw(st.lists(counts, max_size=3))), draw(factors)),
    "ConstantLR": lambda o, draw: lr_scheduler.ConstantLR(o, draw(st.floats(0.1, 1.0)), draw(counts)),
    "LinearLR": lambda o, draw: lr_scheduler.LinearLR(o, draw(st.floats(0.1, 1.0)), draw(st.floats(0.0, 1.0)), draw(counts)),
    "ExponentialLR": lambda o, draw: lr_scheduler.ExponentialLR(o, draw(factors)),
    "SequentialLR": _sequence,
    "CosineAnnealingLR": lambda o, draw: lr_scheduler.CosineAnnealingLR(o, draw(counts), draw(st.floats(0.0, 0.01))),
    "ChainedScheduler": _chain,
    "ReduceLROnPlateau": _plateau,
    "CyclicLR": _cyclic,
    "CosineAnnealingWarmRestarts": lambda o, draw: lr_scheduler.CosineAnnealingWarmRestarts(o, draw(counts), draw(counts)),
    "OneCycleLR": _one_cycle,
    "PolynomialLR": lambda o, draw: lr_scheduler.PolynomialLR(o, draw(counts), draw(st.floats(0.5, 3.0))),
    "SWALR": lambda o, draw: SWALR(o, 0.01, draw(counts), draw(ways)),
}  # fmt: skip


def cycles(optimizer: Any) -> bool:
    """Whether the optimizer has a momentum or betas that a scheduler can move."""
    return bool(optimizer.defaults.get("momentum") or "betas" in optimizer.defaults)


class Drawn:
    """Draws once, and says the same again to the twin."""

    def __init__(self, data: Any) -> None:
        self.data, self.values, self.at = data, [], 0

    def __call__(self, strategy: Any) -> Any:
        if self.at == len(self.values):
            self.values.append(self.data.draw(strategy))
        self.at += 1
        return self.values[self.at - 1]


def rates(optimizer: Any) -> list[tuple[float, ...]]:
    """lr and momentum, or betas, of each group."""
    return [(float(g["lr"]), *g.get("betas", (g.get("momentum", 0.0),))) for g in optimizer.param_groups]


# Of schedulers in a sequence that were pickled before they began torch says so, whoever's optimizer it is.
@pytest.mark.filterwarnings("ignore:Seems like `optimizer.step")
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch 2.6 warns of its own sequences
@given(
    name=st.sampled_from(sorted(SCHEDULERS)),
    twin=st.sampled_from(sorted(TWINS)),
    lr=st.sampled_from(KINDS),
    again=st.sampled_from(["", "state_dict", "pickle"]),
    capturable=st.booleans(),
    data=st.data(),
)
def test_a_scheduler_moves_ours_as_torchs(
    name: str, twin: str, lr: Any, again: str, capturable: bool, data: Any
) -> None:
    draw = Drawn(data)
    paths: list[list[Any]] = []
    for side in (0, 1):
        make = functools.partial(TWINS[twin][side], **({} if side else {"capturable": capturable}))
        params = [Parameter(torch.tensor(v, dtype=torch.float64)) for v in ([1.0, -0.5], [2.0, 0.3])]

        def built(params: list[Parameter], make: Any = make) -> Any:
            # A tensor each: a scheduler changes them in place.
            first, second = (
                x if lr == 0.05 else torch.tensor(x if lr == "tensor" else [x], dtype=torch.float64)
                for x in (0.05, 0.02)
            )
            return make([{"params": params[:1]}, {"params": params[1:], "lr": second}], lr=first)

        optimizer = built(params)
        draw.at = 0
        plan, path = SCHEDULERS[name](optimizer, draw), []
        for t in range(12):
            if t == 6 and again == "state_dict":
                saved = copy.deepcopy((optimizer.state_dict(), plan.state_dict()))
                optimizer, draw.at = built(params), 0
                plan = SCHEDULERS[name](optimizer, draw)
                plan.load_state_dict(saved[1])
                optimizer.load_state_dict(saved[0])
            elif t == 6 and again == "pickle":
                params, optimizer, plan = pickle.loads(pickle.dumps((params, optimizer, plan)))
            for k, p in enumerate(params):
                p.grad = torch.full_like(p, math.cos(t + k))
            optimizer.step()
            path.append((rates(optimizer), torch.cat([p.detach() for p in params])))
            plan.step(*([abs(math.sin(t))] if name == "ReduceLROnPlateau" else []))
        if not side:
            # A number of its own, whatever is done in place to an lr that is a tensor.
            assert [g["base_lr"] for g in optimizer.param_groups] == [0.05, 0.02]
        paths.append(path)
    first = paths[0][0][0]
    exact = True
    for (ours, weights), (theirs, expected) in zip(*paths, strict=True):
        assert ours == theirs
        # Where Adam's betas are cycled, ours corrects by those that were used, torch by a power of the last one.
        exact = exact and (twin != "adam" or [row[1:] for row in ours] == [row[1:] for row in first])
        if exact:
            torch.testing.assert_close(weights, expected, rtol=1e-12, atol=1e-12)


def test_no_scheduler_of_torch_is_left_out() -> None:
    assert set(lr_scheduler.__all__) - {"LRScheduler"} <= SCHEDULERS.keys()
