"""A BatchNorm + ReLU feature y = relu(gamma xhat + beta), and how it dies (section E).

a = beta/abs(gamma): the feature's threshold in standard deviations of xhat, which is standard normal where a formula
needs its law. Sources name the row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from dynamics.theory.closed.regime import (
    MOST,
    Series,
    array,
    below_one,
    counted,
    finite,
    form,
    not_negative,
    positive,
    probability,
    require,
)

# What a walk of unit steps oversteps a line by, on average: -zeta(1/2)/sqrt(2 pi) for normal steps; by Spitzer's formula
# for uniform ones; a walk of +-1 lands on it.
OVERSHOOT = {"normal": 0.5826, "uniform": 0.5160, "sign": 0.0}


@form
def inactive_share(gamma: ArrayLike, beta: ArrayLike) -> np.ndarray:
    """Phi(-a): the share of inputs for which the feature is 0. Exact for normal xhat; gamma not 0. Source: standard (E1)."""
    from scipy.special import ndtr

    finite(gamma=gamma, beta=beta)
    require("gamma", gamma, array(gamma) != 0, "a number other than 0 is accepted")
    return np.asarray(ndtr(-array(beta) / np.abs(gamma)))


@form
def mean_activation(gamma: ArrayLike, beta: ArrayLike) -> np.ndarray:
    """E[y] = abs(gamma) phi(a) + beta Phi(a). Exact for normal xhat; gamma not 0. Source: standard (E1)."""
    active = 1 - inactive_share(gamma, beta)
    size = np.abs(gamma)
    density = np.exp(-0.5 * (array(beta) / size) ** 2) / math.sqrt(2 * math.pi)
    return np.asarray(size * density + array(beta) * active)


@form
def activation_slopes(gamma: ArrayLike, beta: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(dE[y]/d gamma, dE[y]/d beta) = (sign(gamma) phi(a), Phi(a)). Exact for normal xhat; gamma not 0. Source: standard
    (E1)."""
    active = 1 - inactive_share(gamma, beta)
    a = array(beta) / np.abs(gamma)
    return np.asarray(np.sign(gamma) * np.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)), np.asarray(active)


@form
def normalized_bound(count: int) -> float:
    """sqrt(count - 1): no value of a batch of `count` (images x height x width), normalized by its own mean and biased
    variance, is larger in size. Attained by one outlier among equals; exact. Source: derived (E2)."""
    counted(count=count)
    return math.sqrt(count - 1)


@form
def certified_dead(gamma: ArrayLike, beta: ArrayLike, count: int, rounding: float = 0.0) -> np.ndarray:
    """beta <= -abs(gamma) sqrt(count - 1): output and gradient are exactly 0 on EVERY training batch of that size.

    rounding: relative error of the normalized values; 0 in exact arithmetic, but single precision oversteps the bound
    by up to 5e-5 (batches far from 0), so take 1e-4 there. Evaluation with running statistics is not bounded, and not
    covered. Source: derived (E2).
    """
    finite(gamma=gamma, beta=beta)
    not_negative(rounding=rounding)
    return np.asarray(array(beta) <= -np.abs(gamma) * normalized_bound(count) * (1 + rounding))


@form
def silent_batch(selectivity: float, images: int) -> float:
    """s^images: the probability that no image of a batch brings a gradient. Exact for independent images (E3)."""
    require("selectivity", selectivity, 0 <= selectivity <= 1, "a number in [0, 1] is accepted")
    counted(images=images)
    return selectivity**images


@form
def death_steps(
    gamma: float, beta: float, lr: float, largest: float, beta2: float = 0.999, beta1: float = 0.9
) -> float:
    """(abs(gamma) x_max - abs(beta))/(lr (x_max - 1)): steps in which fresh Adam + L2 without a gradient takes a feature
    that is active beyond `largest` = x_max only (beta < -abs(gamma)) to exact zero: both shrink by lr a step.

    Only where both move at constant speed: lr tau at most 1% of gamma (tau = -1/ln(beta2)), within 4% there;
    at the defaults (lr 1e-3, gamma 1) it takes twice as long. beta1 <= beta2. Source: derived (E4).
    """
    positive(lr=lr)
    finite(gamma=gamma, beta=beta)
    below_one(beta1=beta1, beta2=beta2)
    require("beta1", beta1, beta1 <= beta2, f"must be at most beta2 = {beta2:g}")
    size = abs(gamma)
    require("beta", beta, beta < -size, f"must be less than -abs(gamma) = {-size:g}: else gamma does not vanish first")
    require("largest", largest, largest * size > -beta, f"must be more than beta/gamma = {-beta / size:g}")
    theta = -lr / (size * math.log(beta2)) if beta2 else 0.0
    require("lr tau / gamma", theta, theta <= 0.01, "must be at most 0.01")
    return (size * largest + beta) / (lr * (largest - 1))


