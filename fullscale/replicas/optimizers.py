"""The optimizers of runs that advance together: one for each rule and coupling among them, a parameter group for each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dynamics.optimizer import Optimizer
from fullscale.replicas import Replicas
from fullscale.spec import RunSpec


class Optimizers:
    """As one optimizer to the training loop. A run's row of weights is one parameter to its rule.

    specs: one for each replica of `net`, of rules that take each weight by itself. capturable: as in `Optimizer`; the learning
    rates are then tensors. param_groups: one for each run, in order.
    each: the optimizers, which hold these groups.
    """

    def __init__(self, net: Replicas, specs: Sequence[RunSpec], capturable: bool = False) -> None:
        self._net = net
        own: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row, spec in zip(net.rows, specs, strict=True):
            lr = torch.tensor(spec.lr, dtype=torch.float64, device=row.device) if capturable else spec.lr
            numbers: dict[str, Any] = {"weight_decay": spec.strength, "capturable": capturable, **dict(spec.hyper)}
            (group,) = Optimizer([row], spec.optimizer, spec.coupling, lr=lr, **numbers).param_groups
            own.setdefault((spec.optimizer, spec.coupling), []).append(group)
        made = {of: Optimizer(groups, *of) for of, groups in own.items()}
        self.each = list(made.values())
        # An optimizer keeps copies of the groups that it is given.
        kept = {of: iter(optimizer.param_groups) for of, optimizer in made.items()}
        self.param_groups: list[dict[str, Any]] = [next(kept[spec.optimizer, spec.coupling]) for spec in specs]

    def zero_grad(self) -> None:
        """Put all gradients to 0, in place."""
        self._net.zero_grad()

    def step(self) -> None:
        """One update of every run."""
        for optimizer in self.each:
            optimizer.step()

    def train(self) -> None:
        """Put the gradient points back into the weights."""
        for optimizer in self.each:
            optimizer.train()

    def eval(self) -> None:
        """Put the weights to evaluate with into their place, for rules that take gradients elsewhere."""
        for optimizer in self.each:
            optimizer.eval()
