"""A weight without a gradient whose L2 pull goes through an adaptive rule (section A).

The rule sees nothing but its own pull, strength w, and divides it by a memory of the same: what is left is the speed lr,
not the strength. tau = -1 / ln(beta2): steps over which the squares are remembered; theta = lr tau / start.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from dynamics.errors import InputError
from dynamics.theory.closed.regime import array, below_one, form, not_negative, positive, require

# How far a momentum may trail behind, as a share of the start and of the memory of squares, for its lag to be a correction.
_LAG_OF_START, _LAG_OF_MEMORY = 0.06, 0.2
# Beyond it the step of a turn is not a whole number that a root finder resolves.
_MOST_STEPS = 1e12


@form
def adam_floor(start: float, lr: float, t: ArrayLike, beta1: float = 0.9, beta2: float = 0.999) -> np.ndarray:
    """Fresh Adam + L2 with no gradient and beta1 <= beta2 moves at most lr a step until w changes sign, so w_t is at
    least this line (start > 0).

    Exact as a bound: mhat weighs a falling series of pulls more to its (small) end than vhat does. With beta1 > beta2
    steps of 16 lr were seen. Source: derived (A4).
    """
    positive(start=start)
    not_negative(lr=lr, t=t)
    below_one(beta1=beta1, beta2=beta2)
    require("beta1", beta1, beta1 <= beta2, f"must be at most beta2 = {beta2:g}")
    return np.asarray(start - lr * array(t))


@form
def rmsprop_largest_step(lr: float, alpha: float) -> float:
    """lr / sqrt(1 - alpha): the most that RMSprop moves a weight in one step, whatever the gradient. Exact as a bound,
    and but for eps reached by the first step. Source: derived (A4)."""
    positive(lr=lr)
    below_one(alpha=alpha)
    return lr / math.sqrt(1 - alpha)


@form
def silent_time(theta: float, ratio: ArrayLike, corrected: bool = True) -> np.ndarray:
    """Scaled time S in which a squared-gradient rule under L2 with no gradient shrinks a weight to ratio x start.

    Steps = S start / lr, with theta = lr tau / start and tau = -1 / ln(beta2) (or alpha). The continuous limit
    f' = -f / sqrt(vhat), vhat the running mean of f^2 over theta, bias-corrected as Adam's (corrected) or not as
    RMSprop's. Free of the strength; beta1 and eps are neglected. Source: derived (A5).

    theta > 0; ratio in (0, 1), any shape; returns S of the same shape.
    """
    from scipy.integrate import solve_ivp  # half a second that the other forms need not pay

    positive(theta=theta)
    ratios = array(ratio)
    require("ratio", ratios, (ratios > 0) & (ratios < 1), "numbers in (0, 1) are accepted")

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
    lowest = math.log(float(ratios.min()))

    def passed(x: float, y: np.ndarray) -> float:
        return float(y[0]) - lowest

    passed.terminal = True  # type: ignore[attr-defined]
    solution = solve_ivp(slope, (1e-6, 1e3), [0.0, 1.0], events=passed, rtol=1e-9, atol=1e-12, dense_output=True)
    if not solution.t_events[0].size:
        raise InputError(f"theta {theta}: ratio {math.exp(lowest)} is not reached")
    grid = np.linspace(1e-6, solution.t[-1], 20_001)
    return np.asarray(np.interp(-np.log(ratios), -solution.sol(grid)[0], grid) ** 2)


def _lag(start: float, target: float, lr: float, beta1: float, beta2: float) -> float:
    """Steps by which a momentum sees the weight larger than it is, beta1 / (1 - beta1), where that is a correction."""
    positive(start=start, target=target, lr=lr)
    below_one(beta1=beta1, beta2=beta2)
    require("target", target, target < start, f"must be a number below start = {start:g}")
    require("target / start", target / start, target >= 0.999e-3 * start, "must be at least 0.001")
    lag = beta1 / (1 - beta1)
    most = _LAG_OF_START * start
    require("lr beta1 / (1 - beta1)", lr * lag, lr * lag <= most, f"must be at most {most:.3g}, 6% of start")
    most = _LAG_OF_MEMORY / -math.log(beta2) if beta2 else 0.0
    require("beta1 / (1 - beta1)", lag, lag <= most, f"must be at most {most:.3g}, a fifth of the memory of squares")
    return lag


def _little_eps(eps: float, strength: float, target: float) -> None:
    most = strength * target / 100
    require("eps", eps, eps <= most, f"must be at most {most:.3g}, a hundredth of strength x target")


@form
def adam_steps(
    start: float,
    target: float,
    lr: float,
    strength: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> float:
    """Steps in which fresh Adam + L2 with no gradient takes a weight from start to target.

    S start / lr - beta1/(1-beta1) ln(start/target): the time of `silent_time`, less what the momentum gains, since it
    still sees the larger weight of beta1/(1-beta1) steps ago. Free of the strength. Approximate: seen within
    3 + 2.5 beta1/(1-beta1) steps and 3% (13 of 2722 at the defaults). For theta in [0.02, 20], target >= start / 1000,
    lr beta1/(1-beta1) <= 6% of start, beta1/(1-beta1) <= tau/5, eps <= strength target / 100. Source: derived (A5).
    """
    lag = _lag(start, target, lr, beta1, beta2)
    positive(strength=strength)
    theta = -lr / (start * math.log(beta2)) if beta2 else 0.0
    require("theta", theta, 0.02 <= theta <= 20, "a number in [0.02, 20] is accepted (lr tau / start)")
    _little_eps(eps, strength, target)
    return float(silent_time(theta, np.array(target / start))) * start / lr - lag * math.log(start / target)


@form
def adamax_steps(
    start: float, target: float, lr: float, strength: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> float:
    """Steps in which fresh Adamax + L2 with no gradient takes a weight from start to target.

    At speed lr down to w_c = min(start, lr tau), where the weight begins to fall faster than the memory of its largest
    pull: T = (start-w_c)/lr + tau ln(1 + ln(w_c/target) w_c/(lr tau)), less the momentum's beta1/(1-beta1)
    ln(start/target). Approximate: seen within 3 + 3 beta1/(1-beta1) steps and 5%. The regime of `adam_steps`, any theta.
    Source: derived (A7).
    """
    lag = _lag(start, target, lr, beta1, beta2)
    positive(strength=strength)
    _little_eps(eps, strength, target)
    tau = -1 / math.log(beta2) if beta2 else 0.0
    knee = min(start, lr * tau)
    gained = lag * math.log(start / target)
    if target >= knee:
        return (start - target) / lr - gained
    return (start - knee) / lr + tau * math.log(1 + math.log(knee / target) * knee / (lr * tau)) - gained


def _gathered(first: float) -> float:
    """What the sum of 1/sqrt(k + first), k = 1, 2, ..., stays behind its integral 2 sqrt(n + 1/2 + first), n large:
    minus Hurwitz's zeta(1/2, 1 + first); 1.46 at 0."""
    k = np.arange(1, 2_001)
    return float(2 * math.sqrt(k[-1] + 0.5 + first) - np.sum(1 / np.sqrt(k + first)))


