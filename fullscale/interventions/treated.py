"""Some filters of a running network whose updates are changed from a step on, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import whole
from dynamics.optimizer import Optimizer
from dynamics.rule import Rule
from fullscale.interventions.treatment import Treatment

# The fields of the rules' states that are running means of squares, or the largest of one.
SQUARES = ("v", "vmax", "s")


class Part(NamedTuple):
    """Numbers of a parameter that belong to treated filters.

    places: where they lie in the parameter, as one long row, (n,); filters: which of the treated filters each belongs to, (n,).
    """

    parameter: Tensor
    places: Tensor
    filters: Tensor


def parts_of(layers: Sequence[Sequence[Tensor]], filters: Sequence[Sequence[int]]) -> list[Part]:
    """What belongs to some filters of a network.

    Args:
        layers: of each layer its parameters, contiguous, the first axis that of the filters: (filters, ...).
        filters: of each layer which of them, an empty list for none.

    Returns:
        A Part for each parameter of layers that have any; the filters are numbered through.

    Raises:
        InputError: for filters that are not there, or none at all.

    Example:
        >>> parts_of([[torch.zeros(3), torch.zeros(3, 2)]], [[2]])[1].places
        tensor([4, 5])
    """
    found, before = [], 0
    for params, some in zip(layers, filters, strict=True):
        for p in params if some else ():
            if not p.is_contiguous():
                raise InputError(f"parameter of shape {tuple(p.shape)} in another layout: a contiguous one is accepted")
            if not all(0 <= whole("filter", i, 0) < len(p) for i in some):
                raise InputError(f"filters {list(some)} of a layer with {len(p)}: 0 to {len(p) - 1} are accepted")
            each = p[0].numel()
            places = torch.arange(p.numel()).view(len(p), each)[torch.tensor(some)].flatten()
            found.append(Part(p, places, (before + torch.arange(len(some))).repeat_interleave(each)))
        before += len(some)
    if not found:
        raise InputError("no filters: one or more are accepted")
    return found


class Treated:
    """Filters under a treatment, from the optimizer's next step on.

    After each step of the optimizer their numbers are what a second optimizer makes of them: one of the same rule and coupling that
    went on from their weights and state, with the treated gradients, strength and beta2. The first one's state of them is
    overwritten too, so that it is theirs. Draws come from a generator of their own, so that nothing else in the run moves.

    Where beta2 is another, squares that the rule corrects for their start at 0 are rescaled, so that what it divides by goes on as
    it was.

    Args:
        optimizer: of a rule that takes weights one by one, after its first step.
        parts: what is treated, of one of its groups, on the CPU.
        treatment: what is done.
        seed: of the draws of arrival.

    Raises:
        InputError: for another rule, for one whose memory is not beta2 where that is changed, for parameters of several
            groups, and for an optimizer that has not stepped yet.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> optimizer = Optimizer(norm.parameters(), "sgd", "l2", lr=0.1, weight_decay=0.1)
        >>> treated = Treated(optimizer, parts_of([[norm.weight, norm.bias]], [[1]]), Treatment(strength=0.0))
        >>> norm.weight.grad, norm.bias.grad = torch.zeros(2), torch.zeros(2)
        >>> optimizer.step()
        >>> norm.weight.data
        tensor([0.9900, 1.0000])
    """

    def __init__(self, optimizer: Optimizer, parts: Sequence[Part], treatment: Treatment, seed: int = 0) -> None:
        rule, group = optimizer.rule, _group_of(optimizer, parts)
        self._treatment, self._optimizer, self._parts, self._group = treatment, optimizer, parts, group
        self._owners = torch.cat([part.filters for part in parts])
        self._count = int(self._owners.max()) + 1
        self._draws = torch.Generator().manual_seed(whole("seed", seed, 0))
        self._flat = nn.Parameter(self._gathered([part.parameter for part in parts]))
        self._own = _second(optimizer, group, self._flat, treatment)
        if rule.inner:
            states = [optimizer.state[part.parameter] for part in parts]
            if not all(states):
                raise InputError("optimizer before its first step: one with a state is accepted")
            if any(state[name] != states[0][name] for state in states for name in rule.clock):
                raise InputError("parameters that have not stepped equally often: such that have are accepted")
            held = {name: self._gathered(self._field(name)) for name in rule.state}
            clock = {name: states[0][name] for name in rule.clock}
            self._own.state[self._flat].update(_rescaled(rule, group, treatment, held | clock))
        optimizer.register_step_post_hook(self._after)

    @torch.no_grad()
    def _after(self, *_: Any) -> None:
        self._own.param_groups[0]["lr"] = self._group["lr"]
        g = self._gathered([part.parameter.grad for part in self._parts])
        if self._treatment.arrival < 1:
            arrives = torch.rand(self._count, generator=self._draws) < self._treatment.arrival
            g *= (arrives.to(g) * self._treatment.factor).index_select(0, self._owners)
        elif self._treatment.factor != 1:
            g *= self._treatment.factor
        self._flat.grad = g
        self._own.step()
        self._scatter([part.parameter for part in self._parts], self._flat)
        for name in self._optimizer.rule.state:
            self._scatter(self._field(name), self._own.state[self._flat][name])

    def _field(self, name: str) -> list[Tensor]:
        """Of the first optimizer's state, a tensor a part."""
        return [self._optimizer.state[part.parameter][name] for part in self._parts]

    def _gathered(self, of: Sequence[Any]) -> Tensor:
        """The treated numbers of a tensor a part, as one long row."""
        found = [x.detach().view(-1).index_select(0, part.places) for x, part in zip(of, self._parts, strict=True)]
        return torch.cat(found)

    def _scatter(self, of: Sequence[Tensor], values: Tensor) -> None:
        """Put such a row back."""
        sizes = [len(part.places) for part in self._parts]
        for x, part, some in zip(of, self._parts, values.detach().split(sizes), strict=True):
            x.detach().view(-1).index_copy_(0, part.places, some)


