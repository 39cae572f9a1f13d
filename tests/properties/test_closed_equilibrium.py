"""Where weights settle under pure noise (C): lanes with fixed seeds, tolerances in standard errors plus the stated error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.paths import mean_and_error, noisy

from dynamics.couplings import COUPLINGS, compose
from dynamics.rules import RULES
from dynamics.theory import closed
from dynamics.words import NUMPY

LANES = 500


def mean_square(rule: str, coupling: str, settle: float, memory: float, **given: Any) -> tuple[float, float]:
    """E[w^2] and its standard error; settle: steps before looking, memory: steps over which w^2 is remembered."""
    record = np.unique(np.linspace(settle, settle + 20 * memory + 500, 60, dtype=int))
    return mean_and_error(noisy(rule, coupling, record, LANES, start=0.0, **given) ** 2)


def close(found: tuple[float, float], formula: float, within: float = 0.0) -> bool:
    """Within four standard errors and the stated error of the formula."""
    value, error = found
    return abs(value - formula) <= 4 * error + within * formula


class TestMeanSquares:
    # share = lr strength up to near its limit: the formulas are exact, not of first order.
    @pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
    @given(share=st.floats(0.02, 1.9), lr=st.floats(0.01, 1), arrival=st.floats(0.1, 1), sigma=st.floats(0.1, 10))
    @settings(max_examples=12)
    def test_c_sgd(self, coupling: str, share: float, lr: float, arrival: float, sigma: float) -> None:
        given, memory = (
            {"lr": lr, "strength": share / lr, "arrival": arrival, "sigma": sigma},
            1 / min(share, 2 - share),
        )
        formula = closed.sgd_mean_square(lr, share / lr, sigma * math.sqrt(arrival))
        assert close(mean_square("sgd", coupling, 10 * memory, memory, **given), formula)

    @given(x=st.floats(0.05, 0.95), momentum=st.floats(0.05, 0.9), sigma=st.floats(0.1, 10))
    @settings(max_examples=12)
    def test_c_momentum(self, x: float, momentum: float, sigma: float) -> None:
        strength = 2 * (1 + momentum) * x / 0.1
        memory = -1 / math.log(abs(closed.momentum_roots(0.1 * strength, momentum)[0]))
        formula = closed.momentum_mean_square(0.1, strength, sigma, momentum)
        given = {"lr": 0.1, "strength": strength, "sigma": sigma, "momentum": momentum}
        assert close(mean_square("momentum", "l2", 10 * memory + 10, memory, **given), formula)

    # Every two of the three axes meet in each of their values.
    @pytest.mark.parametrize(("lr", "strength", "beta1", "beta2", "arrival", "sigma"), [
        (*rate, *betas, *gradients)
        for k, rate in enumerate([(0.1, 0.1), (0.1, 1.0), (1.0, 0.5)])
        for n, betas in enumerate([(0.9, 0.99), (0.0, 0.999), (0.9, 0.999)])
        for gradients in [[(1.0, 1e-3), (0.5, 1.0), (0.11, 30.0)][(k + n) % 3]]
    ])  # fmt: skip
    def test_c_adamw(
        self, lr: float, strength: float, beta1: float, beta2: float, arrival: float, sigma: float
    ) -> None:
        memory = 1 / (lr * strength) + 10
        given = {"lr": lr, "strength": strength, "beta1": beta1, "beta2": beta2, "arrival": arrival, "sigma": sigma}
        found = mean_square("adam", "decoupled_lr", 8 / (1 - beta2) + 5 * memory, memory, **given)
        formula = closed.adamw_mean_square(lr, strength, beta1, beta2, arrival)
        assert close(found, formula, 0.02 if arrival >= 100 * closed.critical_arrival(beta2) else 0.08)

    def test_c_adamw_falls_short_of_its_leading_order(self) -> None:
        found = mean_square("adam", "decoupled_lr", 8_000, 110, lr=0.1, strength=0.1, sigma=1.0)
        assert found[0] + 3 * found[1] < 0.1 / (2 * 0.1)

    @pytest.mark.parametrize(
        ("lr", "strength", "sigma", "arrival", "beta1"),
        [(1e-3, 0.1, 10.0, 1.0, 0.9), (1e-3, 0.1, 0.1, 1.0, 0.9), (1e-3, 0.1, 1.0, 0.1, 0.9), (1e-2, 1.0, 10.0, 1.0, 0.9),
         (1e-2, 0.1, 0.5, 1.0, 0.0)],
    )  # fmt: skip
    def test_c_adam_with_l2(self, lr: float, strength: float, sigma: float, arrival: float, beta1: float) -> None:
        given = {"lr": lr, "strength": strength, "sigma": sigma, "arrival": arrival, "beta1": beta1}
        memory = min(sigma * math.sqrt(arrival) / (lr * strength), 20_000)
        found = mean_square("adam", "l2", 8_000 + 4 * memory, memory, **given)
        assert close(found, closed.adam_l2_mean_square(lr, strength, sigma, arrival, beta1), 0.02)

    @given(share=st.floats(0.02, 1.9), lr=st.floats(0.01, 1), arrival=st.floats(0.1, 1))
    @settings(max_examples=12)
    def test_c_sign_steps(self, share: float, lr: float, arrival: float) -> None:
        given, memory = {"lr": lr, "strength": share / lr, "arrival": arrival, "sigma": 1.0}, 1 / min(share, 2 - share)
        found = mean_square("lion", "decoupled_lr", 10 * memory, memory, beta1=0.0, **given)
        assert close(found, closed.sign_mean_square(lr, share / lr, arrival))


def scale_invariant(
    rule: str,
    coupling: str,
    lr: float,
    strength: float,
    slope: float,
    size: int,
    steps: tuple[int, int],
    **hyper: float,
) -> tuple[float, float]:
    """Mean norm and mean angle a step (radians) of weights whose gradient is orthogonal to them, of norm slope/|w|."""
    rng, copies = np.random.default_rng(0), 20
    step, values = compose(RULES[rule], COUPLINGS[coupling], NUMPY), RULES[rule].hyperparameters(**hyper)
    w = rng.normal(size=(copies, size)) / math.sqrt(size)
    inner: tuple[Any, ...] = RULES[rule].fresh(w, values)
    norms, angles = [], []
    for t in range(steps[1]):
        z, length = rng.normal(size=w.shape), np.linalg.norm(w, axis=1, keepdims=True)
        g = z - (z * w).sum(axis=1, keepdims=True) * w / length**2
        g *= slope / (length * np.linalg.norm(g, axis=1, keepdims=True))
        before = w
        w, *rest = step(w, g, inner, lr, 1.0, strength, tuple(values.values()))
        inner = tuple(rest)
        if t >= steps[0]:
            norms.append(np.linalg.norm(w, axis=1))
            cosine = (before * w).sum(axis=1) / (length[:, 0] * norms[-1])
            angles.append(np.arccos(np.minimum(cosine, 1)))
    return float(np.mean(norms)), float(np.mean(angles))


class TestScaleInvariantWeights:
    @pytest.mark.parametrize(("lr", "strength", "slope"), [(0.1, 0.5, 1.0), (0.5, 0.4, 10.0), (0.02, 2.0, 0.1)])
    @pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
    def test_c_sgd_is_exact(self, lr: float, strength: float, slope: float, coupling: str) -> None:
        norm, angle = scale_invariant("sgd", coupling, lr, strength, slope, 20, (600, 620))
        # The size is settled to the last digits; the angle's cosine loses half of them.
        assert norm == pytest.approx(closed.scale_invariant_sgd_norm(lr, strength, slope), rel=1e-8)
        assert angle == pytest.approx(closed.sgd_rotation(lr, strength), rel=1e-6)

    @pytest.mark.parametrize("slope", [1e-3, 10.0])
    def test_c_adamw_is_free_of_the_gradients_scale(self, slope: float) -> None:
        lr, strength = 0.01, 0.5
        norm, angle = scale_invariant(
            "adam", "decoupled_lr", lr, strength, slope, 100, (4_000, 7_000), beta2=0.99, eps=1e-12
        )
        assert norm == pytest.approx(closed.scale_invariant_adamw_norm(lr, strength, 100), rel=0.03)
        assert angle == pytest.approx(closed.adamw_rotation(lr, strength), rel=0.03)

    @pytest.mark.parametrize("slope", [0.3, 10.0])
    def test_c_adam_with_l2_is_not(self, slope: float) -> None:
        lr, strength = 0.01, 0.05
        norm, _ = scale_invariant("adam", "l2", lr, strength, slope, 100, (9_000, 12_000), beta2=0.99, eps=1e-12)
        assert norm == pytest.approx(closed.scale_invariant_adam_l2_norm(lr, strength, slope, 100), rel=0.03)
