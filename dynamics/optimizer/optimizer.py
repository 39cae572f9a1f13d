"""The rules as a torch.optim.Optimizer, and which parameters a regularizer takes.

The step is planned from the rule's own code (`dynamics.optimizer.plan`) and written in place: one straight line of foreach
calls, over all parameters of a group on a GPU, over few of them at a time on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, overload

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.optimizer import ParamsT

from dynamics.couplings import Coupling, find_coupling
from dynamics.errors import InputError
from dynamics.optimizer.plan import Ready, prepare_group, share_clocks
from dynamics.rule import Rule, check
from dynamics.rules import find_rule

_BETAS = ("beta1", "beta2", "beta3")
# _NormBase: BatchNorm and InstanceNorm of every dimension, SyncBatchNorm and the lazy ones.
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
# In eval mode, the gradient point that train mode goes back to.
_POINT = "gradient_point"


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
        **hyperparameters: those of the rule; beta1, beta2 (and beta3) become `betas`, as in torch.

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
        **hyperparameters: Any,
    ) -> None:
        self.rule = find_rule(rule)
        self.coupling = find_coupling(coupling)
        own = {name: hyperparameters.pop(name) for name in self.rule.defaults if name in hyperparameters}
        known = self._spell({**self.rule.defaults, **own})
        for name in hyperparameters:
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
        mode = {"train_mode": True} if self.rule.average else {}
        super().__init__(params, defaults | mode | known | hyperparameters)

    def __getstate__(self) -> dict[str, Any]:
        """As torch's, with what makes this optimizer the one it is: for pickle and deepcopy."""
        return super().__getstate__() | {"rule": self.rule, "coupling": self.coupling}

    @staticmethod
    def _spell(values: dict[str, Any]) -> dict[str, Any]:
        """beta1 and its like as torch's `betas`, which its schedulers look for."""
        betas = tuple(values.pop(name) for name in _BETAS if name in values)
        return values | ({"betas": betas} if betas else {})

    def _hyperparameters(self, group: dict[str, Any]) -> dict[str, Any]:
        values = group | dict(zip(_BETAS, group.get("betas", ()), strict=False))
        return {name: values[name] for name in self.rule.defaults}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; the group's values are checked and its lr is remembered as `base_lr`."""
        self._check(self.defaults | param_group)
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            if self.rule.unit == "matrix" and (p.ndim != 2 or p.is_complex()):
                self.param_groups.pop()  # a refused group leaves no trace
                kind = "complex parameter" if p.is_complex() else "parameter"
                raise InputError(
                    f"{kind} of shape {tuple(p.shape)}: {self.rule.name} accepts real matrices, that is 2 dimensions"
                )
        # A number of its own: schedulers change a learning rate that is a tensor in place.
        group.setdefault("base_lr", float(group["lr"]))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but what is loaded is a copy; whether the clock is in tensors follows the `capturable` that is loaded.

        InputError for values out of range and for the state of another rule; nothing is then loaded.
        """
        for group in state_dict["param_groups"]:
            missing = [name for name in (*self.defaults, "base_lr") if name not in group]
            if missing:
                raise InputError(f"state_dict without {missing[0]!r}: one of {self.rule.name} is accepted")
            self._check(group)
        for state in state_dict["state"].values():
            if set(state) - {_POINT} != set(self.rule.inner):
                kept = ", ".join(sorted(map(str, state)))
                raise InputError(f"state_dict with the state {kept}: {self.rule.name} has {', '.join(self.rule.inner)}")
        # torch would round a clock to the parameter's dtype: it goes through as Python's numbers.
        states = {
            k: {name: float(x) if name in self.rule.clock else x.clone() for name, x in state.items()}
            for k, state in state_dict["state"].items()
        }
        super().load_state_dict(state_dict | {"state": states})
        for group in self.param_groups:
            if group["capturable"]:
                share_clocks(self.rule, [p for p in group["params"] if p in self.state], self.state)

    def _check(self, group: dict[str, Any]) -> None:
        wanted = [name for name in _BETAS if name in self.rule.defaults]
        betas = group.get("betas", ())
        if wanted and (not isinstance(betas, tuple | list) or len(betas) != len(wanted)):
            words = {2: "a pair", 3: "a triple"}[len(wanted)]
            raise InputError(f"betas {betas!r}: {words} of numbers in [0, 1) is accepted")
        if torch.is_tensor(group["lr"]) and group["lr"].numel() != 1:
            raise InputError(f"Tensor lr must be 1-element, its shape is {tuple(group['lr'].shape)}")
        hyper = self._hyperparameters(group)
        for name, value in {"weight_decay": group["weight_decay"], **hyper}.items():
            if torch.is_tensor(value):
                raise InputError(f"{name} {value!r}: a number is accepted; only lr may be a tensor")
        check("lr", group["lr"])
        check("strength", group["weight_decay"])
        if group["weight_decay"] and not self.coupling.doors:
            raise InputError(f"weight_decay {group['weight_decay']} with coupling none: name the one it shall enter by")
        self.rule.hyperparameters(**hyper)

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
        for ready in self._prepared(torch.compiler.is_compiling()):
            clock, values = ready.counted()
            for part in ready.parts:
                ready.plan.lists(*part, *values)
            if ready.clock:
                # Not copy_: compiled by AOTAutograd (torch 2.13), it loses what is written to a float64 number on the CPU.
                after = [
                    x if torch.is_tensor(x) else torch.full_like(c, x) for x, c in zip(clock, ready.clock, strict=True)
                ]
                torch._foreach_copy_(ready.clock, after)
            for state in ready.states:
                state.update(zip(self.rule.clock, clock, strict=True))
        return loss

    @torch._disable_dynamo  # type: ignore[attr-defined, untyped-decorator]
    def _prepared(self, compiled: bool) -> list[Ready]:
        """What a step runs, for all groups at once: a compiler breaks its graph here, once."""
        for group in self.param_groups:
            if not group.get("train_mode", True):
                raise InputError(f"step of {self.rule.name} in eval mode: call train() of the optimizer first")
            if compiled and not group["capturable"]:
                raise InputError("compiled step with capturable=False: capturable=True is accepted")
        groups = ((group, self._hyperparameters(group)) for group in self.param_groups)
        return [
            r for g, hyper in groups for r in prepare_group(self.rule, self.coupling, g, hyper, self.state, compiled)
        ]

    @torch.no_grad()
    def eval(self) -> None:
        """Put the weights to evaluate with into the parameters, for a rule that takes gradients elsewhere (schedule_free).

        The gradient point is kept beside the state until `train`, which puts it back bit for bit. For other rules, and in
        eval mode already, nothing happens. The mode is part of the state_dict. InputError for beta1 = 0: such a rule
        keeps no average.
        """
        average = self.rule.average
        groups = [group for group in self.param_groups if group.get("train_mode", False)]
        if average is None:
            return
        for group in groups:
            if self._hyperparameters(group).get("beta1") == 0:
                raise InputError(
                    f"eval of {self.rule.name} with beta1 = 0: it keeps an average only for a beta1 above 0"
                )
        for group in groups:
            hyper = self._hyperparameters(group).values()
            for p in group["params"]:
                if state := self.state.get(p):
                    state[_POINT] = p.detach().clone()
                    p.copy_(average(p, *(state[name] for name in self.rule.state), *hyper))
            group["train_mode"] = False

    @torch.no_grad()
    def train(self) -> None:
        """Put the gradient point back into the parameters: what `eval` took away. Nothing happens in train mode."""
        for group in self.param_groups:
            for p in group["params"] if not group.get("train_mode", True) else ():
                if _POINT in self.state.get(p, ()):
                    p.copy_(self.state[p].pop(_POINT))
            if "train_mode" in group:
                group["train_mode"] = True


def parameter_groups(
    module: nn.Module, weight_decay: float, *, norms: bool, biases: bool, skip: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The parameters of a network as groups for an optimizer: with weight decay, and with none.

    torch decays everything by default, timm neither norms nor biases. A parameter that several modules share comes once
    and is decayed only if all of its roles are; one that needs no gradient is left out.

    Args:
        module: the network.
        weight_decay: the strength of the first group; the second has 0.
        norms: whether the decay takes gamma and beta of normalization layers (Batch, Instance, Group, Layer, RMS).
        biases: whether it takes the biases of all other modules (bias, in_proj_bias, bias_ih_l0 and their like).
        skip: names, as in `named_parameters`, that it leaves alone whatever they are.

    Returns:
        Up to two groups, each {"params": list, "weight_decay": number}; an empty one is left out.

    Raises:
        InputError: for a name in skip that no parameter has.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> groups = parameter_groups(net, 1e-4, norms=False, biases=False)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.0001), (3, 0.0)]
    """
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name in skip:
        if name not in names:
            raise InputError(
                f"skip {name!r}: no parameter has that name; accepted are names like {min(names, default='')!r}"
            )
    decays: dict[nn.Parameter, bool] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for name, p in owner.named_parameters(recurse=False, remove_duplicate=False):
            if not p.requires_grad:
                continue
            bias = "bias" in name.split("_")
            taken = norms if isinstance(owner, _NORMS) else biases or not bias
            full = f"{path}.{name}" if path else name
            decays[p] = decays.get(p, True) and taken and full not in skip
    strengths = ((weight_decay, True), (0.0, False))
    groups = [{"params": [p for p in decays if decays[p] is taken], "weight_decay": x} for x, taken in strengths]
    return [group for group in groups if group["params"]]
