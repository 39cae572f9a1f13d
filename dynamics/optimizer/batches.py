"""What one step of a parameter group has to run: parameters that can go through one plan together, and their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dynamics.couplings import Coupling
from dynamics.errors import InputError
from dynamics.optimizer.plan import Key, Plan, batches, plan, questions
from dynamics.rule import Rule

States = Mapping[torch.Tensor, dict[str, Any]]


@dataclass(frozen=True)
class Ready:
    """A plan, its numbers, the lists it runs over, part by part, and the clock it moves on: tensors, or numbers in states."""

    plan: Plan
    numbers: tuple[Any, ...]
    parts: list[list[list[torch.Tensor]]]
    clock: list[torch.Tensor]
    states: list[dict[str, Any]]

    def counted(self) -> tuple[tuple[Any, ...], list[Any]]:
        """The clock after the step, and the numbers for the lists: in float32 for such lists, as foreach's fast kernels ask."""
        clock, values = self.plan.numbers(*self.numbers)
        single = self.parts[0][0][0].dtype == torch.float32
        return clock, [x.float() if single and torch.is_tensor(x) and x.dtype == torch.float64 else x for x in values]


def real(x: torch.Tensor) -> torch.Tensor:
    """A complex tensor as pairs of real numbers that share its memory; a real one as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def fresh(rule: Rule, p: torch.Tensor, hyper: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state of a parameter before its first step, clock apart: tensors of its shape, dtype and device."""
    state = {}
    for name, start in zip(rule.state, rule.fresh(p, hyper), strict=False):
        state[name] = torch.zeros_like(p)
        real(state[name]).copy_(real(p)) if start is p else real(state[name]).fill_(start)
    return state


def clock_tensors(clock: Mapping[str, Any], device: torch.device) -> dict[str, torch.Tensor]:
    """The clock as tensors without a dimension: float64, since 1 - beta2^t loses digits while it is small."""
    return {name: torch.full((), value, dtype=torch.float64, device=device) for name, value in clock.items()}


def share_clocks(rule: Rule, params: Iterable[torch.Tensor], states: States) -> None:
    """Turn clocks of numbers into tensors, the same ones for all parameters of a device that are equally far."""
    shared: dict[Any, dict[str, torch.Tensor]] = {}
    for p in params:
        clock = {name: states[p][name] for name in rule.clock}
        at = (p.device, *clock.values())
        if at not in shared:
            shared[at] = clock_tensors(clock, p.device)
        states[p].update(shared[at])


def prepare(
    rule: Rule, coupling: Coupling, group: Mapping[str, Any], hyper: Mapping[str, Any], states: States, compiled: bool
) -> list[Ready]:
    """One entry for the parameters with a gradient that share clock, device and dtype; a first gradient makes the state.

    Nothing here reads a tensor on a device, so nothing waits for one. compiled: the lists will run in compiled code.
    """
    started: dict[torch.device, dict[str, Any]] = {}
    alike: dict[Any, list[torch.Tensor]] = {}
    for p in group["params"]:
        if p.grad is None:
            continue
        if p.grad.layout != torch.strided:
            raise InputError(f"sparse gradient of a parameter of shape {tuple(p.shape)}: dense ones are accepted")
        if not states[p]:
            if p.device not in started:
                started[p.device] = clock_tensors(rule.clock, p.device) if group["capturable"] else dict(rule.clock)
            states[p].update(fresh(rule, p, hyper) | started[p.device])
        alike.setdefault(_place(rule, p, states), []).append(p)
    if group["capturable"] and rule.clock:
        _leave_behind(rule, group["params"], states, set(alike))
    return [
        _ready(rule, coupling, group, hyper, params, [states[p] for p in params], compiled) for params in alike.values()
    ]


def _place(rule: Rule, p: torch.Tensor, states: States) -> tuple[Any, ...]:
    """What parameters of one batch have in common; clocks that are tensors are the same if they are the very same tensors."""
    clock = (states[p][name] for name in rule.clock)
    return (p.device, p.dtype, *(id(x) if torch.is_tensor(x) else x for x in clock))


def _leave_behind(rule: Rule, params: Iterable[torch.Tensor], states: States, moving: set[tuple[Any, ...]]) -> None:
    """Give parameters without a gradient a clock of their own, where those that they share one with move on."""
    copies: dict[Any, dict[str, torch.Tensor]] = {}
    for p in params:
        if p.grad is None and states.get(p) and (at := _place(rule, p, states)) in moving:
            if at not in copies:
                copies[at] = {name: states[p][name].clone() for name in rule.clock}
            states[p].update(copies[at])


def _ready(
    rule: Rule,
    coupling: Coupling,
    group: Mapping[str, Any],
    hyper: Mapping[str, Any],
    params: list[torch.Tensor],
    states: list[dict[str, Any]],
    compiled: bool,
) -> Ready:
    lr, base, device = group["lr"], group["base_lr"], params[0].device
    if torch.is_tensor(lr):
        if not group["capturable"] and lr.device.type != "cpu":
            words = "a number is accepted, or capturable=True"
            raise InputError(f"lr on device {lr.device} with capturable=False: {words}")
        lr = lr.reshape(()) if group["capturable"] else float(lr)
    if device.type == "cuda" and not group["capturable"] and torch.cuda.is_current_stream_capturing():
        raise InputError("capture of a CUDA graph with capturable=False: capturable=True is accepted")
    given = {"lr": lr, "multiplier": lr / base if base else 1.0, "strength": group["weight_decay"], **hyper}
    # A clock that happens to be 0 is so for one step only: no plan is made for that.
    zero = frozenset(name for name in ("strength", *hyper) if not torch.is_tensor(given[name]) and given[name] == 0)
    given |= {name: states[0][name] for name in rule.clock}
    tensors = frozenset(name for name, x in given.items() if torch.is_tensor(x))
    key = Key(rule, coupling, bool(group["maximize"]), zero, tensors)
    numbers = tuple(given.values())
    asked = questions(key)
    gradients = [p.grad for p in params if p.grad is not None]
    lists = [params, gradients, *([state[name] for state in states] for name in rule.state)]
    if params[0].is_complex():
        lists = [[real(x) for x in each] for each in lists]
    # A compiler fuses what a processor's cache needs apart.
    parts = list(batches(lists)) if device.type == "cpu" and not compiled else [lists]
    clock = [states[0][name] for name in rule.clock] if tensors.intersection(rule.clock) else []
    return Ready(plan(key, asked(*numbers) if asked else ()), numbers, parts, clock, [] if clock else states)