def _group_of(optimizer: Optimizer, parts: Sequence[Part]) -> dict[str, Any]:
    """The group that holds them all."""
    rule = optimizer.rule
    if rule.unit != "weight":
        raise InputError(
            f"treatment under {rule.name}, whose unit is a {rule.unit}: a rule that takes weights one by one is accepted"
        )
    for group in optimizer.param_groups:
        own = {id(p) for p in group["params"]}
        if all(id(part.parameter) in own for part in parts) and not group["capturable"]:
            if not group.get("train_mode", True):
                raise InputError(f"optimizer of {rule.name} in eval mode: one in train mode is accepted")
            return group
    raise InputError(
        "parameters of several groups, or of one with capturable=True: those of one without it are accepted"
    )


def _second(optimizer: Optimizer, group: dict[str, Any], flat: nn.Parameter, treatment: Treatment) -> Optimizer:
    """An optimizer of the treated numbers, with the settings of the first one but for what the treatment changes."""
    rule = optimizer.rule
    own = {name: value for name, value in group.items() if name not in ("params", "param_names")}
    own["weight_decay"] = treatment.strength * group["weight_decay"]
    if treatment.beta2 is not None:
        if rule.memory != "beta2":
            raise InputError(f"beta2 of {rule.name}: a rule that forgets squares by it is accepted")
        own["betas"] = (group["betas"][0], treatment.beta2)
    return Optimizer([{"params": [flat], **own}], rule, optimizer.coupling)


def _rescaled(rule: Rule, group: dict[str, Any], treatment: Treatment, state: dict[str, Any]) -> dict[str, Any]:
    """Squares, and the power of beta2 that corrects them, as they go on under another beta2."""
    if treatment.beta2 is None or "power2" not in rule.clock:
        return state
    steps = math.log(state["power2"]) / math.log(group["betas"][1]) if state["power2"] else math.inf
    power = treatment.beta2**steps
    made = (1 - power) / (1 - state["power2"])
    squares = {name: state[name] * made for name in SQUARES if name in state}
    return state | squares | {"power2": power}
