"""Kinds of parameters beside rows of float64: half precision, complex, strided, matrices for Muon."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conformance.libraries import TORCH, torchs
from conformance.oracle import TOLERANCE, difference, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import rates, strengths
from torch.optim import _muon

from dynamics.couplings import COUPLINGS
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES

PAIRS = sorted(TORCH)
# eps that float16 can hold.
FINE = {"eps": 1e-3}


def path(make: Any, given: torch.Tensor) -> torch.Tensor:
    """The weights after each step on the given gradients (steps, size)."""
    weights = torch.nn.Parameter(torch.linspace(-1.0, 2.0, given.shape[1], dtype=given.dtype))
    optimizer, rows = make([weights]), []
    for gradient in given:
        weights.grad = gradient.clone()
        optimizer.step()
        rows.append(weights.detach().clone())
    return torch.stack(rows)


def both(rule: str, coupling: str, **settings: Any) -> list[Any]:
    """Makers of ours and of torch's optimizer with these settings."""
    kind, extra = TORCH[rule, coupling]
    names = ("momentum", "eps")
    own = {name: {"momentum": 0.8, **FINE}[name] for name in names if name in RULES[rule].defaults}
    settings = {"lr": 0.01, "weight_decay": 0.1, **own, **settings}
    return [lambda p: Optimizer(p, rule, coupling, **settings), lambda p: kind(p, **torchs(settings), **extra)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_lower_precision_is_torchs_to_its_rounding(dtype: torch.dtype) -> None:
    given = gradients(2, steps=20).to(dtype)
    for rule, coupling in PAIRS:
        # Weights below 4, 20 steps that round each time, in another order of operations.
        tolerance = 20 * 4 * torch.finfo(dtype).eps / 2
        # v - m^2 cancels where rounding is 1 in 256.
        if (rule, dtype) == ("rmsprop_centered", torch.bfloat16):
            tolerance *= 4
        ours, theirs = (path(make, given).double() for make in both(rule, coupling))
        assert difference(ours, theirs) <= tolerance, rule
        assert difference(ours, path(both(rule, coupling)[0], given.double())) <= 2 * tolerance, rule


def test_strides_do_not_matter() -> None:
    for rule in RULES:
        ends = []
        for turned in (False, True):
            start = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
            p = torch.nn.Parameter(start.t().contiguous().t() if turned else start.clone())
            optimizer = Optimizer([p], rule, "l2", lr=0.05, weight_decay=0.1)
            for row in gradients(1, steps=5, size=12):
                p.grad = row.view(3, 4).clone()
                optimizer.step()
            assert p.is_contiguous() is not turned
            ends.append(p.detach())
        torch.testing.assert_close(ends[1], ends[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_what_is_not_a_number_does_not_hide(coupling: str) -> None:
    # torch's own sign of NaN is 0.
    for rule in RULES:
        p = torch.nn.Parameter(torch.ones(2, 2))
        optimizer = Optimizer([p], rule, coupling, weight_decay=0.1 if coupling != "none" else 0.0)
        p.grad = torch.full_like(p, torch.nan)
        optimizer.step()
        assert p.isnan().all(), rule


def exact(gradient: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> torch.Tensor:
    """torch's Newton-Schulz of Muon without its rounding to bfloat16."""
    a, b, c = coefficients
    x = gradient.T if gradient.size(0) > gradient.size(1) else gradient
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if gradient.size(0) > gradient.size(1) else x


def muons(rows: int, columns: int, lr: float, strength: float, momentum: float, dtype: torch.dtype) -> list[Any]:
    """Ours and torch's weights after 30 steps of Muon on the same gradients."""
    ends = []
    for kind in (lambda p, **k: Optimizer(p, "muon", "decoupled_lr", **k), torch.optim.Muon):
        p = torch.nn.Parameter(torch.linspace(-1, 1, rows * columns, dtype=dtype).view(rows, columns))
        optimizer = kind([p], lr=lr, weight_decay=strength, momentum=momentum)
        for row in gradients(3, steps=30, size=rows * columns, dtype=dtype):
            p.grad = row.view(rows, columns).clone()
            optimizer.step()
        ends.append(p.detach())
    return ends


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    lr=rates,
    strength=strengths,
    momentum=st.floats(0.01, 0.99),
)
@settings(max_examples=15)
def test_muon_is_torchs_but_for_bfloat16(shape: Any, lr: float, strength: float, momentum: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_muon, "_zeropower_via_newtonschulz", exact)
        assert difference(*muons(*shape, lr, strength, momentum, torch.float64)) <= TOLERANCE
