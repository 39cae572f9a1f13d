"""Optimizers with a fault each, written by hand as people write them: what a probe must find, and what its line must say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Planted:
    """fault: what is wrong, in words; make: the factory that a probe is given; says: words of the line that must be found."""

    fault: str
    make: Callable[..., Any]
    says: str


class AdamW(torch.optim.Optimizer):
    """AdamW, one parameter after another, with the fault that it is told to have."""

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.01, amsgrad: bool = False, maximize: bool = False, foreach: bool | None = None, fault: str = "",
    ) -> None:  # fmt: skip
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, settings | {"amsgrad": amsgrad, "maximize": maximize, "foreach": foreach})
        self.fault = fault
        self.steps: dict[int, int] = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every parameter."""
        for group in self.param_groups:
            values = self.param_groups[0] if self.fault == "first group's decay" else group
            for p in group["params"]:
                if self.fault == "skips zeros" and p.grad is not None and not p.grad.any():
                    continue
                if p.grad is not None:
                    self._move(p, group, float(values["weight_decay"]))
                elif self.fault == "decays without a gradient":
                    p.mul_(1 - group["lr"] * group["weight_decay"])

    def _move(self, p: Tensor, group: dict[str, Any], strength: float) -> None:
        fault, lr, (beta1, beta2), eps = self.fault, group["lr"], group["betas"], group["eps"]
        if fault == "first group's lr":
            lr = self.param_groups[0]["lr"]
        given: Any = p.grad
        g = -given if group["maximize"] else given.clone()
        base = group.get("initial_lr", lr)
        state = self.state[p]
        if not state:
            state.update(m=torch.zeros_like(p), v=torch.zeros_like(p), vmax=torch.zeros_like(p))
            self.steps[id(p)] = 0
            state["t"] = 0
        state["t"] += 1
        t, m, v = state["t"], state["m"], state["v"]
        if fault == "steps are not in the state_dict":
            self.steps[id(p)] = self.steps.get(id(p), 0) + 1
            t = self.steps[id(p)]
        if fault == "betas the wrong way round":
            beta1, beta2 = beta2, beta1
        if fault == "lr twice":
            lr = 2 * lr
        if fault == "every second step" and t % 2:
            strength = 0.0
        if fault == "lr as it was at first":
            lr = state.setdefault("lr", lr)
        old, joined = p.clone(), torch.zeros_like(p)
        share = {
            "constant": strength, "lr^2": lr * lr * strength, "schedule": lr / base * strength, "half": lr * strength / 2,
            "sign": -lr * strength, "no decay": 0.0, "maximize turns it": (-1 if group["maximize"] else 1) * lr * strength,
            "lr/base^2": lr * lr / base * strength,
        }.get(fault, lr * strength)  # fmt: skip
        elsewhere = ("mask", "inside", "in m alone", "in v alone", "after", "reckless", "sign of w", "L2", "drift")
        coupled = fault == "L2" or (fault == "foreach is L2" and bool(group["foreach"])) or fault == "both"
        if coupled:
            g = g + strength * p
        if fault not in elsewhere and not (coupled and fault != "both"):
            p.mul_(1 - share)
        if fault == "in m alone":
            joined = strength * p
        before = v.clone()
        m.mul_(beta1).add_(g + joined, alpha=1 - beta1)
        squared = g + strength * p if fault == "in v alone" else g
        v.mul_(beta2).addcmul_(squared, squared, value=1 - beta2)
        gathered = before if fault == "v a step late" else v
        if group["amsgrad"] and fault != "amsgrad ignored":
            torch.maximum(state["vmax"], v, out=state["vmax"])
            gathered = state["vmax"]
        first, second = 1 - beta1**t, 1 - beta2**t
        if fault in ("no bias correction", "v uncorrected"):
            second = 1.0
        if fault == "no bias correction":
            first = 1.0
        if fault == "corrects a step too many":
            first = 1 - beta1 ** (t + 1)
        mhat, root = m / first, (gathered / second).sqrt()
        if fault == "eps inside":
            root = (gathered / second + eps).sqrt()
        elif fault == "eps as a floor":
            root = root.clamp(min=eps)
        elif fault == "eps before the correction":
            root = (gathered.sqrt() + eps) / second**0.5
        else:
            root = root + eps
        if fault == "inside":
            mhat = mhat + strength * p
        if fault == "Nesterov":
            mhat = beta1 * mhat + (1 - beta1) * g / first
        p.sub_(lr * mhat / root)
        if fault == "twice":
            p.mul_(1 - share)
        if fault == "mask":
            p.sub_(share * old * (g != 0))
        if fault == "reckless":
            p.sub_(share * old * ((p - old) * old > 0))
        if fault == "drift":
            p.sub_(share)
        if fault == "sign of w":
            p.sub_(share * old.sign())
        if fault == "noise":
            p.add_(torch.randn_like(p), alpha=1e-6)


