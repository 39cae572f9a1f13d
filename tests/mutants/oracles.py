"""Trajectories of other libraries for every rule: what a mutant is compared with.

Nothing in the settings is 0, 1 or equal to another number, so that no mistake hides behind it, and lr changes at every
step; further cases lead a rule through its corners, zero weights and zero gradients.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from conformance.libraries import ROWS, SCHEDULE_FREE, TORCH_RULES, by_hand, in_torch
from conformance.oracle import Setting, make_setting, spelled, words_for
from schedulefree import AdamWScheduleFree

from dynamics.rules import RULES
from dynamics.words import FLOATS, Words

HYPER = {
    **{"momentum": 0.8, "alpha": 0.95, "rho": 0.93, "beta1": 0.85, "beta2": 0.97, "beta3": 0.91},
    **{"momentum_decay": 0.3, "initial_accumulator": 0.4, "trust": 0.05, "eps": 1e-3},
}
LR, STRENGTH = 0.07, 0.2


@dataclass(frozen=True, eq=False)
class Case:
    """A setting, and the path (steps, *shape) on which the update must stay. scalar: as numbers, not as a tensor."""

    setting: Setting
    rows: np.ndarray
    scalar: bool = False

    @property
    def words(self) -> Words:
        return FLOATS if self.scalar else words_for(RULES[self.setting.rule])

    @property
    def start(self) -> Any:
        return self._of(self.setting.start)

    @property
    def given(self) -> list[Any]:
        return [self._of(g) for g in self.setting.given]

    def _of(self, value: np.ndarray) -> Any:
        if self.scalar:
            return float(value[0])
        return torch.from_numpy(value) if RULES[self.setting.rule].unit != "weight" else value


def setting_of(rule: str, coupling: str, **other: float) -> Setting:
    hyper = {name: other.get(name, HYPER[name]) for name in RULES[rule].defaults}
    return make_setting(rule, coupling, LR, STRENGTH, hyper, seed=5)


def case_of(library: str, setting: Setting, scalar: bool = False) -> Case:
    """The library's path at the setting."""
    (row,) = (r for r in ROWS if (r.library, r.rule, r.coupling) == (library, setting.rule, setting.coupling))
    return Case(setting, row.path(setting), scalar)


def quiet_at_first(setting: Setting) -> Setting:
    """Zero gradients for five steps, and weights that are 0 for the first half of the entries, or all if they are few."""
    given, start = setting.given.copy(), setting.start.copy()
    given[:5] = 0.0
    start.reshape(-1)[: (len(start.reshape(-1)) + 1) // 2] = 0.0
    return replace(setting, given=given, start=start)


def _single(setting: Setting) -> Setting:
    """One number instead of a tensor, positive at first."""
    given = setting.given.reshape(len(setting.given), -1)[:, -1:]
    return replace(setting, given=given.copy(), start=np.array([0.7]))


@functools.cache
def cases_of(rule: str) -> tuple[Case, ...]:
    """The cases that decide on a mutant of the rule's step."""
    if rule in TORCH_RULES:
        made = [setting_of(rule, "l2")]
        made += [quiet_at_first(made[0])]
        # At 0.6 RAdam is momentum SGD throughout, and its rectification, not used, would divide by 0.
        made += [setting_of(rule, "l2", beta2=0.6)] if rule == "radam" else []
        return tuple(case_of("torch", setting) for setting in made)
    if rule == "schedule_free":
        whole = setting_of(rule, "decoupled_lr")
        late = replace(whole, multipliers=np.where(np.arange(len(whole.multipliers)) < 3, 0.0, whole.multipliers))
        return tuple(case_of("schedulefree", setting) for setting in (whole, late))
    if rule in ("lars", "lamb"):
        whole = setting_of(rule, "l2" if rule == "lars" else "decoupled_lr")
        plain = replace(whole, strength=0.0, hyper={**whole.hyper, "eps": 0.0 if rule == "lars" else HYPER["eps"]})
        zero = replace(plain, start=np.zeros_like(plain.start))
        tensors = (whole, quiet_at_first(whole), quiet_at_first(plain), zero)
        single = _single(plain)
        numbers = (_single(whole), quiet_at_first(single), quiet_at_first(replace(single, start=np.ones(1))))
        still = replace(single, given=single.given * (np.arange(len(single.given)) >= 5)[:, None])
        return (
            *(case_of("optax", setting) for setting in tensors),
            *(case_of("optax", setting, scalar=True) for setting in (*numbers, still)),
        )
    if rule == "muon":
        tall = setting_of(rule, "decoupled_lr", eps=1e-7)
        wide = replace(tall, given=np.ascontiguousarray(tall.given.swapaxes(1, 2)), start=tall.start.T.copy())
        # Norms below eps, and then between eps and lr.
        faint = replace(tall, given=tall.given * np.where(np.arange(len(tall.given)) < 5, 1e-9, 1e-3)[:, None, None])
        return tuple(case_of("pytorch_optimizer", setting) for setting in (tall, wide, quiet_at_first(tall), faint))
    setting = setting_of(rule, "decoupled_lr")
    return tuple(case_of("pytorch_optimizer", one) for one in (setting, quiet_at_first(setting)))


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
    """The cases that decide on a mutant of the coupling: with Adam, and with a rule that is built differently.

    Where no library has a coupling, it is done by hand to the weights of one that has the rule.
    """
    setting = setting_of("adam", coupling)
    settings = setting, quiet_at_first(setting)
    if coupling in ("l2", "decoupled_lr"):
        cases = [case_of("torch", one) for one in settings]
    else:
        cases = [Case(one, by_hand(one)) for one in settings]
    if coupling == "decoupled_lr":
        cases += [cases_of("schedule_free")[0]]
    other = setting_of("schedule_free", coupling)
    if coupling == "decoupled_schedule":
        # Decay x lr of that strength takes off strength x multiplier.
        cases += [Case(other, in_torch(SCHEDULE_FREE, replace(other, strength=STRENGTH / LR)))]
    if coupling == "cautious":
        short = replace(other, given=other.given[:60], multipliers=other.multipliers[:60])
        cases += [Case(short, _cautious_schedule_free(short))]
    if coupling == "decoupled_constant":
        cases += [case_of("pytorch_optimizer", setting_of("adamax", coupling))]
    return tuple(cases)
