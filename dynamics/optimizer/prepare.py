"""Which parameters of an optimizer's groups go through one plan together, with which numbers, and whose clock moves on.

A clock that is tensors is shared: by the parameters of a group and a device that started together, whatever their dtype. A
step reads it before it writes it, and writes it once, so that each parameter ages by one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dynamics.couplings import Coupling
from dynamics.errors import InputError
from dynamics.optimizer.plan import Key, Plan, States, fresh_state, plan, questions, rates, real
from dynamics.rule import Rule


@dataclass(frozen=True)
class Ready:
    """A plan, its numbers, the lists it runs over, part by part, and the clock that it moves on.

    clock: for tensors that no other Ready moves, their place in the rule's clock. states: those whose clock is numbers.
    """

    plan: Plan
    numbers: tuple[Any, ...]
    parts: list[list[list[torch.Tensor]]]
    clock: dict[int, torch.Tensor]
    states: list[dict[str, Any]]

    def counted(self) -> tuple[tuple[Any, ...], list[Any]]:
        """The clock after the step, and the numbers for the lists: in float32 for such lists, as foreach's fast kernels ask."""
        clock, values = self.plan.numbers(*self.numbers)
        single = self.parts[0][0][0].dtype == torch.float32
        return clock, [x.float() if single and torch.is_tensor(x) and x.dtype == torch.float64 else x for x in values]

    def moved(self, clock: tuple[Any, ...]) -> list[torch.Tensor]:
        """What its clock's tensors become, none of them the one that will be written: a field may be another's old value."""
        after = []
        for k, c in self.clock.items():
            x = clock[k] if torch.is_tensor(clock[k]) else torch.full_like(c, clock[k])
            after.append(x.clone() if any(x is old for old in self.numbers) else x)
        return after


def prepare(
    rule: Rule,
    coupling: Coupling,
    groups: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    states: States,
    compiled: bool,
) -> list[Ready]:
    """One entry for the parameters of a group with a gradient that share clock, device and dtype; a first gradient makes the state.

    Nothing here reads a tensor on a device, so nothing waits for one; only an entry whose clock was not of the kind that
    `capturable` asks for does. groups: each with its hyperparameters. compiled: the lists will run in compiled code.
    """
    convert_clocks(rule, [group for group, _ in groups], states)
    _part_clocks(rule, [group for group, _ in groups], states)
    moving: set[int] = set()
    ready = []
    for group, hyper in groups:
        started: dict[torch.device, dict[str, Any]] = {}
        alike: dict[Any, list[torch.Tensor]] = {}
        for p in dict.fromkeys(group["params"]):  # one that stands there twice takes one step
            if p.grad is None:
                continue
            if p.grad.layout != torch.strided:
                raise InputError(f"sparse gradient of a parameter of shape {tuple(p.shape)}: dense ones are accepted")
            state = states.get(p)
            if state and rule.state:
                _check_alike("state", state[rule.state[0]], p)
            else:  # with a state that fits it has been looked at
                _check_alike("gradient", p.grad, p)
            if rule.inner and not state:
                _not_captured(p)
                if p.device not in started:
                    started[p.device] = clock_tensors(rule.clock, p.device) if group["capturable"] else dict(rule.clock)
                states[p].update(fresh_state(rule, p, hyper) | started[p.device])
            clock = (states[p][name] for name in rule.clock)
            place = (p.device, p.dtype, *(id(x) if torch.is_tensor(x) else x for x in clock))
            alike.setdefault(place, []).append(p)
        for params in alike.values():
            inner = [states[p] for p in params] if rule.inner else []
            ready.append(_ready(rule, coupling, group, hyper, params, inner, moving, compiled))
    return ready


def convert_clocks(rule: Rule, groups: Iterable[Mapping[str, Any]], states: States) -> None:
    """Make clocks tensors where a group is capturable, and numbers where it is not.

    All parameters of a group and a device that are equally far, whatever their dtype, get the same tensors.
    """
    for group in groups if rule.clock else ():
        shared: dict[Any, dict[str, Any]] = {}
        for p in group["params"]:
            state = states.get(p)
            if state and torch.is_tensor(state[next(iter(rule.clock))]) is not group["capturable"]:
                _not_captured(p)
                clock = {name: float(state[name]) for name in rule.clock}
                if group["capturable"]:
                    clock = shared.setdefault((p.device, *clock.values()), clock_tensors(clock, p.device))
                state.update(clock)


