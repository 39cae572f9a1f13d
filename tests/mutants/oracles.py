"""Trajectories of other libraries for every rule: what a mutant is compared with.

Nothing in the settings is 0, 1 or equal to another number, so that no mistake hides behind it, and lr changes at every
step; further cases lead a rule through its corners, zero weights and zero gradients.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import torch
from conformance import in_optax, in_pytorch_optimizer
from conformance.oracle import TORCH, TORCH_RULES, scalars, spelled, torchs
from conformance.sides import Setting, make_setting, theirs, words_for
from pytorch_optimizer.optimizer.muon import base as muon_base
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


def _optax(setting: Setting) -> np.ndarray:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        return in_optax.path(in_optax.OPTAX[setting.rule, setting.coupling], setting)
    finally:
        jax.config.update("jax_enable_x64", before)


def _muon(setting: Setting) -> np.ndarray:
    # In bfloat16 there; the function that orthogonalizes takes another dtype.
    kept = muon_base.zero_power_via_newton_schulz_5
    muon_base.zero_power_via_newton_schulz_5 = functools.partial(kept, dtype=torch.float64)
    try:
        offer = in_pytorch_optimizer.PYTORCH_OPTIMIZER[setting.rule, setting.coupling]
        return in_pytorch_optimizer.path(offer, setting)
    finally:
        muon_base.zero_power_via_newton_schulz_5 = kept


def schedule_free(setting: Setting, evaluated: bool = False) -> np.ndarray:
    def make(weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return AdamWScheduleFree(weights, lr=setting.lr, weight_decay=setting.strength, **spelled(setting.hyper))

    return theirs(make, setting, evaluated)


def torch_path(setting: Setting) -> np.ndarray:
    kind, extra = TORCH[setting.rule, setting.coupling]
    arguments = {"lr": setting.lr, "weight_decay": setting.strength, **torchs(spelled(setting.hyper)), **extra}
    with scalars(torch.float64):
        return theirs(lambda weights: kind(weights, **arguments), setting)


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
        return tuple(Case(setting, torch_path(setting)) for setting in made)
    if rule == "schedule_free":
        whole = setting_of(rule, "decoupled_lr")
        late = replace(whole, multipliers=np.where(np.arange(len(whole.multipliers)) < 3, 0.0, whole.multipliers))
        return tuple(Case(setting, schedule_free(setting)) for setting in (whole, late))
    if rule in ("lars", "lamb"):
        whole = setting_of(rule, "l2" if rule == "lars" else "decoupled_lr")
        plain = replace(whole, strength=0.0, hyper={**whole.hyper, "eps": 0.0 if rule == "lars" else HYPER["eps"]})
        zero = replace(plain, start=np.zeros_like(plain.start))
        tensors = (whole, quiet_at_first(whole), quiet_at_first(plain), zero)
        single = _single(plain)
        numbers = (_single(whole), quiet_at_first(single), quiet_at_first(replace(single, start=np.ones(1))))
        still = replace(single, given=single.given * (np.arange(len(single.given)) >= 5)[:, None])
        return (
            *(Case(setting, _optax(setting)) for setting in tensors),
            *(Case(setting, _optax(setting), scalar=True) for setting in (*numbers, still)),
        )
    if rule == "muon":
        tall = setting_of(rule, "decoupled_lr", eps=1e-7)
        wide = replace(tall, given=np.ascontiguousarray(tall.given.swapaxes(1, 2)), start=tall.start.T.copy())
        # Norms below eps, and then between eps and lr.
        faint = replace(tall, given=tall.given * np.where(np.arange(len(tall.given)) < 5, 1e-9, 1e-3)[:, None, None])
        return tuple(Case(setting, _muon(setting)) for setting in (tall, wide, quiet_at_first(tall), faint))
    setting = setting_of(rule, "decoupled_lr")
    offer = in_pytorch_optimizer.PYTORCH_OPTIMIZER[rule, "decoupled_lr"]
    found = (setting, quiet_at_first(setting))
    return tuple(Case(one, in_pytorch_optimizer.path(offer, one)) for one in found)
