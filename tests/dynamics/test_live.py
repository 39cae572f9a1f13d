"""A live optimizer is read as what it is: its own steps confirm what is said of a weight without a gradient."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from schedulefree import AdamWScheduleFree
from torch import optim

from dynamics.answers.live import read, setting_of
from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES

Make = tuple[type[optim.Optimizer], dict[str, Any], str]
# A class with its arguments, and the setting that it is.
TORCH: list[Make] = [
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.01}, "sgd lr=0.1 l2=0.01"),
    (optim.SGD, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.01}, "momentum lr=0.1 l2=0.01 momentum=0.8"),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, "nesterov lr=0.1 l2=0.01"),
    (optim.Adagrad, {"lr": 0.1, "weight_decay": 0.01}, "adagrad lr=0.1 l2=0.01"),
    (optim.Adadelta, {"weight_decay": 0.01}, "adadelta lr=1 l2=0.01"),
    (optim.RMSprop, {"weight_decay": 0.01}, "rmsprop lr=0.01 l2=0.01"),
    (optim.RMSprop, {"momentum": 0.9, "weight_decay": 0.01}, "rmsprop_momentum lr=0.01 l2=0.01"),
    (optim.RMSprop, {"centered": True, "weight_decay": 0.01}, "rmsprop_centered lr=0.01 l2=0.01"),
    (optim.Adam, {"lr": 0.01, "weight_decay": 0.01}, "adam lr=0.01 l2=0.01"),
    (optim.Adam, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.01}, "amsgrad lr=0.01 l2=0.01"),
    (optim.Adam, {"lr": 0.01, "weight_decay": 0.0}, "adam lr=0.01"),
    (optim.AdamW, {"lr": 0.01, "betas": (0.9, 0.95)}, "adam lr=0.01 decoupled_lr=0.01 beta2=0.95"),
    (optim.AdamW, {"lr": 0.01, "amsgrad": True}, "amsgrad lr=0.01 decoupled_lr=0.01"),
    (optim.Adamax, {"weight_decay": 0.01}, "adamax lr=0.002 l2=0.01"),
    (optim.NAdam, {"weight_decay": 0.01}, "nadam lr=0.002 l2=0.01"),
    (optim.NAdam, {"weight_decay": 0.01, "decoupled_weight_decay": True}, "nadam lr=0.002 decoupled_lr=0.01"),
    (optim.RAdam, {"weight_decay": 0.01}, "radam lr=0.001 l2=0.01"),
    (optim.RAdam, {"weight_decay": 0.01, "decoupled_weight_decay": True}, "radam lr=0.001 decoupled_lr=0.01"),
]
NAMES = [text for _, _, text in TORCH]


def weights(size: int = 4) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(size, dtype=torch.float64))


@pytest.mark.parametrize(("kind", "arguments", "text"), TORCH, ids=NAMES)
def test_torchs_classes_are_read_and_do_what_is_said(kind: type, arguments: dict[str, Any], text: str) -> None:
    w = weights()
    optimizer = kind([w], **arguments)
    [group] = read(optimizer)
    assert (group.setting, group.tensors, group.weights, group.now) == (text, 1, 4, None)
    half = group.law.half_life.steps
    if half is None:
        assert group.law.half_life.how == "never: nothing pulls"
        return
    # The optimizer itself, on gradients of exact zeros: halved at that step, and not two steps before.
    for t in range(min(half, 3_000)):
        if t == half - 2:
            assert w.abs().min() > 0.5
        w.grad = torch.zeros_like(w)
        optimizer.step()
    assert (w.abs().max() <= 0.5 * (1 + 1e-9)) == (half <= 3_000)


def test_muon_and_the_schedule_free_are_read() -> None:
    matrix = torch.nn.Parameter(torch.ones(2, 3))
    assert str(setting_of(m := optim.Muon([matrix]), m.param_groups[0])[0]) == "muon lr=0.001 decoupled_lr=0.1"
    free = AdamWScheduleFree([weights()], lr=0.01, weight_decay=0.1, warmup_steps=10)
    setting, notes = setting_of(free, free.param_groups[0])
    assert str(setting) == "schedule_free lr=0.01 decoupled_lr=0.1"
    assert notes == ["warmup_steps is a schedule, which is left out"]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_our_own_is_read(rule: str) -> None:
    matrix = torch.nn.Parameter(torch.ones(2, 3))
    for coupling in COUPLINGS:
        optimizer = Optimizer([matrix], rule, coupling, lr=0.125, weight_decay=0.0 if coupling == "none" else 0.25)
        setting, notes = setting_of(optimizer, optimizer.param_groups[0])
        assert (setting.rule, setting.coupling, setting.lr) == (RULES[rule], COUPLINGS[coupling], 0.125)
        assert setting.hyper == dict(RULES[rule].defaults)
        assert notes == []


def test_each_group_has_its_answer() -> None:
    groups = [{"params": [weights()], "weight_decay": 0.1}, {"params": [weights(), weights(2)], "lr": 0.5}]
    decayed, free = read(optim.Adam(groups, lr=0.1))
    assert (decayed.setting, free.setting) == ("adam lr=0.1 l2=0.1", "adam lr=0.5")
    assert (free.index, free.tensors, free.weights) == (1, 2, 6)
    assert free.law.text == "never: nothing pulls"
    assert "grad is None: left alone" in str(decayed)
    json.dumps([g.as_dict() for g in (decayed, free)], allow_nan=False)


@pytest.mark.parametrize("taken", [20, 4_000])
@pytest.mark.parametrize("kind", [optim.Adam, optim.RMSprop, optim.Adamax, optim.Adagrad, optim.NAdam])
def test_from_where_it_stands_the_half_life_is_what_the_optimizer_takes(kind: type, taken: int) -> None:
    w = weights(1)
    optimizer = kind([w], lr=1e-2, weight_decay=1e-2)
    for t in range(taken):
        w.grad = torch.full_like(w, 0.1 if t % 2 else -0.1)
        optimizer.step()
    w.data.fill_(0.5)
    # Momentum at rest: what the answer assumes.
    for name in ("exp_avg",):
        if name in optimizer.state[w]:
            optimizer.state[w][name].zero_()
    [group] = read(optimizer)
    assert group.now is not None
    assert group.now.weight == 0.5
    # Adagrad has summed all squares; the others know the last (Adamax with a pull of 0.01), RMSprop from 0 up.
    known = {optim.Adagrad: taken**0.5, optim.RMSprop: (1 - 0.99**taken) ** 0.5}.get(kind, 1.0)
    assert group.now.gradient == pytest.approx(0.1 * known, rel=0.11)
    half = group.now.half_life.steps
    assert half is not None
    steps = 0
    while w.item() > 0.25 and steps < 20_000:
        w.grad = torch.zeros_like(w)
        optimizer.step()
        steps += 1
    # Adagrad takes far longer than this test: then so does the answer.
    assert half > 20_000 if steps == 20_000 else abs(half / steps - 1) < 0.02


def test_before_the_first_step_nothing_is_said_of_now() -> None:
    [group] = read(optim.Adagrad([weights()], initial_accumulator_value=0.1, weight_decay=0.1))
    assert group.now is None


def test_what_has_no_groups_is_refused() -> None:
    with pytest.raises(InputError, match="object has no param_groups"):
        read(object())


def test_reading_changes_nothing() -> None:
    w = weights()
    optimizer = optim.Adam([w], weight_decay=0.1)
    w.grad = torch.ones_like(w)
    optimizer.step()
    before = {name: value.clone() for name, value in optimizer.state[w].items()}
    copy = w.detach().clone()
    read(optimizer)
    assert torch.equal(w, copy)
    assert all(torch.equal(optimizer.state[w][name], value) for name, value in before.items())


def test_what_the_numbers_leave_out_is_noted() -> None:
    optimizer = optim.SGD([weights()], lr=torch.tensor(0.1), maximize=True, weight_decay=0.1, foreach=True)
    assert [note.split(":")[0] for note in read(optimizer)[0].notes] == [
        "maximize flips the loss gradient only",
        "lr is a tensor",
    ]
    assert "lr_decay 0.5" in read(optim.Adagrad([weights()], lr_decay=0.5))[0].notes[0]


def test_a_class_derived_from_a_known_one_is_read_unless_it_steps_by_itself() -> None:
    class Named(optim.Adam):
        pass

    class Other(optim.Adam):
        def step(self, closure: Any = None) -> Any:
            return None

    assert read(Named([weights()], weight_decay=0.1))[0].setting == "adam lr=0.001 l2=0.1"
    with pytest.raises(InputError, match=r"Other is none of the rules here: torch\.SGD"):
        read(Other([weights()]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.LBFGS([weights()]), "torch.optim.lbfgs.LBFGS is none of the rules here"),
        (lambda: optim.ASGD([weights()]), "ASGD is none of the rules here"),
        (lambda: optim.SGD([weights()], lr=0.1, momentum=0.9, dampening=0.5), "SGD with dampening=0.5"),
        (lambda: optim.Muon([torch.nn.Parameter(torch.ones(2, 2))], nesterov=False), "Muon with nesterov=False"),
    ],
)
def test_what_is_none_of_the_rules_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(make())


def timm(name: str, **group: Any) -> optim.Optimizer:
    """An optimizer with the class name, package and group of timm 1.0.31's: its reader looks at nothing else."""
    kind = type(name, (optim.Optimizer,), {"__module__": f"timm.optim.{name.lower()}", "step": lambda self: None})
    return kind([weights()], {"lr": 0.01, "weight_decay": 0.1} | group)


