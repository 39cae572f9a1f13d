"""Networks trained side by side against the same networks trained alone."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES
from fullscale.models import Architecture, basicnet, build
from fullscale.replicas import Replicas, layers
from fullscale.replicas.optimizers import Optimizers
from fullscale.spec import RunSpec, together_key

# Every number of images is compiled once more: 12 in float64 and 16 in float32 do.
SPEC = RunSpec("0", 0.03, "adam", "l2", lr=1e-3, strength=1e-2, batch=12, epochs=1, seed=0)
# The others look at a whole tensor and go alone.
TOGETHER = [name for name, rule in RULES.items() if rule.unit == "weight"]
CLASSES = 3


def network(spec: RunSpec, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(spec.seed)
    return build(Architecture(spec.model, spec.width, 2, CLASSES)).to(dtype)


def batches(count: int, specs: list[RunSpec], size: int, dtype: torch.dtype = torch.float64) -> list[Any]:
    """Other images and labels for each step and run: (R, N, C, H, W) and (R, N)."""
    draws = torch.Generator().manual_seed(8)
    shape = (len(specs), specs[0].batch)
    return [
        (
            torch.randn(*shape, 2, size, size, dtype=dtype, generator=draws),
            torch.randint(CLASSES, shape, generator=draws),
        )
        for _ in range(count)
    ]


def together(specs: list[RunSpec], data: list[Any]) -> Replicas:
    joined = Replicas([network(spec, data[0][0].dtype) for spec in specs])
    optimizers = Optimizers(joined, specs)
    for x, y in data:
        outputs = joined(torch.cat(list(x), dim=1))
        loss = cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(dim=1).sum()
        optimizers.zero_grad()
        loss.backward()
        optimizers.step()
    optimizers.eval()
    return joined


def alone(spec: RunSpec, data: list[tuple[Tensor, Tensor]]) -> nn.Module:
    net = network(spec, data[0][0].dtype)
    optimizer = Optimizer(
        net.parameters(), spec.optimizer, spec.coupling, lr=spec.lr, weight_decay=spec.strength, **dict(spec.hyper)
    )
    for x, y in data:
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()
    optimizer.eval()
    return net


def assert_as_alone(joined: Replicas, specs: list[RunSpec], data: list[Any], tolerance: float) -> None:
    for r, spec in enumerate(specs):
        first, net = network(spec).state_dict(), alone(spec, [(x[r], y[r]) for x, y in data]).state_dict()
        taken = joined.take(r).state_dict()
        assert not all(torch.allclose(tensor.double(), first[name].double(), rtol=1e-6) for name, tensor in net.items())
        for name, tensor in net.items():
            torch.testing.assert_close(taken[name], tensor, rtol=tolerance, atol=tolerance, msg=f"{name} of {spec}")


@st.composite
def groups(draw: st.DrawFn) -> list[RunSpec]:
    """Runs of any rules, couplings, rates, strengths and betas, in batches that fill vectors and in such that do not.

    With few images a batch, training soon blows any rounding up, alone or not."""
    specs = []
    batch = draw(st.sampled_from((12, 14)))
    for seed in range(draw(st.integers(2, 5))):
        coupling = draw(st.sampled_from(sorted(COUPLINGS)))
        strength = 0.0 if coupling == "none" else draw(st.sampled_from((0.0, 1e-3, 0.03)))
        rule = draw(st.sampled_from(TOGETHER))
        lr = RULES[rule].lr * draw(st.sampled_from((0.1, 1.0)))
        slower = draw(st.sampled_from((1.0, 0.9)))
        hyper = tuple((name, slower * x) for name, x in RULES[rule].defaults.items() if name.startswith("beta"))
        own = {"coupling": coupling, "strength": strength, "lr": lr, "hyper": hyper, "seed": seed, "batch": batch}
        specs.append(replace(SPEC, optimizer=rule, **own))
    return specs


@given(groups())
@settings(max_examples=4, deadline=None)
def test_each_of_a_group_is_what_it_is_alone(specs: list[RunSpec]) -> None:
    assert len({together_key(spec) for spec in specs}) == 1
    data = batches(50, specs, 6)
    assert_as_alone(together(specs, data), specs, data, 1e-10)


@pytest.mark.parametrize(
    ("model", "width", "size"), [("vgg11", 0.03, 9), ("resnet20", 0.2, 7), ("resnet50", 0.04, 6), ("basicnet", 0.1, 5)]
)
def test_any_network_goes_side_by_side(model: str, width: float, size: int) -> None:
    specs = [
        replace(SPEC, model=model, width=width, seed=seed, lr=lr, optimizer="momentum")
        for seed, lr in ((0, 1e-3), (1, 1e-4))
    ]
    data = batches(3, specs, size)
    assert_as_alone(together(specs, data), specs, data, 1e-8)


def test_in_float32_too_by_kernels_and_by_grouped_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [replace(SPEC, width=0.1, batch=16, seed=seed, optimizer="momentum") for seed in (0, 1)]
    data = batches(3, specs, 8, torch.float32)
    found = together(specs, data)
    assert_as_alone(found, specs, data, 1e-4)
    assert torch.equal(found.flat, together(specs, data).flat)
    monkeypatch.setattr(layers, "by_kernels", lambda x: False)
    grouped = together(specs, data)
    assert not torch.equal(grouped.flat, found.flat)  # it is another way to the same numbers
    torch.testing.assert_close(grouped.flat, found.flat, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("model", "size"), [("basicnet", 8), ("vgg11", 5), ("resnet18", 7)])
def test_by_kernels_the_bits_of_a_run_depend_neither_on_its_company_nor_on_its_place(model: str, size: int) -> None:
    specs = [
        replace(SPEC, model=model, width=0.1, batch=16, seed=seed, optimizer=rule)
        for seed, rule in enumerate(("adam", "momentum", "lion", "adam"))
    ]
    data = batches(2, specs, size, torch.float32)
    whole = together(specs, data)
    for some in ([3, 1], [2]):
        part = together([specs[k] for k in some], [(x[some], y[some]) for x, y in data])
        assert torch.equal(part.flat, whole.flat[some])
        for place, k in enumerate(some):
            assert all(
                torch.equal(x, y) for x, y in zip(part.take(place).buffers(), whole.take(k).buffers(), strict=True)
            )


@pytest.mark.parametrize(
    ("channels", "filters", "kernel", "stride", "padding"),
    [
        *product((1, 3, 6), (1, 5, 8), (3,), (1, 2), (1,)),
        (4, 4, 1, 1, 0),
        (4, 4, 1, 2, 0),
        (2, 3, 5, 2, 2),
        (1, 2, 7, 2, 3),
    ],
)
def test_kernels_are_the_convolution_and_its_gradients(
    channels: int, filters: int, kernel: int, stride: int, padding: int
) -> None:
    torch.manual_seed(1)
    for images, dtype, tolerance in ((12, torch.float64, 1e-12), (16, torch.float32, 1e-4)):
        layer = layers.Convolutions(nn.Conv2d(channels, filters, kernel, stride, padding))
        layer.weight = (
            torch.randn(2, filters, kernel, kernel, channels, dtype=dtype).permute(0, 1, 4, 2, 3).requires_grad_()
        )
        layer.bias = torch.randn(2, filters, dtype=dtype, requires_grad=True)
        x = torch.randn(images, 2 * channels, 5, 4, dtype=dtype, requires_grad=True)
        assert layers.by_kernels(x)
        found = layer(x)
        weight, bias = layer.weight.flatten(0, 1), layer.bias.flatten()
        expected = nn.functional.conv2d(x, weight, bias, stride, padding, groups=2)
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        g = torch.randn_like(expected)
        for one, other in zip(
            torch.autograd.grad(found, (x, layer.weight, layer.bias), g),
            torch.autograd.grad(expected, (x, layer.weight, layer.bias), g),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("training", [True, False])
def test_a_replica_is_its_network_in_either_mode_and_comes_back_as_a_copy(training: bool) -> None:
    specs = [replace(SPEC, seed=seed) for seed in range(3)]
    data = batches(2, specs, 5)
    nets = [alone(spec, [(x[r], y[r]) for x, y in data]).train(training) for r, spec in enumerate(specs)]
    joined = Replicas(nets).train(training)
    for r, net in enumerate(nets):
        taken = joined.take(r)
        assert (taken.config, taken.training) == (net.config, training)
        assert all(torch.equal(taken.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
        for parameter in taken.parameters():
            parameter.data.fill_(9)
    assert not (joined.flat == 9).any()
    x = data[0][0]
    expected = torch.stack([net(x[r]) for r, net in enumerate(nets)])
    torch.testing.assert_close(joined(torch.cat(list(x), dim=1)), expected, rtol=1e-12, atol=1e-12)


def test_a_rate_that_is_set_is_that_of_the_step() -> None:
    specs = [replace(SPEC, optimizer=rule, seed=seed) for seed, rule in enumerate(("sgd", "adam", "sgd"))]
    joined = Replicas([network(spec) for spec in specs])
    optimizers, before = Optimizers(joined, specs), joined.flat.detach().clone()
    for group, lr in zip(optimizers.param_groups, (0.0, 0.0, 0.1), strict=True):
        group["lr"] = lr
    [(x, y)] = batches(1, specs, 6)
    cross_entropy(joined(torch.cat(list(x), dim=1)).flatten(0, 1), y.flatten()).backward()
    optimizers.step()
    assert [torch.equal(one, other) for one, other in zip(joined.flat, before, strict=True)] == [True, True, False]


@pytest.mark.parametrize("rule", ["sgd", "adam", "schedule_free"])
@pytest.mark.parametrize("batch", [6, 12])
def test_a_replica_that_is_not_finite_leaves_the_others_as_they_are(rule: str, batch: int) -> None:
    specs = [replace(SPEC, optimizer=rule, seed=seed, batch=batch) for seed in range(3)]
    data = batches(4, specs, 5)
    clean = together(specs, data)
    for x, _ in data:
        x[1] = math.nan
    joined = together(specs, data)
    assert joined.take(1).head.weight.isnan().all()
    for r in (0, 2):
        assert torch.equal(clean.flat[r], joined.flat[r])


def test_in_bfloat16_too_a_replica_that_diverges_leaves_the_others_as_they_are() -> None:
    specs = [replace(SPEC, width=0.05, optimizer="sgd", seed=seed) for seed in range(3)]
    data = batches(3, specs, 8, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        clean = together(specs, data)
        joined = together([specs[0], replace(specs[1], lr=1e20), specs[2]], data)
    assert not joined.flat[1].isfinite().any()
    for r in (0, 2):
        assert clean.flat[r].isfinite().all()
        assert torch.equal(clean.flat[r], joined.flat[r])


def test_a_layer_that_is_not_known_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU())
    net.config = None
    with pytest.raises(TypeError, match="1, a PReLU, cannot be trained side by side"):
        Replicas([net])


class Unread(TorchDispatchMode):
    """Within it no tensor's value is looked at, for which the processor would wait for a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_a_recorded_step_would_read_and_write_fixed_memory() -> None:
    """What a CUDA graph asks for: no value is looked at, and replayed it meets what it was recorded on; and no graph of
    autograd outlives a step."""
    specs = [replace(SPEC, optimizer=rule, seed=k) for k, rule in enumerate(TOGETHER)]
    joined = Replicas([network(spec, torch.float32) for spec in specs])
    optimizers = Optimizers(joined, specs, capturable=True)
    places: list[list[int]] = []
    for x, y in batches(3, specs, 8, torch.float32):
        with Unread():
            with torch.autocast("cpu", torch.bfloat16):
                outputs = joined(torch.cat(list(x), dim=1))
            optimizers.zero_grad()
            cross_entropy(outputs.flatten(0, 1).float(), y.flatten()).backward()
            optimizers.step()
        kept = [value for module in joined.modules() for value in vars(module).values() if isinstance(value, Tensor)]
        assert not [value for value in kept if value.grad_fn is not None]
        states = [v for o in optimizers.each for s in o.state.values() for v in s.values()]
        rates = [group["lr"] for group in optimizers.param_groups]
        used = [joined.flat, joined.flat.grad, *joined.buffers(), *(row.grad for row in joined.rows), *joined.rows]
        places.append([tensor.data_ptr() for tensor in [*used, *states, *rates] if isinstance(tensor, Tensor)])
    assert places[0] == places[1] == places[2]


@pytest.mark.parametrize(
    "nets", [None, [], [nn.Linear(2, 2)], [basicnet(0.0625), basicnet(0.125)], [basicnet(0.0625), None]]
)
def test_what_are_no_networks_of_one_configuration_is_refused(nets: Any) -> None:
    with pytest.raises(InputError, match=r"^nets "):
        Replicas(nets)
