"""train and eval of the torch face: where gradients are taken, and what to evaluate with."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import schedulefree
import torch
from conformance.oracle import TOLERANCE, difference, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import rates, strengths

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in ([1.0, -0.5, 2.0], [0.3, 1.0, -1.0])]


def flat(params: list[torch.nn.Parameter]) -> torch.Tensor:
    return torch.cat([p.detach() for p in params])


def advance(optimizer: Any, params: list[torch.nn.Parameter], seed: int, count: int = 10) -> None:
    for row in gradients(seed, steps=count):
        for p, part in zip(params, row.split(3), strict=True):
            p.grad = part.clone()
        optimizer.step()


def ours(params: list[torch.nn.Parameter], **given: Any) -> Optimizer:
    return Optimizer(params, "schedule_free", "decoupled_lr", **{"lr": 0.05, "weight_decay": 0.1, **given})


@given(lr=rates, strength=strengths, beta1=st.floats(0.2, 0.99), beta2=st.floats(0.5, 0.999))
@settings(max_examples=15)
def test_both_points_are_those_of_the_package(lr: float, strength: float, beta1: float, beta2: float) -> None:
    # beta1 from 0.2: the package goes back to the gradient point by dividing by it.
    seen = []
    for kind in (ours, schedulefree.AdamWScheduleFree):
        params = parameters()
        optimizer = kind(params, lr=lr, weight_decay=strength, betas=(beta1, beta2))
        optimizer.train()
        points = []
        for seed in range(3):
            advance(optimizer, params, seed)
            points.append(flat(params))
            optimizer.eval()
            points.append(flat(params))
            optimizer.train()
            points.append(flat(params))
        seen.append(torch.stack(points))
    assert difference(*seen) <= TOLERANCE
    assert difference(seen[0][0], seen[0][1]) > 1e-6


def test_evaluation_leaves_no_trace_in_training() -> None:
    ends = []
    for evaluated in (False, True):
        params = parameters()
        optimizer = ours(params)
        for seed in range(3):
            advance(optimizer, params, seed)
            if evaluated:
                optimizer.eval()
                optimizer.eval()  # twice is once
                optimizer.train()
                optimizer.train()
        ends.append(flat(params))
        assert all(set(optimizer.state[p]) == set(RULES["schedule_free"].inner) for p in params)
    assert torch.equal(*ends)


def test_a_step_in_eval_mode_is_refused() -> None:
    params = parameters()
    optimizer = ours(params)
    optimizer.eval()
    with pytest.raises(InputError, match=r"step of schedule_free in eval mode: call train\(\)"):
        advance(optimizer, params, 0)


def test_without_beta1_there_is_no_average() -> None:
    params = parameters()
    optimizer = ours(params, betas=(0.0, 0.999))
    advance(optimizer, params, 0)
    before = flat(params)
    with pytest.raises(InputError, match="beta1 = 0"):
        optimizer.eval()
    assert torch.equal(flat(params), before)
    advance(optimizer, params, 1)  # still in train mode


@pytest.mark.parametrize("rule", ["sgd", "adam", "lamb"])
def test_other_rules_have_one_point(rule: str) -> None:
    params = parameters()
    optimizer = Optimizer(params, rule)
    advance(optimizer, params, 0)
    before = flat(params)
    optimizer.eval()
    assert torch.equal(flat(params), before)
    advance(optimizer, params, 1)
    optimizer.train()
    assert "train_mode" not in optimizer.param_groups[0]


@pytest.mark.parametrize("transport", ["state_dict", "deepcopy"])
def test_the_mode_is_saved(transport: str) -> None:
    params = parameters()
    optimizer = ours(params)
    advance(optimizer, params, 0)
    optimizer.eval()
    if transport == "deepcopy":
        copies, other = copy.deepcopy((params, optimizer))
    else:
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        copies = [torch.nn.Parameter(p.detach().clone()) for p in params]
        other = ours(copies)
        other.load_state_dict(torch.load(file, weights_only=True))
    with pytest.raises(InputError, match="eval mode"):
        advance(other, copies, 1)
    for o, p in ((optimizer, params), (other, copies)):
        o.train()
        advance(o, p, 1)
    assert torch.equal(flat(params), flat(copies))


def test_a_parameter_that_has_not_moved_is_its_own_average() -> None:
    params = parameters()
    optimizer = ours(params)
    params[0].grad = torch.ones_like(params[0])
    optimizer.step()
    before = params[1].detach().clone()
    optimizer.eval()
    assert torch.equal(params[1], before)
    optimizer.train()
    assert torch.equal(params[1], before)
