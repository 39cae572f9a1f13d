"""Where weights settle under pure noise: mean squares of single weights, norms of scale-invariant ones (section C).

sigma: standard deviation of the gradient at every step; where it arrives with probability p it is sigma sqrt(p). The noise
has mean 0 and is independent from step to step.
"""

from __future__ import annotations

import math

from dynamics.theory.closed.regime import below_one, form, positive, probability, require
from dynamics.theory.closed.selective import settled


def _share(lr: float, strength: float, limit: float = 2.0, **beside: float) -> float:
    positive(lr=lr, strength=strength, **beside)
    share = lr * strength
    require("lr strength", share, share < limit, f"a number in (0, {limit:.4g}) is accepted")
    return share


@form
def sgd_mean_square(lr: float, strength: float, sigma: float) -> float:
    """lr sigma^2/(strength (2 - lr strength)): E[w^2] of SGD, by L2 and by decay x lr alike. Exact.

    lr strength in (0, 2). Source: stationary variance of w <- (1 - lr strength) w - lr g (C).
    """
    share = _share(lr, strength, sigma=sigma)
    return lr * sigma**2 / (strength * (2 - share))


@form
def momentum_mean_square(lr: float, strength: float, sigma: float, momentum: float = 0.9) -> float:
    """lr sigma^2 (1+mu)/((1-mu) strength (2(1+mu) - lr strength)): E[w^2] of heavy ball + L2. Exact.

    lr strength in (0, 2 (1+mu)). Source: stationary variance of the second-order recursion, derived (C).
    """
    below_one(momentum=momentum)
    share = _share(lr, strength, 2 * (1 + momentum), sigma=sigma)
    return lr * sigma**2 * (1 + momentum) / ((1 - momentum) * strength * (2 * (1 + momentum) - share))


@form
def adamw_mean_square(
    lr: float, strength: float, beta1: float = 0.9, beta2: float = 0.999, arrival: float = 1.0
) -> float:
    """E[w^2] of AdamW: lr^2 (1-beta1)(1+a beta1)/((1+beta1)(1-a^2)(1-a beta1)), a = 1 - lr strength; about
    lr/(2 strength) for lr strength << 1 - beta1, free of sigma.

    Exact for a settled v: within 2% from arrival = 100 (1 - sqrt(beta2)) on; 8% below it at 20 (1 - sqrt(beta2)), the
    least accepted. eps << sigma sqrt(p). Source: Kosson et al., arXiv 2305.17212 (leading order); exact form derived (C).
    """
    below_one(beta1=beta1)
    share = _share(lr, strength, 2.0)
    settled(arrival, beta2)
    a = 1 - share
    return lr**2 * (1 - beta1) * (1 + a * beta1) / ((1 + beta1) * (1 - a * a) * (1 - a * beta1))


@form
def adam_l2_mean_square(
    lr: float, strength: float, sigma: float, arrival: float = 1.0, beta1: float = 0.9, beta2: float = 0.999
) -> float:
    """E[w^2] of Adam + L2: lr r (1+beta1)/(strength (2(1+beta1) - (1-beta1) lr strength/r)), r = sigma sqrt(p); about
    lr sigma sqrt(p)/(2 strength), so below AdamW's iff sigma sqrt(p) < 1.

    A heavy ball with gradient and pull over r. Within 5%. For a pull far below the gradients: strength sqrt(E[w^2])
    at most r/10; arrival at least 20 (1 - sqrt(beta2)). Source: derived (C).
    """
    below_one(beta1=beta1)
    positive(sigma=sigma)
    settled(arrival, beta2)
    rms = sigma * math.sqrt(arrival)
    share = _share(lr, strength, 2 * (1 + beta1) / (1 - beta1) * rms) / rms
    found = lr * rms * (1 + beta1) / (strength * (2 * (1 + beta1) - (1 - beta1) * share))
    pull = strength * math.sqrt(found)
    require(
        "strength x rms weight", pull, pull <= rms / 10, f"must be at most {rms / 10:.3g}, a tenth of sigma sqrt(p)"
    )
    return found


@form
def sign_mean_square(lr: float, strength: float, arrival: float = 1.0) -> float:
    """p lr/(strength (2 - lr strength)): E[w^2] of steps lr sign(g) with decay x lr (Lion at beta1 = 0). Exact.

    p: the probability that g is not 0. lr strength in (0, 2). Source: derived (C).
    """
    share = _share(lr, strength)
    probability(arrival=arrival)
    return arrival * lr / (strength * (2 - share))


@form
def scale_invariant_sgd_norm(lr: float, strength: float, slope: float) -> float:
    """|w| of weights followed by a normalization, under SGD: |w|^4 = lr G^2/(strength (2 - lr strength)).

    The gradient is orthogonal to w and of norm G/|w|, `slope` being G. Exact for constant G. lr strength in (0, 2).
    Source: van Laarhoven, arXiv 1706.05350; Kosson et al., arXiv 2305.17212 (C).
    """
    share = _share(lr, strength, slope=slope)
    return float((lr * slope**2 / (strength * (2 - share))) ** 0.25)


@form
def sgd_rotation(lr: float, strength: float) -> float:
    """arccos(1 - lr strength): the angle by which scale-invariant weights turn a step under SGD, in equilibrium. Exact.

    lr strength in (0, 2). Source: van Laarhoven, arXiv 1706.05350; Kosson et al., arXiv 2305.17212 (C).
    """
    return math.acos(1 - _share(lr, strength))


@form
def scale_invariant_adamw_norm(lr: float, strength: float, size: int) -> float:
    """|w| = sqrt(lr d/(2 strength)) of d scale-invariant weights under AdamW, free of the gradient's scale.

    Approximate: within 3% for lr strength at most (1-beta1)/20 and d >= 50. Source: Kosson et al., arXiv 2305.17212 (C).
    """
    _share(lr, strength, 0.1)
    require("size", size, size >= 1, "must be at least 1")
    return math.sqrt(lr * size / (2 * strength))


@form
def adamw_rotation(lr: float, strength: float, beta1: float = 0.9) -> float:
    """sqrt(2 lr strength (1-beta1)/(1+beta1)): the angle by which scale-invariant weights turn a step under AdamW.

    Approximate: within 2% for lr strength at most (1-beta1)/20. Source: Kosson et al., arXiv 2305.17212 (C).
    """
    below_one(beta1=beta1)
    share = _share(lr, strength, (1 - beta1) / 20 * (1 + 1e-12))
    return math.sqrt(2 * share * (1 - beta1) / (1 + beta1))


@form
def scale_invariant_adam_l2_norm(lr: float, strength: float, slope: float, size: int) -> float:
    """|w|^3 = lr G sqrt(d)/(2 strength): d scale-invariant weights under Adam + L2, G as in `scale_invariant_sgd_norm`.

    Unlike AdamW's it grows with the gradient's scale: sqrt(v) = G/(|w| sqrt(d)) turns the strength into a decay. Approximate:
    within 1% for lr strength/sqrt(v) at most (1-beta1)/20, and a pull far below the gradients. Source: derived (C).
    """
    positive(lr=lr, strength=strength, slope=slope)
    require("size", size, size >= 1, "must be at least 1")
    return float((lr * slope * math.sqrt(size) / (2 * strength)) ** (1 / 3))