class Adam(AdamW):
    """The same, under the name of Adam: what a fused Adam was that decays as AdamW does."""


class Lion(torch.optim.Optimizer):
    """Lion, coupled in 32 bits and decoupled in 16: two paths through one class."""

    def __init__(
        self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.1
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every parameter."""
        for group in self.param_groups:
            (beta1, beta2), lr, strength = group["betas"], group["lr"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                g, m = p.grad, self.state[p].setdefault("m", torch.zeros_like(p))
                if p.dtype == torch.float32:
                    g = g + strength * p
                else:
                    p.mul_(1 - lr * strength)
                p.sub_(lr * (beta1 * m + (1 - beta1) * g).sign())
                m.mul_(beta2).add_(g, alpha=1 - beta2)


class SGD(torch.optim.Optimizer):
    """SGD with momentum, with the fault that it is told to have."""

    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-2,
        nesterov: bool = False,
        fault: str = "",
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})
        self.fault = fault

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every parameter."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                if self.fault == "writes the gradient":
                    p.grad.add_(p, alpha=group["weight_decay"])
                    g = p.grad
                else:
                    g = p.grad + group["weight_decay"] * p
                b = self.state[p].setdefault("b", torch.zeros_like(p))
                if self.fault == "dampened":
                    b.mul_(momentum).add_(g, alpha=1 - momentum)
                elif self.fault == "lr inside":
                    b.mul_(momentum).add_(g, alpha=lr)
                else:
                    b.mul_(momentum).add_(g)
                ahead = group["nesterov"] and self.fault != "nesterov ignored"
                p.sub_(b if self.fault == "lr inside" else lr * (g + momentum * b if ahead else b))


def _clipped(parameters: Any) -> Any:
    """Clips the norm over all parameters within the step."""

    class AdamW(torch.optim.AdamW):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
            super().step()

    return AdamW(parameters)


def _grouped(light: Callable[[str, Tensor], bool]) -> Callable[[torch.nn.Module], Any]:
    def make(net: torch.nn.Module) -> Any:
        named: Sequence[tuple[str, Tensor]] = list(net.named_parameters())
        return torch.optim.AdamW(
            [
                {"params": [p for name, p in named if not light(name, p)], "weight_decay": 0.05},
                {"params": [p for name, p in named if light(name, p)], "weight_decay": 0.0},
            ]
        )

    return make


def _adamw(fault: str, **settings: Any) -> Callable[..., Any]:
    return lambda parameters: AdamW(parameters, fault=fault, **settings)


def _sgd(fault: str, **settings: Any) -> Callable[..., Any]:
    return lambda parameters: SGD(parameters, fault=fault, **settings)


PLANTED: tuple[Planted, ...] = (
    Planted("AdamW whose decay is L2 in the gradient", _adamw("L2"), "what acts is L2 in the gradient"),
    Planted("a fused Adam that is AdamW", Adam, "what acts is weight decay x lr"),
    Planted("AdamW that drops its decay", _adamw("no decay"), "weight decay 0.01 is claimed, none acts"),
    Planted("a decay with the wrong sign", _adamw("sign"), "opposite sign"),
    Planted("a decay that is not multiplied by lr", _adamw("constant"), "what acts is weight decay, constant"),
    Planted("a decay multiplied by lr twice", _adamw("lr^2"), "weight decay x lr^2"),
    Planted("a decay multiplied by the schedule alone", _adamw("schedule"), "weight decay x schedule"),
    Planted("a decay multiplied by lr^2 / base lr", _adamw("lr/base^2"), "weight decay x lr^2 / base lr"),
    Planted("half of the decay", _adamw("half"), "weight decay 0.01 is claimed, 0.005 acts"),
    Planted("a decay before and after the step", _adamw("twice"), "before and after the step"),
    Planted("L2 and a decay", _adamw("both"), "L2 in the gradient and weight decay"),
    Planted("a decay only where the gradient is not 0", _adamw("mask"), "only of weights whose gradient is not 0"),
    Planted("a cautious mask the wrong way round", _adamw("reckless"), "only where the step makes the weight larger"),
    Planted("the sign of the weight for the weight", _adamw("sign of w"), "of the weight's sign"),
    Planted("the decay inside the preconditioner", _adamw("inside"), "within the step: it joins"),
    Planted("L2 in the first moment alone", _adamw("in m alone"), "within the step: it joins"),
    Planted("L2 in the second moment alone", _adamw("in v alone"), "it joins the gradient that is squared"),
    Planted("a decay at every second step", _adamw("every second step"), "a regularizer that is none known here"),
    Planted("a schedule that is not heeded", _adamw("lr as it was at first"), "no schedule acts"),
    Planted("no bias correction", _adamw("no bias correction"), "no bias correction"),
    Planted("v without its bias correction", _adamw("v uncorrected"), "no bias correction of what beta2 fades"),
    Planted("a bias correction one step ahead", _adamw("corrects a step too many"), "counts a step too many"),
    Planted("eps inside the root", _adamw("eps inside"), "eps inside the root"),
    Planted("eps as a floor", _adamw("eps as a floor"), "eps as a floor"),
    Planted(
        "eps before the bias correction", _adamw("eps before the correction"), "eps added before the bias correction"
    ),
    Planted("betas the wrong way round", _adamw("betas the wrong way round"), "beta1 0.9 is claimed, 0.999 acts"),
    Planted("lr twice as large", _adamw("lr twice", weight_decay=0.0), "lr 0.001 is claimed, 0.002 acts"),
    Planted("v a step late", _adamw("v a step late"), "v a step late"),
    Planted("Nesterov's look-ahead in AdamW", _adamw("Nesterov"), "Nesterov's look-ahead"),
    Planted(
        "amsgrad=True without effect",
        _adamw("amsgrad ignored", amsgrad=True),
        "by its name it is AMSGrad, it acts as Adam",
    ),
    Planted("maximize turns the decay round", _adamw("maximize turns it"), "with maximize=True the decay turns round"),
    Planted("a decay without a gradient", _adamw("decays without a gradient"), "a parameter without a gradient moves"),
    Planted("every group with the first's decay", _adamw("first group's decay"), "its strength is that of the first"),
    Planted("every group with the first's lr", _adamw("first group's lr"), "its lr is that of the first"),
    Planted(
        "a gradient of 0 taken for none", _adamw("skips zeros"), "a gradient of 0 in all of a tensor is taken for none"
    ),
    Planted("decay for decay x weight", _adamw("drift"), "a constant x lr taken from every weight"),
    Planted("another law with foreach=True", _adamw("foreach is L2"), "with foreach=True it does something else"),
    Planted(
        "steps that a state_dict does not hold",
        _adamw("steps are not in the state_dict"),
        "resumed from its state_dict",
    ),
    Planted("noise", _adamw("noise"), "does not do the same twice"),
    Planted("Lion, coupled in 32 bits and decoupled in 16", Lion, "in float32 it is another one"),
    Planted(
        "nesterov=True without effect",
        _sgd("nesterov ignored", nesterov=True),
        "by its name it is Nesterov, it acts as momentum",
    ),
    Planted("dampened momentum", _sgd("dampened"), "lr 0.1 is claimed, 0.01 acts"),
    Planted("lr inside the momentum buffer", _sgd("lr inside"), "lr inside b"),
    Planted("norms back under decay", _grouped(lambda name, p: name.endswith("bias")), "weight decay acts on"),
    Planted("a mask the wrong way round", _grouped(lambda name, p: p.ndim > 1), "the opposite of what is usual"),
    Planted("a norm clipped within the step", _clipped, "none of the rules here"),
)
# Not wrong, but good to know.
NOTED: tuple[Planted, ...] = (
    Planted("L2 written into the gradient", _sgd("writes the gradient"), "writes into the gradients"),
    Planted("a decay below bfloat16's rounding", _adamw(""), "in bfloat16 a decay of"),
)
