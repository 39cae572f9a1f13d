"""The split of a live optimizer's steps: exact for every rule that is read, whatever the steps between two looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schedulefree
import torch
from torch import Tensor

from dynamics.answers.live import setting_of
from dynamics.optimizer import Optimizer
from dynamics.theory.pull import pull_share
from fullscale.monitor.carried import carried
from fullscale.monitor.updates import Updates

Make = Callable[[list[Tensor]], Any]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.3),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.3, amsgrad=True),
    "maximize": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.3, maximize=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.3),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.3, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.02, weight_decay=0.3),
    "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, lr=0.02, weight_decay=0.3, momentum=0.5),
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, lr=0.02, weight_decay=0.3, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.02, weight_decay=0.3),
    "adadelta": lambda p: torch.optim.Adadelta(p, weight_decay=0.3),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.02, weight_decay=0.3),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.02, weight_decay=0.3),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.02, weight_decay=0.3),
    "schedulefree": lambda p: schedulefree.AdamWScheduleFree(p, lr=0.02, weight_decay=0.3),
    "own adam": lambda p: Optimizer(p, "adam", "l2", lr=0.02, weight_decay=0.3),
    "own l1": lambda p: Optimizer(p, "momentum", "l1", lr=0.02, weight_decay=0.3),
    "own adan": lambda p: Optimizer(p, "adan", "l2", lr=0.02, weight_decay=0.3),
    "own lion": lambda p: Optimizer(p, "lion", "l2", lr=0.02, weight_decay=0.3),
    "own lamb": lambda p: Optimizer(p, "lamb", "decoupled_lr", lr=0.02, weight_decay=0.3),
    "own schedule": lambda p: Optimizer(p, "adam", "decoupled_schedule", lr=0.02, weight_decay=0.01),
    "own capturable": lambda p: Optimizer(p, "adam", "l2", lr=0.02, weight_decay=0.3, capturable=True),
}


# Of which only the rule itself can tell what their buffers hold.
REST = {"rmsprop_momentum", "rmsprop_centered", "schedulefree", "own adan"}


def parameters(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes or ((5,), (3,))
    ]


def gradients(params: list[Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for p in params:
        p.grad = torch.empty_like(p).normal_(generator=generator)  # laid out in memory as p is
        p.grad[0] = 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_look_now_and_then_sees_what_a_split_of_every_step_sees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle carries the attributed state through every step; the parts add up to what the optimizer did. Of convolutions,
    which are cut into pieces, it is the mean share of each filter, if their buffers can be followed."""
    monkeypatch.setattr("fullscale.monitor.updates._JOINED", {"cpu": 30})
    params = parameters((5,), (3,), (5, 2, 3, 3), (4, 3, 1, 1), (3, 7))
    params[2].data = params[2].data.contiguous(memory_format=torch.channels_last)
    optimizer = OPTIMIZERS[name](params)
    if hasattr(optimizer, "train"):
        optimizer.train()
    updates = Updates(optimizer, params[:2], params[2:])
    oracle: list[Any] = [None] * len(params)
    for step in range(13):
        gradients(params, step)
        multiplier = 1.0 if step < 6 else 0.5  # a schedule, on the way
        if step == 6:
            optimizer.param_groups[0]["lr"] *= 0.5
        before = [p.detach().clone() for p in params]
        setting, _ = setting_of(optimizer, optimizer.param_groups[0])
        for i, p in enumerate(params):
            g, state = -p.grad if name == "maximize" else p.grad, oracle[i] and oracle[i].state
            oracle[i] = pull_share(
                setting.rule, setting.coupling, before[i], g, state, lr=setting.lr, strength=setting.strength,
                multiplier=multiplier, **setting.hyper,
            )  # fmt: skip
        found = updates.split() if step % 4 == 0 else updates.follow()
        optimizer.step()
        if not found:
            continue
        for p, was, wanted in zip(params[:2], before, oracle, strict=False):
            part = found.light[id(p)]
            torch.testing.assert_close(part.after, p.detach(), rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(part.pull, wanted.pull, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(part.loss, wanted.loss, rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(part.share, wanted.share, rtol=1e-6, atol=1e-9, equal_nan=True)
            assert (part.pull != 0).any()
            torch.testing.assert_close(part.pull + part.loss, p.detach() - was, rtol=1e-5, atol=1e-8)
        assert set(found.heavy) == (set() if name in REST else {id(p) for p in params[2:]})
        for p, wanted in zip(params[2:] if found.heavy else (), oracle[2:], strict=False):
            mean = wanted.share.reshape(len(p), -1).nanmean(1)
            torch.testing.assert_close(found.heavy[id(p)], mean, rtol=1e-6, atol=1e-9, equal_nan=True)
    assert ["no share of the convolutions" in note for note in updates.notes] == [True] * (name in REST)


def test_what_buffers_keep_is_told_by_the_rule_itself() -> None:
    kinds = {
        name: carried(setting_of(o := make(parameters()), o.param_groups[0])[0]) for name, make in OPTIMIZERS.items()
    }
    nothing = {"sgd", "adamw", "fused", "rmsprop", "adagrad", "adadelta", "own lamb", "own schedule"}
    assert {name for name, way in kinds.items() if way.kind == "nothing"} == nothing
    assert {name for name, way in kinds.items() if way.kind == "rest"} == REST
    assert kinds["adam"].keep == 0.9
    assert kinds["adam"].take == pytest.approx(0.1 * 0.3)
    assert kinds["momentum"].take == pytest.approx(0.1)
    assert kinds["own lion"].keep == 0.99
    assert kinds["own l1"].of_sign


def test_without_strength_there_is_nothing_to_follow_and_no_share() -> None:
    params = parameters()
    updates = Updates(torch.optim.Adam(params), params, [])
    gradients(params, 0)
    for part in updates.split().light.values():
        assert not part.pull.any()
        assert (part.share[1:] == 0).all()
        assert part.share[0].isnan()
    assert updates.held == {}


def test_a_parameter_without_a_gradient_or_of_another_optimizer_is_left_out() -> None:
    params = parameters()
    updates = Updates(torch.optim.Adam(params[:1], weight_decay=0.1), params, [])
    gradients(params, 0)
    assert set(updates.split().light) == {id(params[0])}
    assert "parameters that this optimizer does not train have no share" in updates.notes
    params[0].grad = None
    assert updates.split() == ({}, {}, {})


def test_an_optimizer_that_had_stepped_before_is_taken_to_have_pulled_a_weight_at_rest() -> None:
    params = parameters()
    optimizer = torch.optim.Adam(params, lr=1e-12, weight_decay=0.3)
    for _ in range(300):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    updates = Updates(optimizer, params, [])
    for part in updates.split().light.values():
        torch.testing.assert_close(part.share, torch.ones_like(part.share), rtol=0, atol=1e-9)
    assert any("had taken steps before" in note for note in updates.notes)


@pytest.mark.parametrize("name", ["adam", "momentum", "own l1"])
def test_weights_are_followed_only_as_long_before_they_are_asked_for_as_buffers_remember(name: str) -> None:
    """In float32: 227 steps for a momentum of 0.9. A strength that changes before that leaves no trace."""
    shares = []
    for early in (True, False):
        params = [p.detach().float().requires_grad_() for p in parameters((4,), (3, 5))]
        optimizer = OPTIMIZERS[name](params)
        updates = Updates(optimizer, params[:1], params[1:])
        for step in range(401):
            gradients(params, step)
            if step == 100:
                optimizer.param_groups[0]["weight_decay"] *= 0.5
            if step == 400:
                shares.append(updates.split().heavy[id(params[1])])
            else:
                updates.follow(0 if early else 400 - step)
                if step == 400 - 228:
                    (held,) = updates.held[id(params[1])].values()
                    assert held.any() == early
            optimizer.step()
    torch.testing.assert_close(*shares, rtol=1e-4, atol=1e-6, equal_nan=True)
