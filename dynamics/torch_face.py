"""The rules as a torch.optim.Optimizer.

The same functions run over lists of tensors: `TensorList` gives a list the arithmetic a rule uses, each operation one
torch._foreach call over all parameters of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch.optim.optimizer import ParamsT

from dynamics.couplings import Coupling, compose, find_coupling
from dynamics.errors import InputError
from dynamics.rule import Rule, check
from dynamics.rules import find_rule
from dynamics.words import Words


class TensorList:
    """Tensors that take part in arithmetic together: with each other, element by element, or with a number."""

    __slots__ = ("tensors",)

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self.tensors = list(tensors)

    def _with(self, other: Any, operation: Callable[..., Any]) -> TensorList:
        return TensorList(operation(self.tensors, other.tensors if isinstance(other, TensorList) else other))

    def __add__(self, other: Any) -> TensorList:
        return self._with(other, torch._foreach_add)

    def __sub__(self, other: Any) -> TensorList:
        return self._with(other, torch._foreach_sub)

    def __mul__(self, other: Any) -> TensorList:
        return self._with(other, torch._foreach_mul)

    def __truediv__(self, other: Any) -> TensorList:
        return self._with(other, torch._foreach_div)

    __radd__ = __add__
    __rmul__ = __mul__

    def sqrt(self) -> TensorList:
        """The square root of every tensor."""
        return TensorList(torch._foreach_sqrt(self.tensors))


LISTS: Words = {"sqrt": TensorList.sqrt}


class Optimizer(torch.optim.Optimizer):
    """Any rule with any coupling, used as any torch optimizer is.

    Optimizer(net.parameters(), "adam", "l2", lr=1e-3, weight_decay=1e-4, betas=(0.9, 0.999))

    rule, coupling: names or objects of `dynamics.rules` and `dynamics.couplings`. lr: the rule's default if not given.
    weight_decay: the strength, entering as the coupling says. hyperparameters: those of the rule; beta1 and beta2 become
    the pair betas, as in torch. All but rule and coupling may differ by parameter group. State: one tensor of the
    parameter's shape for each field of the rule's state, one float for each field of its clock.

    A parameter whose grad is None is left alone, decay included; a gradient of zero still decays. The schedule
    multiplier of `decoupled_schedule` is a group's lr divided by its `base_lr`, the lr the group was made with (so
    under OneCycleLR, which sets a maximum of its own, it passes 1).

    Raises InputError (a ValueError) for unknown names and values out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        rule: str | Rule,
        coupling: str | Coupling = "none",
        *,
        lr: float | None = None,
        weight_decay: float = 0.0,
        maximize: bool = False,
        **hyperparameters: Any,
    ) -> None:
        self.rule = find_rule(rule)
        self.coupling = find_coupling(coupling)
        self._step = compose(self.rule, self.coupling, LISTS)
        own = {name: hyperparameters.pop(name) for name in self.rule.defaults if name in hyperparameters}
        known = self._spell({**self.rule.defaults, **own})
        for name in hyperparameters:
            if name not in known:
                raise InputError(
                    f"{self.rule.name} takes no {name!r}: it takes {', '.join(['lr', 'weight_decay', *known])}"
                )
        defaults = {"lr": self.rule.lr if lr is None else lr, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults | known | hyperparameters)

    def __getstate__(self) -> dict[str, Any]:
        """As torch's, with what makes this optimizer the one it is: for pickle and deepcopy."""
        return super().__getstate__() | {"rule": self.rule, "coupling": self.coupling}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As torch's, which load_state_dict calls too; the composed step is made anew."""
        super().__setstate__(state)
        self._step = compose(self.rule, self.coupling, LISTS)

    @staticmethod
    def _spell(values: dict[str, Any]) -> dict[str, Any]:
        """beta1 and beta2 as torch's `betas`, which its schedulers look for."""
        if "beta1" in values and "beta2" in values:
            values["betas"] = (values.pop("beta1"), values.pop("beta2"))
        return values

    def _hyperparameters(self, group: dict[str, Any]) -> tuple[float, ...]:
        values = group | dict(zip(("beta1", "beta2"), group.get("betas", ()), strict=False))
        return tuple(values[name] for name in self.rule.defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; the group's values are checked and its lr is remembered as `base_lr`."""
        self._check(self.defaults | param_group)
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            if p.is_complex():
                self.param_groups.pop()  # a refused group leaves no trace
                raise InputError(f"complex parameter of shape {tuple(p.shape)}: real ones are accepted")
        # A number of its own: schedulers change a learning rate that is a tensor in place.
        group.setdefault("base_lr", float(group["lr"]))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's. InputError for values out of range and for the state of another rule; nothing is then loaded."""
        for group in state_dict["param_groups"]:
            missing = [name for name in (*self.defaults, "base_lr") if name not in group]
            if missing:
                raise InputError(f"state_dict without {missing[0]!r}: one of {self.rule.name} is accepted")
            self._check(group)
        for state in state_dict["state"].values():
            if set(state) != set(self.rule.inner):
                kept = ", ".join(sorted(map(str, state)))
                raise InputError(f"state_dict with the state {kept}: {self.rule.name} has {', '.join(self.rule.inner)}")
        super().load_state_dict(state_dict)

    def _check(self, group: dict[str, Any]) -> None:
        betas = group.get("betas", (0.0, 0.0))
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise InputError(f"betas {betas!r}: a pair of numbers in [0, 1) is accepted")
        check("lr", group["lr"])
        check("strength", group["weight_decay"])
        if group["weight_decay"] and self.coupling.doors == (None, None, None):
            raise InputError(f"weight_decay {group['weight_decay']} with coupling none: name the one it shall enter by")
        self.rule.hyperparameters(**dict(zip(self.rule.defaults, self._hyperparameters(group), strict=True)))

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; the closure, if any, reevaluates the loss first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            # Parameters whose first gradient came later have another clock: each clock is a batch of its own.
            batches: dict[tuple[float, ...], list[torch.Tensor]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.is_sparse:
                    raise InputError(
                        f"sparse gradient of a parameter of shape {tuple(p.shape)}: dense ones are accepted"
                    )
                state = self.state[p]
                if not state:
                    state.update({name: torch.zeros_like(p) for name in self.rule.state})
                    state.update(self.rule.clock)
                batches.setdefault(tuple(state[name] for name in self.rule.clock), []).append(p)
            for clock, batch in batches.items():
                self._update(group, clock, batch)
        return loss

    def _update(self, group: dict[str, Any], clock: tuple[float, ...], batch: list[torch.Tensor]) -> None:
        lr, base = group["lr"], group["base_lr"]
        gradients = TensorList(p.grad for p in batch if p.grad is not None)
        if group["maximize"]:
            gradients = gradients * -1.0
        inner = (*(TensorList(self.state[p][name] for p in batch) for name in self.rule.state), *clock)
        multiplier = lr / base if base else 1.0
        new, *inner_after = self._step(
            TensorList(batch), gradients, inner, lr, multiplier, group["weight_decay"], self._hyperparameters(group)
        )
        torch._foreach_copy_(batch, new.tensors)
        for name, value in zip(self.rule.inner, inner_after, strict=True):
            for k, p in enumerate(batch):
                self.state[p][name] = value.tensors[k] if isinstance(value, TensorList) else value
