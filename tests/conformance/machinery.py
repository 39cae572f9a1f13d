"""Our rules as torch's machinery for testing optimizers takes them: one class of optimizer a rule, and a problem to solve."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch.nn import Parameter
from torch.testing._internal.common_optimizers import OptimizerInfo, OptimizerInput, get_error_inputs_for_all_optims

from dynamics.optimizer import Optimizer
from dynamics.rules import RULES


def class_of(rule: str) -> type[Optimizer]:
    """The rule with L2 as a class of its own, which is what torch's machinery takes."""

    class Named(Optimizer):
        def __init__(self, params: Any, **settings: Any) -> None:
            super().__init__(params, rule, "l2", **settings)

    Named.__name__ = Named.__qualname__ = rule.title().replace("_", "")
    return Named


def inputs(device: str, dtype: torch.dtype | None = None) -> list[OptimizerInput]:
    settings: dict[str, dict[str, Any]] = {
        "default": {},
        "non-default lr": {"lr": 0.01},
        "nonzero weight_decay": {"lr": 0.01, "weight_decay": 0.1},
        "maximize": {"lr": 0.01, "weight_decay": 0.1, "maximize": True},
        "capturable": {"lr": 0.01, "weight_decay": 0.1, "capturable": True},
        "Tensor lr with capturable": {"lr": torch.tensor(0.01, device=device), "capturable": True},
    }
    return [OptimizerInput(params=None, kwargs=kwargs, desc=desc) for desc, kwargs in settings.items()]


INFOS = [
    OptimizerInfo(
        class_of(name),
        optim_inputs_func=inputs,
        optim_error_inputs_func=get_error_inputs_for_all_optims,
        supported_impls=("foreach",),
        has_capturable_arg=True,
        supports_complex=rule.unit != "matrix",
    )
    for name, rule in RULES.items()
]
# For what does not depend on the rule: rules with and without a clock, of whole tensors, with an average.
SOME = [
    info
    for name, info in zip(RULES, INFOS, strict=True)
    if name in ("momentum", "adam", "lamb", "muon", "schedule_free")
]
OF_CLASS = {info.optim_cls: rule for info, rule in zip(INFOS, RULES.values(), strict=True)}


def settings(info: OptimizerInfo, device: str) -> Iterator[dict[str, Any]]:
    for given in info.optim_inputs_func(device=device):
        yield deepcopy(given.kwargs)


def problem(info: OptimizerInfo, device: str, contiguous: bool = True) -> tuple[list[Parameter], Any]:
    """Parameters that the rule takes, and a loss of them: a small least-squares problem."""
    random = torch.Generator().manual_seed(0)
    matrix = torch.randn(10, 5, generator=random).to(device)
    weight = Parameter(matrix if contiguous else matrix.t().contiguous().t())
    bias = Parameter(torch.randn(10, 1, generator=random).to(device))
    data = torch.randn(5, generator=random).to(device)
    return [weight, bias], lambda: (weight.mv(data) + bias.squeeze(1)).pow(2).sum()


def steps(optimizer: torch.optim.Optimizer, loss: Any, count: int) -> float:
    """So many steps down the loss; its value after them."""
    for _ in range(count):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return float(loss().detach())
