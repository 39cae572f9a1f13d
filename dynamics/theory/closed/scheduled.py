"""Decay under a learning-rate schedule (section F). rates: the learning rate of every step, lr x multiplier."""

from __future__ import annotations

import math

import numpy as np

from dynamics.theory.closed.regime import Series, array, below_one, finite, form, not_negative, positive, require


@form
def scheduled_decay(start: float, rates: Series, strength: float) -> np.ndarray:
    """start prod(1 - lr_t strength), before each step and after the last: decay x lr without a gradient, any rule. Exact.

    -ln(w/start) is about strength sum(rates), whatever the schedule's shape, for lr_t strength << 1. Source: algebra (F).
    """
    finite(start=start)
    not_negative(rates=rates, strength=strength)
    return np.asarray(start * np.concatenate([[1.0], np.cumprod(1 - array(rates) * strength)]))


@form
def half_life(share: float) -> float:
    """-ln 2/ln(1 - share): steps to half of a weight that loses that share a step. share in (0, 1). Exact (F)."""
    require("share", share, 0 < share < 1, "a number in (0, 1) is accepted")
    return -math.log(2) / math.log1p(-share)


@form
def decade_ratio(start: float, near: float, far: float) -> float:
    """ln(start/far)/ln(start/near): how much longer geometric decay takes to `far` than to `near`; 4 from 1 to 1e-12
    against 1e-3. start > near > far > 0. Exact. Source: algebra (E6)."""
    positive(start=start, near=near, far=far)
    require("near", near, far < near < start, f"a number between far = {far:g} and start = {start:g} is accepted")
    return math.log(start / far) / math.log(start / near)


@form
def averaged_updates(start: float, updates: Series, lr: float, strength: float) -> float:
    """(1-x)^T start + sum x (1-x)^(T-1-t) (-u_t/strength), x = lr strength: the weight after updates w <- (1-x) w - lr u.

    So AdamW's weight is a running mean of -u/strength over 1/(lr strength) steps. Exact. lr strength in (0, 2). Source:
    Wang, Aitchison, arXiv 2405.13698 (F).
    """
    finite(start=start, updates=updates)
    positive(lr=lr, strength=strength)
    x = lr * strength
    require("lr strength", x, x < 2, "a number in (0, 2) is accepted")
    u = array(updates)
    weights = x * np.power(1 - x, np.arange(len(u))[::-1])
    return float((1 - x) ** len(u) * start - np.sum(weights * u) / strength)


@form
def scheduled_floor(start: float, rates: Series, beta1: float = 0.9, beta2: float = 0.999) -> np.ndarray:
    """start - sum of the rates so far: fresh Adam + L2 without a gradient stays at or above it until w changes sign.

    Exact as a bound, for any schedule, beta1 <= beta2. Source: derived (F, A4).
    """
    positive(start=start)
    not_negative(rates=rates)
    below_one(beta1=beta1, beta2=beta2)
    require("beta1", beta1, beta1 <= beta2, f"must be at most beta2 = {beta2:g}")
    return np.asarray(start - np.concatenate([[0.0], np.cumsum(array(rates))]))


@form
def lagging_mean_square(first: float, rates: Series, strength: float, corrected: bool = False) -> np.ndarray:
    """E[w^2] before each step and after the last, of steps lr_t sign(g) with decay x lr, g being pure noise.

    E <- (1 - share)^2 E + lr_t^2, share = lr_t strength, or lr_t^2 strength/max(rates) if corrected. Exact for sign
    steps; AdamW's to leading order. Under a falling schedule E trails lr_t/(2 strength) by 1/(2 lr_t strength) steps;
    the corrected decay aims at max(rates)/(2 strength) throughout, so that nothing has to follow. lr_t strength <= 1.
    Source: Defazio, arXiv 2506.02285; recursion derived (F).
    """
    steps = array(rates)
    not_negative(first=first, rates=steps)
    positive(strength=strength, largest=steps.max())
    require("lr strength", steps * strength, steps * strength <= 1, "must be at most 1")
    shares = steps * strength * (steps / steps.max() if corrected else 1.0)
    found = np.empty(len(steps) + 1)
    found[0] = first
    for t, (lr, share) in enumerate(zip(steps, shares, strict=True)):
        found[t + 1] = (1 - share) ** 2 * found[t] + lr * lr
    return found
