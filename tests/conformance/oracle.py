"""The comparison that decides conformance: our optimizer and torch's, side by side on the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from dynamics.couplings import Coupling
from dynamics.rule import Rule
from dynamics.torch_face import Optimizer

STEPS = 200
# Two orders of the same few operations in float64, carried through 200 steps.
TOLERANCE = 1e-12

# The torch optimizer that each pair of rule and coupling is, and what must be added to its arguments.
TORCH: dict[tuple[str, str], tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    ("sgd", "l2"): (torch.optim.SGD, {}),
    ("momentum", "l2"): (torch.optim.SGD, {}),
    ("nesterov", "l2"): (torch.optim.SGD, {"nesterov": True}),
    ("rmsprop", "l2"): (torch.optim.RMSprop, {}),
    ("adam", "l2"): (torch.optim.Adam, {}),
    ("adam", "decoupled_lr"): (torch.optim.AdamW, {}),
}


# A multiplication of the weights, as a function of the schedule's multiplier.
Factor = Callable[[float], float]


def unchanged(multiplier: float) -> float:
    return 1.0


def spelled(hyper: dict[str, float]) -> dict[str, Any]:
    """Hyperparameters as torch spells them."""
    rest = {name: value for name, value in hyper.items() if name not in ("beta1", "beta2")}
    return rest | ({"betas": (hyper["beta1"], hyper["beta2"])} if "beta1" in hyper else {})


def gradients(seed: int, steps: int = STEPS, size: int = 6, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Noise about a mean that differs by element; a fifth of the entries exactly zero, as of a selective feature."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(steps, size, generator=random, dtype=dtype) + torch.linspace(-1, 1, size, dtype=dtype)
    return noise * (torch.rand(steps, size, generator=random) > 0.2)


def path(
    make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
    given: torch.Tensor,
    multipliers: Sequence[float] | None = None,
    before: Factor = unchanged,
    after: Factor = unchanged,
) -> torch.Tensor:
    """The weights after each step on the given gradients (steps, size); lr follows the multipliers.

    before and after multiply the weights around each step: how an oracle gets a decay that torch does not have.
    """
    weights = torch.nn.Parameter(torch.linspace(-1.0, 2.0, given.shape[1], dtype=given.dtype))
    optimizer = make([weights])
    base = [group["lr"] for group in optimizer.param_groups]
    rows = []
    for t, gradient in enumerate(given):
        multiplier = 1.0 if multipliers is None else multipliers[t]
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr * multiplier
        weights.grad = gradient.clone()
        weights.data.mul_(before(multiplier))
        optimizer.step()
        weights.data.mul_(after(multiplier))
        rows.append(weights.detach().clone())
    return torch.stack(rows)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the largest weight on the path; inf if either is not finite."""
    if not (torch.isfinite(ours).all() and torch.isfinite(theirs).all()):
        return float("inf")
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1.0))


def against_torch(
    rule: Rule,
    coupling: Coupling,
    like: tuple[str, str],
    lr: float,
    strength: float,
    hyper: dict[str, float],
    seed: int = 0,
    multipliers: Sequence[float] | None = None,
) -> float:
    """How far `rule` with `coupling` is from what torch does where it implements the pair named `like`.

    torch has no decay by schedule or by a constant: there the oracle is torch's optimizer without a regularizer, and
    the decay is one multiplication after or before its step.
    """
    settings = {"lr": lr, **spelled(hyper)}
    oracle, extra = TORCH[like if like in TORCH else (like[0], "l2")]
    before: Factor = unchanged
    after: Factor = unchanged
    if like in TORCH:
        extra = extra | {"weight_decay": strength}
    else:
        decays: dict[str, tuple[Factor, Factor]] = {
            "decoupled_lr": (lambda multiplier: 1 - lr * multiplier * strength, unchanged),
            "decoupled_schedule": (unchanged, lambda multiplier: 1 - strength * multiplier),
            "decoupled_constant": (lambda multiplier: 1 - strength, unchanged),
        }
        before, after = decays[like[1]]
    given = gradients(seed)
    ours = path(lambda p: Optimizer(p, rule, coupling, weight_decay=strength, **settings), given, multipliers)
    theirs = path(lambda p: oracle(p, **settings, **extra), given, multipliers, before, after)
    return difference(ours, theirs)