@form
def revives(sigma_gamma: float, sigma_beta: float) -> bool:
    """sigma_beta < sigma_gamma: whether Adam + L2 brings a dead feature back when its gradient has stopped with those roots
    of v.

    The pull on each is lr strength/sqrt(v), so beta falls faster than gamma and a = beta/abs(gamma) rises towards 0. As long
    as the residues outweigh the pulls (`dynamics.theory.closed.residual_path`). Source: derived (E5).
    """
    positive(sigma_gamma=sigma_gamma, sigma_beta=sigma_beta)
    return sigma_beta < sigma_gamma


def _run(arrival: float, length: int, steps: int) -> None:
    """InputError unless a run of `length` steps fits in `steps`."""
    probability(arrival=arrival)
    require("length", length, length >= 1, "must be at least 1")
    require("steps", steps, steps >= length, f"must be at least length = {length}")


@form
def starvation(arrival: float, length: int, steps: int) -> float:
    """1 - exp(-((n-L) p + 1)(1-p)^L): probability of a run of at least L = `length` steps without a gradient in n = `steps`.

    arrival = p: probability that the batch of a step brings one. Approximate: too small by at most a third of
    q = (1 + L p)(1-p)^L, for q <= 0.1. To kill, L must reach `dynamics.theory.closed.residual_steps`. Source: derived (E8).
    """
    _run(arrival, length, steps)
    q = (1 + length * arrival) * (1 - arrival) ** length
    require("(1 + L p)(1-p)^L", q, q <= 0.1, "must be at most 0.1, see starvation_exact")
    return -math.expm1(-((steps - length) * arrival + 1) * (1 - arrival) ** length)


@form
def starvation_exact(arrival: float, length: int, steps: int) -> float:
    """The probability of `starvation` without approximation, by recursion over the steps; any length <= steps.

    P(no run by k) = P(no run by k-1) - p (1-p)^L P(no run by k-L-1). Source: Feller 1968, volume 1, XIII.7 (E8).
    """
    _run(arrival, length, steps)
    require("steps", steps, steps <= MOST, f"must be at most {MOST:,}, all of which are gone through")
    starved = (1 - arrival) ** length
    none = [1.0] * length + [1 - starved]
    for k in range(length + 1, steps + 1):
        none.append(none[-1] - arrival * starved * none[k - length - 1])
    return 1 - none[steps]


@form
def shared_l2(arrivals: Series, target: float, strength: float) -> np.ndarray:
    """w_k = p_k Y/(strength + sum p^2): K features that together fit Y, loss (sum p_k w_k - Y)^2/2, under L2. Exact.

    A universal feature keeps more than a selective one, in proportion to p. Source: ridge regression (E9).
    """
    p = array(arrivals)
    probability(arrivals=p)
    positive(strength=strength)
    finite(target=target)
    return np.asarray(p * target / (strength + np.sum(p * p)))


@form
def shared_adamw(arrivals: Series, target: float, strength: float) -> float:
    """min(Y/sum p, 1/strength): the same features under noiseless AdamW from equal starts; all alike, whatever their p.

    Their gradients differ by a factor, which Adam divides out. For small lr: within 0.01 at 1e-3
    (strength <= 0.5), 9% low at lr 5e-3, strength 1. Y >= 0. Source: derived (E9).
    """
    p = array(arrivals)
    probability(arrivals=p)
    positive(strength=strength)
    not_negative(target=target)
    return min(target / float(np.sum(p)), 1 / strength)


@form
def collapse(gamma: float, lr: float, sigma: float, steps: int, noise: str = "normal") -> float:
    """erfc((gamma + c lr sigma)/(lr sigma sqrt(2 T))): probability that noise alone takes SGD's gamma > 0 to 0 by step T.

    c is what a step oversteps 0 by: 0.583 for normal noise, 0.516 for uniform, 0 for +-sigma (gamma then a multiple of
    lr sigma). Approximate: within 0.01 for T >= 100 and gamma >= 3 lr sigma. Source: Zhou et al., arXiv 2001.11216;
    correction Siegmund 1979, its value for other noise by Spitzer's formula (E10).
    """
    positive(gamma=gamma, lr=lr, sigma=sigma)
    require("steps", steps, steps >= 100, "must be at least 100")
    require("gamma", gamma, gamma >= 3 * lr * sigma * (1 - 1e-9), f"must be at least {3 * lr * sigma:.3g}, 3 lr sigma")
    if noise not in OVERSHOOT:
        require(f"noise {noise!r}", math.nan, False, f"{', '.join(OVERSHOOT)} are accepted")
    step = lr * sigma
    return float(math.erfc((gamma + OVERSHOOT[noise] * step) / (step * math.sqrt(2 * steps))))
