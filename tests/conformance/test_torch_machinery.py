"""torch's own machinery for testing optimizers, run on ours: OptimizerInfo and @optims, one class of optimizer a rule.

The tests are those of torch's suite that mean something for any optimizer and are not made in test_torch: the loss goes
the right way under every kind of parameter, a loaded state is a copy, types are kept, errors are torch's.
"""

# ruff: noqa: PT009 - the assertions of torch's TestCase compare tensors, in any nesting
from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from conformance.machinery import INFOS, OF_CLASS, SOME, problem, settings, steps
from torch.nn import Parameter
from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, OptimizerInfo, optims
from torch.testing._internal.common_utils import TestCase


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