@form
def adagrad_steps(
    start: float, target: float, lr: float, strength: float, root: float = 0.0, eps: float = 1e-10
) -> float:
    """Steps in which Adagrad + L2 with no gradient takes a weight from start to target, its sum of squares being root^2.

    T = (q/(lr strength) + start^2/(4 lr^2)) ln(start/target) - (start^2-target^2)/(8 lr^2), where q is the root that the
    sum would need to be gathered continuously: -zeta(1/2, 1 + (root/(strength start))^2) strength start / 2 with Hurwitz's
    zeta, which is root itself where that is large and 0.73 strength start for a fresh Adagrad (with q = 0 T would be
    3% short at lr = start/100, and 20% at start/10). Free of the strength where root = 0.
    Approximate: seen within 1.5 steps + lr/(2 start) of T. For lr <= start/10, eps <= strength target / 100.
    Source: derived (A6).
    """
    positive(start=start, target=target, lr=lr, strength=strength)
    not_negative(root=root, eps=eps)
    require("target", target, target < start, f"must be a number below start = {start:g}")
    require("lr", lr, lr <= start / 10 * (1 + 1e-12), f"must be at most {start / 10:.3g}, a tenth of start")
    _little_eps(eps, strength, target)
    pull = strength * start
    q = _gathered((root / pull) ** 2) * pull / 2
    return (q / (lr * strength) + (start / lr) ** 2 / 4) * math.log(start / target) - (start**2 - target**2) / (
        8 * lr**2
    )


