"""schedule_free is the authors' package, at the gradient point and at the average."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance.oracle import TOLERANCE, spelled
from conformance.sides import Setting, difference, drawn, make_setting, ours, theirs
from hypothesis import given, settings
from schedulefree import AdamWScheduleFree

from dynamics.rules import RULES


def made(setting: Setting, evaluated: bool, **extra: int) -> np.ndarray:
    def make(weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return AdamWScheduleFree(
            weights, lr=setting.lr, weight_decay=setting.strength, **spelled(setting.hyper), **extra
        )

    return theirs(make, setting, evaluated)


@pytest.mark.parametrize("evaluated", [False, True])
@given(setting=drawn("schedule_free", "decoupled_lr"))
@settings(max_examples=20)
def test_path_is_the_authors(evaluated: bool, setting: Setting) -> None:
    # eval and train move the weights there and back, which adds two roundings a step.
    assert difference(ours(setting, evaluated=evaluated), made(setting, evaluated)) <= TOLERANCE


def test_without_a_pull_the_coupling_does_not_matter() -> None:
    setting = make_setting("schedule_free", "none", 0.03, 0.0, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, 3)
    assert difference(ours(setting), made(setting, False)) <= TOLERANCE


def test_warmup_steps_are_a_schedule() -> None:
    setting = make_setting("schedule_free", "decoupled_lr", 0.03, 0.1, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, 3)
    warm = np.minimum(np.arange(1, len(setting.multipliers) + 1) / 50, 1.0)
    warmed = made(setting.steady(), False, warmup_steps=50)
    assert difference(ours(replace(setting, multipliers=warm)), warmed) <= TOLERANCE


def test_steps_at_lr_0_leave_weights_and_average_as_they_are() -> None:
    setting = make_setting("schedule_free", "decoupled_lr", 0.03, 0.1, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, 3)
    late = replace(setting, multipliers=np.where(np.arange(len(setting.multipliers)) < 5, 0.0, setting.multipliers))
    assert difference(ours(late), made(late, False)) <= TOLERANCE
    assert (ours(late)[4] == late.start).all()


def test_the_authors_defaults_are_ours() -> None:
    (group,) = AdamWScheduleFree([torch.nn.Parameter(torch.zeros(1))]).param_groups
    rule = RULES["schedule_free"]
    assert {"lr": rule.lr, **spelled(rule.defaults)}.items() <= group.items()