BETAS = {"betas": (0.9, 0.999), "eps": 1e-8}
TIMM: dict[tuple[str, str], dict[str, Any]] = {
    ("SGDW", "nesterov lr=0.01 decoupled_lr=0.1"): {"momentum": 0.9, "nesterov": True, "dampening": 0},
    ("AdamWLegacy", "adam lr=0.01 corrected=0.1"): BETAS | {"amsgrad": False, "corrected_weight_decay": True},
    ("Lion", "lion lr=0.01 decoupled_lr=0.1"): {"betas": (0.9, 0.99), "corrected_weight_decay": False},
    ("Adan", "adan lr=0.01 decoupled_lr=0.1"): BETAS | {"betas": (0.98, 0.92, 0.99), "no_prox": True},
    ("AdaBelief", "adabelief lr=0.01 decoupled_constant=0.1"): BETAS
    | {"eps": 1e-16, "amsgrad": False, "rectify": True, "decoupled_decay": True, "fixed_decay": True},
    ("Lamb", "lamb lr=0.01 decoupled_lr=0.1"): BETAS
    | {"eps": 1e-6, "bias_correction": True, "grad_averaging": True, "trust_clip": False, "decoupled_decay": False},
    ("Lars", "lars lr=0.01 l2=0.1 eps=1e-08"): {"momentum": 0.9, "dampening": 0, "nesterov": False, "eps": 1e-8}
    | {"trust_coeff": 0.001, "trust_clip": False},
    ("NAdamW", "nadam lr=0.01 decoupled_lr=0.1"): BETAS | {"corrected_weight_decay": False},
}


@pytest.mark.parametrize(("name", "text"), TIMM)
def test_timms_groups_are_read(name: str, text: str) -> None:
    caution = {} if name in ("AdaBelief", "Lars") else {"caution": False}
    optimizer = timm(name, **TIMM[name, text], **caution)
    assert str(setting_of(optimizer, optimizer.param_groups[0])[0]) == text


def test_timms_cautious_updates_are_refused() -> None:
    with pytest.raises(InputError, match="Lion with caution=True"):
        read(timm("Lion", betas=(0.9, 0.99), caution=True))