def _part_clocks(rule: Rule, groups: Iterable[Mapping[str, Any]], states: States) -> None:
    """Let parameters share a clock only within a group, whose hyperparameters move it, and only while all of them move."""
    moving: list[tuple[Any, torch.Tensor]] = []
    resting: list[tuple[Any, torch.Tensor]] = []
    for k, group in enumerate(groups):
        for p in group["params"] if group["capturable"] and rule.clock else ():
            if states.get(p):
                (resting if p.grad is None else moving).append(((k, p.grad is None), p))
    owners: dict[int, Any] = {}
    copies: dict[Any, torch.Tensor] = {}
    for owner, p in moving + resting:  # those that move keep the tensors
        for name in rule.clock:
            at = id(c := states[p][name])
            if owners.setdefault(at, owner) != owner:
                if (at, owner) not in copies:
                    _not_captured(p)
                    copies[at, owner] = c.clone()
                states[p][name] = copies[at, owner]


def _check_alike(what: str, x: torch.Tensor, p: torch.Tensor) -> None:
    """As `Module.double` leaves them that is called between steps."""
    if x.dtype != p.dtype or x.shape != p.shape or x.device != p.device:
        own, wanted = (f"{y.dtype}, shape {tuple(y.shape)}, on {y.device}" for y in (x, p))
        raise InputError(f"{what} of {own} for a parameter of {wanted}: the same is accepted")


def _not_captured(p: torch.Tensor) -> None:
    """Refuse what would be done again at each replay of a CUDA graph."""
    if p.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        words = "a step before the capture, with gradients for the same parameters, is accepted"
        raise InputError(f"state made within the capture of a CUDA graph: {words}")


def _ready(
    rule: Rule,
    coupling: Coupling,
    group: Mapping[str, Any],
    hyper: Mapping[str, Any],
    params: list[torch.Tensor],
    states: list[dict[str, Any]],
    moving: set[int],
    compiled: bool,
) -> Ready:
    """moving: the clock's tensors, by identity, that an earlier entry moves on; those of this one join them."""
    lr, device = group["lr"], params[0].device
    if torch.is_tensor(lr) and not group["capturable"] and lr.device.type != "cpu":
        words = "a number is accepted, or capturable=True"
        raise InputError(f"lr on device {lr.device} with capturable=False: {words}")
    if device.type == "cuda" and not group["capturable"] and torch.cuda.is_current_stream_capturing():
        raise InputError("capture of a CUDA graph with capturable=False: capturable=True is accepted")
    if torch.is_tensor(lr) and lr.device.type != "cpu" and lr.device != device:
        group = {**group, "lr": lr.to(device)}
    given = {**rates(group), **hyper}
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
    ticking = [states[0][name] for name in rule.clock] if group["capturable"] else []
    clock = {k: c for k, c in enumerate(ticking) if id(c) not in moving}
    moving.update(map(id, ticking))
    return Ready(plan(key, asked(*numbers) if asked else ()), numbers, parts, clock, [] if ticking else states)


def clock_tensors(clock: Mapping[str, Any], device: torch.device) -> dict[str, torch.Tensor]:
    """The clock as tensors without a dimension: float64, since 1 - beta2^t loses digits while it is small."""
    return {name: torch.full((), value, dtype=torch.float64, device=device) for name, value in clock.items()}


# Small tensors are taken together up to this many bytes a list: with the few lists of a step they stay in the cache.
_BATCH = 1 << 18


def batches(lists: Sequence[Sequence[torch.Tensor]]) -> Iterator[list[list[torch.Tensor]]]:
    """The parallel lists, cut alike, so that a step over each part finds in the cache what its last call left there.

    Tensor by tensor or few at a time, a processor takes a third of the time of torch's foreach over all of them.
    """
    start = size = 0
    for k, x in enumerate(lists[0]):
        size += x.numel() * x.element_size()
        if size >= _BATCH or k == len(lists[0]) - 1:
            yield [list(tensors[start : k + 1]) for tensors in lists]
            start, size = k + 1, 0