@form
def residual_path(start: float, lr: float, strength: float, sigma: float, beta2: float, t: ArrayLike) -> np.ndarray:
    """start exp(-(2 tau lr strength/sigma)(e^(t/(2 tau)) - 1)): Adam + L2 when the gradient stops, sqrt(v) being sigma.

    What is left of the old gradients' squares sets the pull until strength w outgrows it; v is at least that residue, so
    w_t stays at or above this (but for the momentum, see `residual_steps`). Continuous limit. Source: derived (A9).
    """
    positive(start=start, lr=lr, strength=strength, sigma=sigma, beta2=beta2)
    below_one(beta2=beta2)
    not_negative(t=t)
    memory = -2 / math.log(beta2)
    return np.asarray(start * np.exp(-memory * lr * strength / sigma * np.expm1(array(t) / memory)))


@form
def residual_steps(ratio: float, lr: float, strength: float, sigma: float, beta2: float) -> float:
    """2 tau ln(1 + ln(1/ratio) sigma/(2 tau lr strength)): no sooner does Adam + L2 take a weight to ratio x its size when
    the gradient stops with sqrt(v) = sigma; ratio 1/2 is the half-life.

    Exact for continuous time and beta1 = 0; in steps the passage was seen up to 3 + beta1/(1-beta1) ln(1/ratio)
    earlier. A bound, close where strength w << sigma e^(-T/(2 tau)) at its end. Source: derived (A9).
    """
    positive(lr=lr, strength=strength, sigma=sigma, beta2=beta2)
    below_one(beta2=beta2)
    require("ratio", ratio, 0 < ratio < 1, "a number in (0, 1) is accepted")
    memory = -2 / math.log(beta2)
    return memory * math.log1p(-math.log(ratio) * sigma / (memory * lr * strength))


@form
def lion_overshoot(start: float, lr: float, beta1: float = 0.9, beta2: float = 0.99) -> float:
    """How far below 0 fresh Lion + L2 with no gradient carries a weight from start > 0 before it turns: a positive length.

    It moves lr a step, free of the strength, until beta1 m + (1-beta1) g changes sign: at the first step t with
    start - lr t + beta1 lr/(1-beta2) <= beta1 beta2^t (start + lr/(1-beta2)). From far away that is beta1 lr/(1-beta2),
    90 lr at the defaults, rounded up to the next step. Exact. Source: derived (A13).
    """
    from scipy.optimize import brentq

    positive(start=start, lr=lr)
    below_one(beta1=beta1, beta2=beta2)
    behind = lr / (1 - beta2)
    positive(**{"lr / (1 - beta2)": behind})
    require("start / lr", start / lr, start / lr <= _MOST_STEPS, f"must be at most {_MOST_STEPS:g}")

    def ahead(t: float) -> float:
        return start - lr * t + beta1 * behind - beta1 * math.exp(t * math.log(beta2)) * (start + behind)

    if beta2 == 0:
        turn = math.ceil((start + beta1 * behind) / lr)
    else:
        # Concave and positive at 0, so it crosses once.
        turn = math.ceil(brentq(ahead, 0.0, (start + beta1 * behind) / lr + 1, xtol=1e-9, rtol=1e-14))
    return lr * turn - start
