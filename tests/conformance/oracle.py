"""The comparison that decides conformance: our optimizer and torch's, side by side on the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from dynamics.couplings import Coupling
from dynamics.optimizer import Optimizer
from dynamics.rule import Rule

STEPS = 200
# Two orders of the same few operations in float64, carried through 200 steps.
TOLERANCE = 1e-12

# The torch optimizer that each pair of rule and coupling is, and what must be added to its arguments.
TORCH: dict[tuple[str, str], tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    ("sgd", "l2"): (torch.optim.SGD, {}),
    ("momentum", "l2"): (torch.optim.SGD, {}),
    ("nesterov", "l2"): (torch.optim.SGD, {"nesterov": True}),
    ("adagrad", "l2"): (torch.optim.Adagrad, {}),
    ("adadelta", "l2"): (torch.optim.Adadelta, {}),
    ("rmsprop", "l2"): (torch.optim.RMSprop, {}),
    ("rmsprop_momentum", "l2"): (torch.optim.RMSprop, {}),
    ("rmsprop_centered", "l2"): (torch.optim.RMSprop, {"centered": True}),
    ("adam", "l2"): (torch.optim.Adam, {}),
    ("adam", "decoupled_lr"): (torch.optim.AdamW, {}),
    ("amsgrad", "l2"): (torch.optim.Adam, {"amsgrad": True}),
    ("amsgrad", "decoupled_lr"): (torch.optim.AdamW, {"amsgrad": True}),
    ("adamax", "l2"): (torch.optim.Adamax, {}),
    ("nadam", "l2"): (torch.optim.NAdam, {}),
    ("nadam", "decoupled_lr"): (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    ("radam", "l2"): (torch.optim.RAdam, {}),
    ("radam", "decoupled_lr"): (torch.optim.RAdam, {"decoupled_weight_decay": True}),
}
# The rules that torch has element by element; its Muon is held to another comparison.
TORCH_RULES = sorted({rule for rule, _ in TORCH})


# A multiplication of the weights, as a function of the schedule's multiplier.
Factor = Callable[[float], float]


def unchanged(multiplier: float) -> float:
    return 1.0


def spelled(hyper: dict[str, float]) -> dict[str, Any]:
    """Hyperparameters as torch's users spell them: betas as one."""
    betas = tuple(hyper[name] for name in ("beta1", "beta2", "beta3") if name in hyper)
    rest = {name: value for name, value in hyper.items() if name not in ("beta1", "beta2", "beta3")}
    return rest | ({"betas": betas} if betas else {})


def torchs(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of ours under torch's names."""
    return {"initial_accumulator_value" if k == "initial_accumulator" else k: x for k, x in settings.items()}


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
    sign: float = 0.0,
    cautious: Factor = unchanged,
) -> torch.Tensor:
    """The weights after each step on the given gradients (steps, size); lr follows the multipliers.

    How an oracle gets a regularizer that torch does not have: before and after multiply the weights around each step;
    sign times the weight's sign joins the gradient; cautious multiplies the weight of before the step, and what it
    loses is taken off where the step did not move it away from 0.
    """
    weights = torch.nn.Parameter(torch.linspace(-1.0, 2.0, given.shape[1], dtype=given.dtype))
    optimizer = make([weights])
    base = [group["lr"] for group in optimizer.param_groups]
    rows = []
    for t, gradient in enumerate(given):
        multiplier = 1.0 if multipliers is None else multipliers[t]
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr * multiplier
        weights.grad = gradient + sign * weights.detach().sign()
        weights.data.mul_(before(multiplier))
        start = weights.detach().clone()
        optimizer.step()
        weights.data.mul_(after(multiplier))
        inward = (weights.detach() - start) * start <= 0
        weights.data.sub_(torch.where(inward, (1 - cautious(multiplier)) * start, 0.0))
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

    For a coupling that torch lacks the oracle is torch's optimizer without a regularizer, and the pull is done by hand
    around its step (see `path`).
    """
    settings = {"lr": lr, **spelled(hyper)}
    oracle, extra = TORCH[like if like in TORCH else (like[0], "l2")]
    by_hand: dict[str, Any] = {}
    if like in TORCH:
        extra = extra | {"weight_decay": strength}
    else:
        by_hand = {
            "none": {},
            "l1": {"sign": strength},
            "decoupled_lr": {"before": lambda multiplier: 1 - lr * multiplier * strength},
            "decoupled_schedule": {"after": lambda multiplier: 1 - strength * multiplier},
            "decoupled_constant": {"before": lambda multiplier: 1 - strength},
            "corrected": {"before": lambda multiplier: 1 - lr * multiplier * multiplier * strength},
            "cautious": {"cautious": lambda multiplier: 1 - lr * multiplier * strength},
        }[like[1]]
    given = gradients(seed)
    taken = strength if coupling.doors else 0.0
    ours = path(lambda p: Optimizer(p, rule, coupling, weight_decay=taken, **settings), given, multipliers)
    with scalars(torch.float64):
        theirs = path(lambda p: oracle(p, **torchs(settings), **extra), given, multipliers, **by_hand)
    return difference(ours, theirs)


@contextmanager
def scalars(dtype: torch.dtype) -> Iterator[None]:
    """Let torch keep its step counts and products of momenta in this type: it takes the default, float32, for any weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
