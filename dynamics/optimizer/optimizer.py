"""The rules as a torch.optim.Optimizer.

The step is planned from the rule's own code (`dynamics.optimizer.plan`) and written in place: one straight line of foreach
calls, over all parameters of a group on a GPU, over few of them at a time on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import nn
from torch.optim.optimizer import ParamsT

from dynamics.couplings import Coupling, find_coupling
from dynamics.errors import InputError
from dynamics.given import function, shown
from dynamics.optimizer.checks import (
    BETAS,
    POINT,
    check_group,
    check_parameter,
    check_step,
    flags,
    hyperparameters,
    loadable,
    plain,
    told,
)
from dynamics.optimizer.prepare import Ready, convert_clocks, prepare
from dynamics.rule import Rule
from dynamics.rules import RULES, find_rule

# How torch's own optimizers can be asked to step.
_FACES = ("foreach", "fused", "differentiable")
_PARAMETERS = "an iterable of leaf tensors, of pairs (name, tensor) or of groups, {'params': such an iterable},"


class Optimizer(torch.optim.Optimizer):
    """Any rule with any coupling, used as any torch optimizer is.

    State, in each parameter's own dtype: one tensor of its shape for each field of the rule's state; and one number for
    each field of its clock, which parameters that started together share. A complex parameter is taken as pairs of real
    numbers, as in torch; muon takes real matrices only.

    A parameter whose grad is None is left alone, decay included; a gradient of zero still decays. The schedule
    multiplier of some couplings is a group's lr divided by its `base_lr`, the lr the group was made with (so under
    OneCycleLR, which sets a maximum of its own, it passes 1).

    Args:
        params: parameters or groups of them, as torch takes them; all but rule and coupling may differ by group.
        rule: a name or an object, as `dynamics.rules` has them.
        coupling: a name or an object, as `dynamics.couplings` has them.
        lr: the learning rate, a number or a tensor of one element; None: the rule's default.
        weight_decay: the strength, entering as the coupling says.
        maximize: whether the steps go up the gradient.
        capturable: the clock is kept in float64 tensors on the parameters' device, so that a step can be captured in a
            CUDA graph (after one that made the state) or compiled (with one graph break, where tensors are gathered);
            an lr that is to change between replays must be a tensor on that device.
        **settings: the rule's hyperparameters; beta1, beta2 (and beta3) become `betas`, as in torch.

    Raises:
        InputError: (a ValueError) for unknown names and values out of range.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = Optimizer([w], "adam", "decoupled_lr", lr=0.1, weight_decay=0.5, betas=(0.9, 0.999))
        >>> w.grad = torch.zeros(3)
        >>> optimizer.step()
        >>> w.data
        tensor([0.9500, 0.9500, 0.9500])
    """

    def __init__(
        self,
        params: ParamsT,
        rule: str | Rule,
        coupling: str | Coupling = "none",
        *,
        lr: float | torch.Tensor | None = None,
        weight_decay: float = 0.0,
        maximize: bool = False,
        capturable: bool = False,
        **settings: Any,
    ) -> None:
        self._passed: dict[int, list[Any]] = {}
        self.rule = find_rule(rule)
        self.coupling = find_coupling(coupling)
        own = {name: settings.pop(name) for name in self.rule.defaults if name in settings}
        if "betas" in settings and not own.keys().isdisjoint(BETAS):
            raise InputError(f"betas {shown(settings['betas'])} beside {', '.join(own)}: one of the two is accepted")
        known = self._spell({**self.rule.defaults, **own})
        for name in settings:
            if name not in known:
                raise InputError(
                    f"{self.rule.name} takes no {name!r}: it takes {', '.join(['lr', 'weight_decay', *known])}"
                )
        defaults = {
            "lr": self.rule.lr if lr is None else lr,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
        }
        if not isinstance(params, Iterable) or isinstance(params, nn.Module | dict | str):
            raise InputError(f"params {shown(params)}: {_PARAMETERS} is accepted")
        with told(_PARAMETERS):
            super().__init__(params, flags(self.rule) | defaults | known | settings)

    def __getstate__(self) -> dict[str, Any]:
        """As torch's, with what makes this optimizer the one it is: for pickle and deepcopy."""
        return super().__getstate__() | {"rule": self.rule, "coupling": self.coupling}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As torch's, for what is loaded, unpickled or copied; flags that an older version did not have get their defaults."""
        super().__setstate__(state)
        self._passed = {}
        for group in (self.defaults, *self.param_groups):
            for name, value in flags(self.rule).items():
                group.setdefault(name, value)
        for group in self.param_groups:
            group.setdefault("base_lr", float(group["lr"]))
        convert_clocks(self.rule, self.param_groups, self.state)

    @staticmethod
    def _spell(values: dict[str, Any]) -> dict[str, Any]:
        """beta1 and its like as torch's `betas`, which its schedulers look for."""
        betas = tuple(values.pop(name) for name in BETAS if name in values)
        return values | ({"betas": betas} if betas else {})

    def _hyperparameters(self, group: dict[str, Any]) -> dict[str, Any]:
        return hyperparameters(self.rule, group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's, of a copy of the group; its values are checked and its lr is remembered as `base_lr`."""
        if not isinstance(param_group, dict):
            raise InputError(f"parameter group {shown(param_group)}: a dictionary with 'params' is accepted")
        for name in ("rule", "coupling", *BETAS):
            if name in param_group:
                words = "betas, together," if name in BETAS else "one for the whole optimizer"
                raise InputError(f"parameter group with {name!r}: {words} is accepted")
        known = {name for rule in RULES.values() for name in rule.defaults} | set(_FACES)
        for name in (known & param_group.keys()) - self.defaults.keys():
            if param_group[name]:  # torch's own groups hold its flags at False
                accepted = ", ".join(self._spell({"lr": 0, "weight_decay": 0, **self.rule.defaults}))
                raise InputError(f"parameter group with {name!r}: {self.rule.name} takes {accepted}")
        check_group(self.rule, self.coupling, self.defaults | param_group)
        with told(_PARAMETERS):
            super().add_param_group(dict(param_group))
        group = self.param_groups[-1]
        try:
            for p in group["params"]:
                check_parameter(self.rule, p)
        except InputError:
            self.param_groups.pop()  # a refused group leaves no trace
            raise
        # A number of its own: schedulers change a learning rate that is a tensor in place.
        group.setdefault("base_lr", plain("lr", group["lr"]))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but what is loaded is a copy; whether the clock is in tensors follows the `capturable` that is loaded.

        A flag that the state_dict lacks, as one of an older version does, gets its default, and a missing base_lr is the lr.
        InputError for values out of range, for other shapes and for the state of another rule; nothing is then loaded.
        """
        if not isinstance(state_dict, dict):
            raise InputError(f"state_dict {shown(state_dict)}: what the state_dict() of an optimizer gives is accepted")
        # The last of its hooks: what the user's own make of it is what is checked.
        check = self.register_load_state_dict_pre_hook(
            lambda _, given: loadable(self.rule, self.coupling, self.param_groups, given)
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            check.remove()

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; the closure, if any, reevaluates the loss first.

        InputError, before any parameter moves, for what was written into a group and cannot be taken, and for a parameter
        whose type, shape or device has changed since its state or gradient was made.
        """
        loss = None
        if closure is not None:
            function("closure", closure)
            with torch.enable_grad():
                loss = closure()
        prepared = self._prepared(torch.compiler.is_compiling())
        # A clock may be that of several lists: all are read before one is moved on.
        counted = [ready.counted() for ready in prepared]
        for ready, (_, values) in zip(prepared, counted, strict=True):
            for part in ready.parts:
                ready.plan.lists(*part, *values)
        moved = [ready.moved(clock) for ready, (clock, _) in zip(prepared, counted, strict=True)]
        for ready, after, (clock, _) in zip(prepared, moved, counted, strict=True):
            if ready.clock:
                # Not copy_: compiled by AOTAutograd (torch 2.13), it loses what is written to a float64 number on the CPU.
                torch._foreach_copy_(list(ready.clock.values()), after)
            for state in ready.states:
                state.update(zip(self.rule.clock, clock, strict=True))
        return loss

    @torch._disable_dynamo  # type: ignore[attr-defined, untyped-decorator]
    def _prepared(self, compiled: bool) -> list[Ready]:
        """What a step runs, for all groups at once: a compiler breaks its graph here, once."""
        for k, group in enumerate(self.param_groups):
            if self.rule.average and not group["train_mode"]:
                raise InputError(f"step of {self.rule.name} in eval mode: call train() of the optimizer first")
            self._passed[k] = check_step(self.rule, self.coupling, group, self._passed.get(k, ()))
            if compiled and not group["capturable"]:
                raise InputError("compiled step with capturable=False: capturable=True is accepted")
        groups = [(group, self._hyperparameters(group)) for group in self.param_groups]
        return prepare(self.rule, self.coupling, groups, self.state, compiled)

    @torch.no_grad()
    def eval(self) -> None:
        """Put the weights to evaluate with into the parameters, for a rule that takes gradients elsewhere (schedule_free).

        The gradient point is kept beside the state until `train`, which puts it back bit for bit. For other rules, and in
        eval mode already, nothing happens. The mode is part of the state_dict. InputError for beta1 = 0: such a rule
        keeps no average.
        """
        average = self.rule.average
        if average is None:
            return
        groups = [group for group in self.param_groups if group["train_mode"]]
        for group in groups:
            if self._hyperparameters(group).get("beta1") == 0:
                raise InputError(
                    f"eval of {self.rule.name} with beta1 = 0: it keeps an average only for a beta1 above 0"
                )
        for group in groups:
            hyper = self._hyperparameters(group).values()
            for p in group["params"]:
                if state := self.state.get(p):
                    state[POINT] = p.detach().clone()
                    p.copy_(average(p, *(state[name] for name in self.rule.state), *hyper))
            group["train_mode"] = False

    @torch.no_grad()
    def train(self) -> None:
        """Put the gradient point back into the parameters: what `eval` took away. Nothing happens in train mode."""
        if self.rule.average is None:
            return
        for group in self.param_groups:
            for p in group["params"] if not group["train_mode"] else ():
                if POINT in self.state.get(p, ()):
                    p.copy_(self.state[p].pop(POINT))
            group["train_mode"] = True
