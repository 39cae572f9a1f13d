"""Conversions tensor by tensor: each is what `convert` says of its own gradients; a live optimizer's are read off its state."""

from __future__ import annotations

import pytest
import torch

from dynamics.answers.convert import convert
from dynamics.answers.pull_rate import Gradients
from dynamics.errors import InputError
from dynamics.optimizer import Optimizer


def trained(
    kind: type[torch.optim.Optimizer] | str, rms: list[float], steps: int = 400, **how: float
) -> torch.optim.Optimizer:
    """An optimizer of tensors whose gradients are normal numbers of these sizes; in its second group there is no decay."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.zeros(400, dtype=torch.float64)) for _ in rms]
    groups = [{"params": weights[:-1], "weight_decay": 1e-4}, {"params": weights[-1:], "weight_decay": 0.0}]
    optimizer = Optimizer(groups, kind, "l2", lr=1e-3, **how) if isinstance(kind, str) else kind(groups, lr=1e-3, **how)
    for _ in range(steps):
        for p, size in zip(weights, rms, strict=True):
            p.grad = size * torch.randn(400, generator=generator, dtype=torch.float64)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad, "adam"])
def test_sizes_are_those_that_the_optimizer_has_seen(kind: type[torch.optim.Optimizer] | str) -> None:
    optimizer = trained(kind, [1e-3, 1e-1, 1.0])
    if kind is torch.optim.Adagrad:  # whose sum is no mean
        with pytest.raises(InputError, match="gradient rms of group 0, tensor 0 is needed"):
            convert(optimizer, "adamw lr=1e-3")
        return
    found = convert(optimizer, "adamw lr=1e-3")
    assert [layer.parameter for layer in found] == ["group 0, tensor 0", "group 0, tensor 1"]
    # 400 lanes, and a mean square over 100 to 1,000 steps, less where it began at 0.
    settled = 1.0 if kind is not torch.optim.RMSprop else (1 - 0.99**400) ** 0.5
    for layer, size in zip(found, (1e-3, 1e-1), strict=True):
        assert layer.gradients is not None
        assert layer.gradients.rms == pytest.approx(size * settled, rel=0.02)


def test_strengths_are_those_of_each_alone() -> None:
    sizes = {"a": 1e-2, "b": 3.0, "c": 1e-4, "d": 1e-2}
    found = convert("adam lr=1e-3 l2=1e-4", "adamw lr=1e-2", {name: Gradients(rms) for name, rms in sizes.items()})
    assert [layer.parameter for layer in found] == list(sizes)
    # Of Adam's L2 the pull is lr strength / rms, of a decay lr strength.
    assert [layer.strength for layer in found] == pytest.approx([1e-5 / rms for rms in sizes.values()], rel=0.03)
    alone = convert("adam lr=1e-3 l2=1e-4", "adamw lr=1e-2", Gradients(1e-4))
    assert found[2].strength == pytest.approx(alone.strength, rel=0.02)
    assert found.typical == pytest.approx(1e-3, rel=0.03)
    assert "within a tenth in 2 of 4 tensors" in found.finding


def test_what_no_gradient_is_needed_for_is_the_same_for_all_and_what_is_needed_is_asked_for() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1, bias=False))
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3)
    found = convert(sgd, "sgd lr=0.1 momentum=0.9 l2=1", net=net)
    assert [layer.parameter for layer in found] == [name for name, _ in net.named_parameters()]
    assert found.strengths == pytest.approx([1e-4] * 3, rel=0.01)
    assert "3 of 3 tensors" in str(found)
    known = {"0.weight": Gradients(1e-2), "0.bias": None, "1.weight": Gradients(1.0)}
    measured = convert(sgd, "adam lr=1e-3 l2=1", known, net=net)
    assert [(layer.strength is None, layer.why) for layer in measured] == [
        (False, ""),
        (True, "it gets no gradient"),
        (False, ""),
    ]
    assert measured[2].strength == pytest.approx(100 * measured[0].strength, rel=0.05)
    for bad, said in (
        (lambda: convert(sgd, "adam lr=1e-3 l2=1", net=net), "gradient rms of 0.weight is needed"),
        (lambda: convert(sgd, "adam lr=1e-3 l2=1", 3), "gradients 3: a dictionary"),
        (lambda: convert(sgd, "adam lr=1e-3 l2=1", known, weight=1.0), "weight 1.0 with several tensors"),
        (lambda: convert(torch.optim.SGD(net.parameters(), lr=0.1), "adamw lr=1e-3"), "regularizes no tensor"),
        (lambda: convert("adam lr=1e-3 l2=1e-4", "adamw lr=1e-3", {}), "regularizes no tensor"),
        (
            lambda: convert("adam lr=1e-3 l2=1e-4", "adamw lr=1e-3", Gradients(1.0), net=net),
            "net Sequential without an optimizer",
        ),
    ):
        with pytest.raises(InputError, match=said):
            bad()
