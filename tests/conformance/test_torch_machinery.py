"""torch's own machinery for testing optimizers, run on ours: OptimizerInfo and @optims, one class of optimizer a rule.

The tests are those of torch's suite that mean something for any optimizer and are not made in test_torch: the loss goes
the right way under every kind of parameter, a loaded state is a copy, types are kept, errors are torch's.
"""

# ruff: noqa: PT009 - the assertions of torch's TestCase compare tensors, in any nesting
from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch.nn import Parameter
from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_optimizers import (
    OptimizerErrorEnum,
    OptimizerInfo,
    OptimizerInput,
    get_error_inputs_for_all_optims,
    optims,
)
from torch.testing._internal.common_utils import TestCase

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


class TestOurs(TestCase):
    @optims(INFOS)
    def test_forloop_goes_right_direction(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        for kwargs in settings(optim_info, device):
            for contiguous in (True, False):
                params, loss = problem(optim_info, device, contiguous)
                before = float(loss().detach())
                # A rate at which no rule overshoots, whatever its own default is.
                kwargs["lr"] = torch.tensor(1e-3) if torch.is_tensor(kwargs.get("lr")) else 1e-3
                after = steps(optim_info.optim_cls(params, **kwargs), loss, 20)
                self.assertTrue(after > before if kwargs.get("maximize") else after < before, kwargs)

    @optims(SOME)
    def test_tensor_lr(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        ends = []
        for lr in (0.01, torch.tensor(0.01, dtype=torch.float64), torch.tensor([0.01], dtype=torch.float64)):
            for capturable in (False, True):
                params, loss = problem(optim_info, device)
                optimizer = optim_info.optim_cls(params, lr=lr, weight_decay=0.01, capturable=capturable)
                steps(optimizer, loss, 5)
                self.assertIs(optimizer.param_groups[0]["lr"], lr)
                ends.append([p.detach() for p in params])
        for end in ends[1:]:
            self.assertEqual(end, ends[0], rtol=1e-5, atol=1e-6)

    @optims(SOME)
    def test_loaded_state_is_a_copy(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        params, loss = problem(optim_info, device)
        optimizer = optim_info.optim_cls(params, lr=0.01, capturable=True)
        steps(optimizer, loss, 2)
        other = optim_info.optim_cls(params)
        other.load_state_dict(optimizer.state_dict())
        before = deepcopy(optimizer.state_dict())
        steps(other, loss, 2)
        self.assertEqual(optimizer.state_dict(), before, rtol=0, atol=0)

    @optims(INFOS)
    def test_state_stays_in_the_parameters_type(
        self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo
    ) -> None:
        types = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        rule = OF_CLASS[optim_info.optim_cls]
        params = [Parameter(torch.ones(3, 2, device=device, dtype=t)) for t in types]
        optimizer = optim_info.optim_cls(params, lr=0.01, weight_decay=0.1)
        for _ in range(3):
            for p in params:
                p.grad = torch.full_like(p, 0.5)
            optimizer.step()
        for p in params:
            self.assertEqual({optimizer.state[p][name].dtype for name in rule.state} - {p.dtype}, set())
            self.assertTrue(torch.isfinite(p).all())
            self.assertEqual(p.double(), params[-1], rtol=0, atol=0.02)

    @optims([info for info in INFOS if info.supports_complex], dtypes=[torch.complex64, torch.complex128])
    def test_complex_is_a_view_of_pairs(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        for kwargs in settings(optim_info, device):
            random = torch.Generator().manual_seed(1)
            values = torch.randn(6, 3, 2, dtype=dtype, generator=random)
            ends = []
            for view in (torch.view_as_real, lambda x: x):
                p = Parameter(view(values[0]).to(device).clone())
                optimizer = optim_info.optim_cls([p], **deepcopy(kwargs))
                for gradient in values[1:]:
                    p.grad = view(gradient).to(device).clone()
                    optimizer.step()
                ends.append(torch.view_as_real(p.detach()) if p.is_complex() else p.detach())
            self.assertEqual(ends[0], ends[1])

    @optims(SOME)
    def test_hooks_and_closure(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        params, loss = problem(optim_info, device)
        optimizer = optim_info.optim_cls(params, lr=0.01)
        calls, before = [], float(loss().detach())
        optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
        optimizer.register_step_post_hook(lambda *_: calls.append("after"))

        def closure() -> torch.Tensor:
            calls.append("closure")
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        first, second = (float(optimizer.step(closure).detach()) for _ in range(2))
        self.assertEqual(calls, ["before", "closure", "after"] * 2)
        self.assertEqual(first, before)
        self.assertLess(second, first)

    @optims(SOME)
    def test_errors(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        errors = optim_info.optim_error_inputs_func(device=device, dtype=dtype)
        for error in errors:
            given = error.optimizer_error_input
            params = [torch.randn(1, 1, device=device)] if given.params is None else given.params
            self.assertIs(error.error_on, OptimizerErrorEnum.CONSTRUCTION_ERROR)
            if issubclass(error.error_type, Warning):
                with pytest.warns(error.error_type, match=error.error_regex):
                    optim_info.optim_cls(params, **given.kwargs)
            else:
                with pytest.raises(error.error_type, match=error.error_regex):
                    optim_info.optim_cls(params, **given.kwargs)


instantiate_device_type_tests(TestOurs, globals(), only_for=("cpu", "cuda"))
