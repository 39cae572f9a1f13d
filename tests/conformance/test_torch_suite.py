"""What torch's own suite asks of any optimizer beside numbers: hooks, names, older files, frozen layers, complex beside real.

Wired to torch's machinery as in test_torch_machinery; every check is one that torch makes of its own classes.
"""

# ruff: noqa: PT009 - the assertions of torch's TestCase compare tensors, in any nesting
from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from conformance.machinery import INFOS, OF_CLASS, SOME, problem, settings, steps
from torch import nn
from torch.nn import Parameter
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_optimizers import OptimizerInfo, optims
from torch.testing._internal.common_utils import TestCase

Optim = torch.optim.Optimizer
OLDER = ("maximize", "capturable", "foreach", "fused", "differentiable", "train_mode", "base_lr")
REAL = (torch.float32, torch.float64, torch.bfloat16)
COMPLEX = (torch.complex64, torch.complex128)


def flags(optimizer: Optim) -> list[dict[str, Any]]:
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


class TestSuite(TestCase):
    @optims(INFOS)
    def test_can_load_older_state_dict(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        for kwargs in settings(optim_info, device):
            params, loss = problem(optim_info, device)
            optimizer = optim_info.optim_cls(params, **kwargs)
            steps(optimizer, loss, 2)
            older = deepcopy(optimizer.state_dict())
            for group in older["param_groups"]:
                for flag in OLDER:
                    group.pop(flag, None)
            optimizer.load_state_dict(older)
            self.assertFalse(optimizer.param_groups[0]["capturable"])
            steps(optimizer, loss, 1)

    @optims(INFOS)
    def test_complex_and_frozen_layers_under_capturable(
        self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo
    ) -> None:
        kinds = (*REAL, *COMPLEX) if optim_info.supports_complex else REAL
        ends = []
        for capturable in (False, True):
            random = torch.Generator().manual_seed(2)
            params = [Parameter(torch.randn(2, 3, dtype=t, generator=random).to(device)) for t in kinds * 2]
            frozen = params[len(kinds) :]
            # Each dtype with and without a gradient, in one group and in another.
            groups = [{"params": params[::2]}, {"params": params[1::2], "lr": 0.02}]
            optimizer = optim_info.optim_cls(groups, lr=0.01, weight_decay=0.1, capturable=capturable)
            for t in range(6):
                for p in params:
                    g = torch.randn(2, 3, dtype=p.dtype, generator=random).to(device)
                    p.grad = None if t in (0, 2, 3) and any(p is f for f in frozen) else g
                optimizer.step()
            clocks = [[float(optimizer.state[p][n]) for n in OF_CLASS[optim_info.optim_cls].clock] for p in params]
            ends.append((params, clocks))
        for plain, tensors in zip(*(params for params, _ in ends), strict=True):
            rounding = 64 * torch.finfo(plain.dtype).eps
            self.assertEqual(tensors.detach(), plain.detach(), rtol=rounding, atol=rounding)
        self.assertEqual(ends[1][1], ends[0][1], rtol=1e-13, atol=0)

    @optims(SOME)
    def test_load_state_dict_hooks(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        # A hook before may change what is loaded, or give another; those after see what has been loaded.
        params, loss = problem(optim_info, device)
        optimizer = optim_info.optim_cls(params, lr=0.01, capturable=True)
        steps(optimizer, loss, 2)
        saved = optimizer.state_dict()
        other, calls = optim_info.optim_cls(params), []

        def rate(optimizer: Optim, given: dict[str, Any]) -> None:
            calls.append("changed")
            given["param_groups"] = [{**group, "lr": 0.002} for group in given["param_groups"]]

        def whole(optimizer: Optim, given: dict[str, Any]) -> dict[str, Any]:
            calls.append("other")
            self.assertIn("wrapped", given)
            return dict(given["wrapped"])

        def seen(optimizer: Optim) -> None:
            calls.append("after")
            self.assertEqual(optimizer.param_groups[0]["lr"], 0.002)
            self.assertEqual(optimizer.state_dict()["state"], saved["state"], rtol=0, atol=0)

        other.register_load_state_dict_pre_hook(rate)
        first = other.register_load_state_dict_pre_hook(whole, prepend=True)
        other.register_load_state_dict_post_hook(seen)
        other.load_state_dict({"wrapped": saved})
        first.remove()
        other.load_state_dict(saved)
        self.assertEqual(calls, ["other", "changed", "after", "changed", "after"])
        self.assertEqual(saved["param_groups"][0]["lr"], 0.01)

    @optims(SOME)
    def test_state_dict_and_step_hooks(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        params, loss = problem(optim_info, device)
        optimizer, calls = optim_info.optim_cls(params, lr=0.01), []
        optimizer.register_state_dict_pre_hook(lambda _: calls.append("saving"))
        optimizer.register_state_dict_post_hook(lambda _, saved: {**saved, "mine": 1})
        self.assertEqual(optimizer.state_dict()["mine"], 1)
        optimizer.load_state_dict(optimizer.state_dict())
        everywhere = [
            register_optimizer_step_pre_hook(lambda *_: calls.append("before any")),
            register_optimizer_step_post_hook(lambda *_: calls.append("after any")),
        ]
        optimizer.register_step_post_hook(lambda *_: calls.append("after"))
        steps(optimizer, loss, 1)
        for handle in everywhere:
            handle.remove()
        steps(deepcopy(optimizer), loss, 1)  # a copy has none, as in torch
        self.assertEqual(calls, ["saving", "saving", "before any", "after", "after any"])

    @optims(SOME)
    def test_named_parameters(self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo) -> None:
        params, loss = problem(optim_info, device)
        named = list(zip(("weight", "bias"), params, strict=True))
        optimizer = optim_info.optim_cls(named, lr=0.01)
        optimizer.add_param_group({"params": [("late", Parameter(torch.ones(1, 1, device=device)))]})
        steps(optimizer, loss, 2)
        saved = optimizer.state_dict()
        self.assertEqual([g["param_names"] for g in saved["param_groups"]], [["weight", "bias"], ["late"]])
        late = Parameter(torch.ones(1, 1, device=device))
        plain = optim_info.optim_cls([{"params": params}, {"params": [late]}])
        plain.load_state_dict(saved)  # named into plain: names come along
        self.assertEqual(flags(plain), flags(optimizer))
        for group in saved["param_groups"]:
            del group["param_names"]
        optimizer.load_state_dict(saved)  # plain into named: names stay
        self.assertEqual([g["param_names"] for g in optimizer.param_groups], [["weight", "bias"], ["late"]])

    @optims(SOME)
    def test_names_may_decide_what_is_loaded_where(
        self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo
    ) -> None:
        params, loss = problem(optim_info, device)
        optimizer = optim_info.optim_cls([("weight", params[0]), ("bias", params[1])], lr=0.01)
        steps(optimizer, loss, 2)
        turned = optim_info.optim_cls([("bias", params[1]), ("weight", params[0])], lr=0.01)

        def by_name(optimizer: Optim, given: dict[str, Any]) -> dict[str, Any]:
            (group,) = given["param_groups"]
            ids = dict(zip(group["param_names"], group["params"], strict=True))
            names = optimizer.param_groups[0]["param_names"]
            return {**given, "param_groups": [{**group, "params": [ids[n] for n in names], "param_names": names}]}

        turned.register_load_state_dict_pre_hook(by_name)
        turned.load_state_dict(optimizer.state_dict())
        for p in params:
            self.assertEqual(turned.state[p], optimizer.state[p], rtol=0, atol=0)

    @optims(INFOS)
    def test_state_is_never_empty_and_copies_have_all_that_is_public(
        self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo
    ) -> None:
        params, loss = problem(optim_info, device)
        optimizer = optim_info.optim_cls([*params, Parameter(torch.ones(1, 1, device=device))], lr=0.01)
        steps(optimizer, loss, 1)
        self.assertTrue(all(optimizer.state.values()))
        self.assertEqual(len(optimizer.state), 2 if OF_CLASS[optim_info.optim_cls].inner else 0)
        public = [{k for k in vars(o) if not k.startswith("_")} for o in (optimizer, deepcopy(optimizer))]
        self.assertEqual(public[0], public[1])
        self.assertIn("lr: 0.01", repr(optimizer))

    @optims(SOME)
    def test_a_layer_that_is_frozen_and_thawed(
        self, device: str, dtype: torch.dtype, optim_info: OptimizerInfo
    ) -> None:
        # requires_grad says so in training: its gradient is None, its weights and its age stay.
        images, ends = torch.linspace(-1, 1, 12, device=device).view(3, 4), []
        for capturable in (False, True):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False)).to(device)
            optimizer = optim_info.optim_cls(net.parameters(), lr=0.01, weight_decay=0.1, capturable=capturable)
            for t in range(6):
                net[0].requires_grad_(t not in (2, 3))
                before = net[0].weight.detach().clone()
                steps(optimizer, lambda net=net: net(images).square().sum(), 1)
                self.assertEqual(torch.equal(net[0].weight, before), t in (2, 3))
            ends.append([p.detach() for p in net.parameters()])
        self.assertEqual(ends[1], ends[0], rtol=1e-5, atol=1e-6)


instantiate_device_type_tests(TestSuite, globals(), only_for=("cpu", "cuda"))
