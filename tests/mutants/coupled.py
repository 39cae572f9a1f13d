"""Trajectories for every coupling: what a mutant of a coupling is compared with.

Where no library has a coupling, it is done by hand to the weights of one that has the rule.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from conformance import in_pytorch_optimizer
from conformance.oracle import spelled
from conformance.sides import Setting
from mutants.oracles import LR, STRENGTH, Case, cases_of, quiet_at_first, schedule_free, setting_of, torch_path
from schedulefree import AdamWScheduleFree


def _decayed_adam(setting: Setting) -> np.ndarray:
    """torch's AdamW, its weight_decay set anew at each step, or a share taken by hand around its step."""
    weights = torch.nn.Parameter(torch.from_numpy(setting.start.copy()))
    optimizer = torch.optim.AdamW([weights], **spelled(setting.hyper))
    (group,) = optimizer.param_groups
    coupling, strength, rows = setting.coupling, setting.strength, []
    for g, multiplier, rate in zip(setting.given, setting.multipliers, setting.rates, strict=True):
        decay = {"decoupled_lr": strength, "decoupled_constant": strength / rate, "corrected": strength * multiplier}
        group["lr"], group["weight_decay"] = float(rate), float(decay.get(coupling, 0.0))
        start = weights.detach().clone()
        weights.grad = torch.from_numpy(g.copy())
        if coupling == "l1":
            weights.grad += strength * start.sign()
        optimizer.step()
        with torch.no_grad():
            if coupling == "decoupled_schedule":
                weights.mul_(1 - strength * multiplier)
            if coupling == "cautious":
                weights.sub_(rate * strength * start * ((weights - start) * start <= 0))
        rows.append(weights.detach().numpy().copy())
    return np.stack(rows)


def _cautious_schedule_free(setting: Setting) -> np.ndarray:
    """The authors' package, weight by weight: a weight that grows in a step without decay gets no decay in that step."""

    def step(of: Any, decay: float, g: float, rate: float) -> float:
        (group,) = of.param_groups
        group.update(lr=rate, weight_decay=decay)
        (weight,) = group["params"]
        weight.grad = torch.tensor([g], dtype=torch.float64)
        of.step()
        return float(weight.item())

    columns = []
    for k, start in enumerate(setting.start):
        weight = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
        optimizer: Any = AdamWScheduleFree([weight], lr=setting.lr, **spelled(setting.hyper))
        optimizer.train()
        w, rows = float(start), []
        for g, rate in zip(setting.given[:, k], setting.rates, strict=True):
            grows = (step(copy.deepcopy(optimizer), 0.0, float(g), float(rate)) - w) * w > 0
            w = step(optimizer, 0.0 if grows else setting.strength, float(g), float(rate))
            rows.append(w)
        columns.append(rows)
    return np.array(columns).T


@functools.cache
def coupling_cases(coupling: str) -> tuple[Case, ...]:
    """The cases that decide on a mutant of the coupling: with Adam, and with a rule that is built differently."""
    setting = setting_of("adam", coupling)
    path = torch_path if coupling == "l2" else _decayed_adam
    cases = [Case(one, path(one)) for one in (setting, quiet_at_first(setting))]
    if coupling == "decoupled_lr":
        cases += [cases_of("schedule_free")[0]]
    if coupling == "decoupled_schedule":
        scheduled = setting_of("schedule_free", coupling)
        # Decay x lr of that strength takes off strength x multiplier.
        cases += [Case(scheduled, schedule_free(replace(scheduled, strength=STRENGTH / LR)))]
    if coupling == "cautious":
        long = setting_of("schedule_free", coupling)
        short = replace(long, given=long.given[:60], multipliers=long.multipliers[:60])
        cases += [Case(short, _cautious_schedule_free(short))]
    if coupling == "decoupled_constant":
        constant = setting_of("adamax", coupling)
        offer = in_pytorch_optimizer.PYTORCH_OPTIMIZER["adamax", coupling]
        cases += [Case(constant, in_pytorch_optimizer.path(offer, constant))]
    return tuple(cases)
