"""Closed forms: where a weight goes, without stepping.

lr, strength, momentum, w0 as everywhere; "fresh" means optimizer state zero when the gradient stops. Each form names
its regime; the property tests hold them against the simulation.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import solve_ivp

from dynamics.errors import InputError


def geometric(start: float, share: float, t: np.ndarray) -> np.ndarray:
    """start (1 - share)^t: SGD under L2 (share = lr strength) and, without a gradient, any decoupled decay.

    A decoupled share is lr strength, multiplier strength or strength. Exact. Source: Loshchilov, Hutter, 1711.05101.
    """
    return start * np.power(1 - share, np.asarray(t, dtype=np.float64))


def geometric_steps(share: float, ratio: float) -> int:
    """Steps until (1 - share)^t <= ratio; InputError where that never happens (share outside (0, 2), or = 0)."""
    if not 0 < ratio < 1:
        raise InputError(f"ratio {ratio}: a number in (0, 1) is accepted")
    if not 0 < share < 2:
        raise InputError(f"decay share {share} a step: a share in (0, 2) shrinks a weight")
    if share == 1:
        return 1
    return math.ceil(math.log(ratio) / (math.log1p(-share) if share < 1 else math.log(share - 1)))


def momentum_roots(x: float, momentum: float, nesterov: bool = False) -> tuple[complex, complex]:
    """The two rates of heavy ball (or Nesterov) under L2 with no gradient, x = lr strength; larger modulus first.

    w_t is a mixture of their powers. Heavy ball: r^2 - (1 + mu - x) r + mu = 0; Nesterov as torch has it:
    r^2 - (1 + mu)(1 - x) r + mu (1 - x) = 0. Exact. Source: derived.
    """
    trace = 1 + momentum - x * (1 + momentum if nesterov else 1)
    determinant = momentum * (1 - x) if nesterov else momentum
    root = complex(trace * trace - 4 * determinant) ** 0.5
    first, second = (trace + root) / 2, (trace - root) / 2
    return (first, second) if abs(first) >= abs(second) else (second, first)


def momentum_path(start: float, x: float, momentum: float, t: np.ndarray, nesterov: bool = False) -> np.ndarray:
    """w_t of fresh heavy ball (or Nesterov) under L2 with no gradient, x = lr strength. Exact. Source: derived.

    With distinct rates r, q the mixture is fixed by w_0 and w_1 = (1 - x) w_0 (Nesterov (1 - x (1 + mu)) w_0).
    """
    r, q = momentum_roots(x, momentum, nesterov)
    t = np.asarray(t, dtype=np.float64)
    first = start * (1 - x * (1 + momentum if nesterov else 1))
    if abs(r - q) <= 1e-9 * abs(r):
        raise InputError(f"x {x} with momentum {momentum}: the two rates coincide, no mixture of powers describes it")
    share = (first - q * start) / (r - q)
    return np.real(share * np.power(r, t) + (start - share) * np.power(q, t))


def adam_floor(start: float, lr: float, t: np.ndarray) -> np.ndarray:
    """Fresh Adam + L2 with no gradient and beta1 <= beta2 moves at most lr a step until w changes sign, so w_t is at
    least this line (w0 > 0). Source: derived."""
    return start - lr * np.asarray(t, dtype=np.float64)


def silent_time(theta: float, ratio: np.ndarray, corrected: bool = True) -> np.ndarray:
    """Scaled time S in which a squared-gradient rule under L2 with no gradient shrinks a weight to ratio x start.

    Steps = S start / lr, with theta = lr tau / start and tau = -1 / ln(beta2) (or alpha). The continuous limit
    f' = -f / sqrt(vhat), vhat the running mean of f^2 over theta, bias-corrected as Adam's (corrected) or not as
    RMSprop's. Free of the strength; beta1 and eps are neglected. Source: derived.

    theta > 0; ratio in (0, 1), any shape; returns S of the same shape.
    """
    if not 0 < theta < math.inf:
        raise InputError(f"theta {theta}: a positive finite number is accepted")
    ratio = np.asarray(ratio, dtype=np.float64)
    refused = ratio[~((ratio > 0) & (ratio < 1))]
    if refused.size:
        raise InputError(f"ratio {refused.flat[0]}: numbers in (0, 1) are accepted")

    # s = x^2 takes the root singularity of the uncorrected mean at s = 0 away; y = (ln f, bias-corrected mean of f^2).
    def slope(x: float, y: np.ndarray) -> list[float]:
        logarithm, mean = y
        s = x * x
        spread = s / theta
        # The uncorrected mean is the corrected one times the weight it has gathered.
        weight = -math.expm1(-spread)
        square = math.exp(2 * logarithm)
        vhat = mean if corrected else mean * weight
        return [-2 * x / math.sqrt(vhat), 2 * x * (square - mean) / (theta * weight)]

    # It starts just after 0, where mean = f^2 = 1, and ends where the smallest ratio is passed.
    lowest = math.log(float(ratio.min()))

    def passed(x: float, y: np.ndarray) -> float:
        return float(y[0]) - lowest

    passed.terminal = True  # type: ignore[attr-defined]
    solution = solve_ivp(slope, (1e-6, 1e3), [0.0, 1.0], events=passed, rtol=1e-9, atol=1e-12, dense_output=True)
    if not solution.t_events[0].size:
        raise InputError(f"theta {theta}: ratio {math.exp(lowest)} is not reached")
    grid = np.linspace(1e-6, solution.t[-1], 20_001)
    return np.asarray(np.interp(-np.log(ratio), -solution.sol(grid)[0], grid) ** 2)


def l2_over_decay(arrival: float, sigma: float, strength: float, w: float, eps: float) -> float:
    """How much faster Adam + L2 shrinks a weight than decoupled decay x lr of equal strength.

    Both see gradients that arrive with probability `arrival` and standard deviation sigma:
    1 / (sqrt(arrival sigma^2 + strength^2 w^2) + eps).

    For arrival at least 20 (1 - sqrt(beta2)), where the running mean of squares is settled. Above 1 (L2 stronger) only
    where sqrt(v) + eps < 1. Source: Loshchilov, Hutter, arXiv 1711.05101, proposition 3, with selectivity added here.
    """
    return 1 / (math.sqrt(arrival * sigma * sigma + (strength * w) ** 2) + eps)


def critical_arrival(beta2: float) -> float:
    """1 - sqrt(beta2): the arrival probability below which the mean of 1 / sqrt(v) is infinite. Source: derived."""
    return 1 - math.sqrt(beta2)
