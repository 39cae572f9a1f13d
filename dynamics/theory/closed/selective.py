"""A weight whose gradient arrives with probability `arrival` = 1 - selectivity and is zero otherwise (section B).

sigma: the gradient's standard deviation when it arrives; p_c = 1 - sqrt(beta2), the critical arrival (beta2 is alpha for
RMSprop). R: displacement by L2 / displacement by decay x lr of equal strength.
"""

from __future__ import annotations

import math

from dynamics.theory.closed.regime import below_one, counted, finite, form, not_negative, positive, probability, require

# The running mean of squares is settled where this many critical arrivals come.
SETTLED = 20.0


@form
def critical_arrival(beta2: float) -> float:
    """1 - sqrt(beta2): the arrival probability below which the mean of 1 / sqrt(v) is infinite. Source: derived (B5)."""
    below_one(beta2=beta2)
    return 1 - math.sqrt(beta2)


@form
def critical_selectivity(beta2: float, root: bool = True) -> float:
    """sqrt(beta2): beyond this selectivity the mean of 1 / sqrt(v), and with it L2's mean pull, has no bound but eps.

    Between arrivals v fades by beta2 a step, 1 / sqrt(v) grows by 1 / sqrt(beta2), and silence of L steps has
    probability s^L. root=False for Adamax, which divides by u itself: beta2. AMSGrad has none. Exact for eps = 0 and a
    small pull. Source: derived (B5).
    """
    below_one(beta2=beta2)
    return math.sqrt(beta2) if root else beta2


@form
def batch_critical_selectivity(beta2: float, images: int) -> float:
    """beta2^(1/(2 images)): the selectivity per image at which a batch of that many independent images is critical.

    A batch brings no gradient with probability s^images. Exact for independent images; positions within an image are
    not independent, and do not count. Source: derived (E3).
    """
    below_one(beta2=beta2)
    counted(images=images)
    return float(math.sqrt(beta2) ** (1 / images))


def _above_critical(arrival: float, beta2: float, times: float) -> float:
    """The critical arrival; InputError unless `arrival` is that many times as large, or 1."""
    probability(arrival=arrival)
    critical = critical_arrival(beta2)
    least = min(1.0, times * critical)
    fine = arrival >= least * (1 - 1e-12)
    require("arrival", arrival, fine, f"must be at least {least:.4g}, {times:g} (1 - sqrt(beta2))")
    return critical


def settled(arrival: float, beta2: float) -> None:
    """InputError unless arrivals are frequent enough for the running mean of squares to stand for its mean."""
    _above_critical(arrival, beta2, SETTLED)


@form
def inverse_root_ratio(arrival: float, beta2: float) -> float:
    """E[v^-1/2] over its mean at arrivals alone: p sqrt(beta2)/(p - p_c).

    How much larger 1 / sqrt(v) is when the regularizer pulls (always) than when the gradient does (on arrival). Exact in
    the stationary state for eps = 0 and a pull far below the gradients. For arrival > p_c. Source: derived (B5).
    """
    probability(arrival=arrival)
    critical = critical_arrival(beta2)
    require("arrival", arrival, arrival > critical, f"must be more than {critical:.3g}, 1 - sqrt(beta2)")
    return arrival * math.sqrt(beta2) / (arrival - critical)


@form
def l2_over_decay(arrival: float, sigma: float, strength: float, w: float, eps: float, beta2: float = 0.999) -> float:
    """How much faster Adam + L2 shrinks a weight than decoupled decay x lr of equal strength.

    Both see gradients that arrive with probability `arrival` and standard deviation sigma:
    1 / (sqrt(arrival sigma^2 + strength^2 w^2) + eps).

    For arrival at least 20 (1 - sqrt(beta2)), where the running mean of squares is settled: within 4%, the mean of
    1 / sqrt(v) being larger than 1 / sqrt(mean v) by 3/8 p_c (kurtosis/p - 1). For RMSprop beta2 is alpha. Above 1 (L2
    stronger) only where sqrt(v) + eps < 1. Source: Loshchilov, Hutter, arXiv 1711.05101, proposition 3, with
    selectivity added here (B1).
    """
    settled(arrival, beta2)
    not_negative(sigma=sigma, strength=strength, eps=eps)
    finite(w=w)
    denominator = math.sqrt(arrival * sigma * sigma + (strength * w) ** 2) + eps
    positive(denominator=denominator)
    return 1 / denominator


@form
def momentum_l2_over_decay(momentum: float = 0.0) -> float:
    """1 / (1 - momentum) for heavy ball and Nesterov, 1 for SGD; free of arrival and sigma.

    The buffer sums what the decoupled decay takes once. Exact in the mean, once the buffer is filled, to first order in
    lr strength / (1 - momentum)^2. Source: derived (B3).
    """
    below_one(momentum=momentum)
    return 1 / (1 - momentum)


@form
def adagrad_l2_over_decay(arrival: float, sigma: float, step: float) -> float:
    """1 / (sigma sqrt(p t)) at step t, under gradients since step 0: Adagrad's pull fades, so no constant is its equal.

    The ratio of the pulls at that moment. At arrival 1 the displacements since step 0 are in twice this ratio; at rarer
    ones L2's is far larger, for until the first gradient arrives the sum holds the pull alone and L2 moves lr a step.
    Within 1% for p t >= 50 arrivals and a pull far below the gradients. Source: derived (B3).
    """
    probability(arrival=arrival)
    positive(sigma=sigma)
    require("arrival x step", arrival * step, arrival * step >= 50, "must be at least 50 arrivals")
    return 1 / (sigma * math.sqrt(arrival * step))


@form
def decay_of_l2(
    l2: float, arrival: float, sigma: float, eps: float = 1e-8, beta2: float = 0.999, w: float = 1.0
) -> float:
    """The strength of decay x lr that pulls as L2 of strength `l2` does under Adam (RMSprop: beta2 is alpha):
    l2/(sqrt(v) + eps), sqrt(v) = sigma sqrt(p).

    For l2 |w| at most a tenth of sigma sqrt(p): else the pull is no share of w, and no constant serves. Within 4%, as
    `l2_over_decay`. Source: derived (B10).
    """
    rms = sigma * math.sqrt(arrival) if arrival > 0 else 0.0
    most = rms / 10
    require("l2 x w", l2 * abs(w), l2 * abs(w) <= most, f"must be at most {most:.3g}, a tenth of sigma sqrt(arrival)")
    return l2 * l2_over_decay(arrival, sigma, 0.0, w, eps, beta2)


@form
def l2_of_decay(
    decay: float, arrival: float, sigma: float, eps: float = 1e-8, beta2: float = 0.999, w: float = 1.0
) -> float:
    """`decay_of_l2` the other way: decay (sqrt(v) + eps). The same regime. Source: derived (B10)."""
    l2 = decay / l2_over_decay(arrival, sigma, 0.0, w, eps, beta2)
    decay_of_l2(l2, arrival, sigma, eps, beta2, w)
    return l2


@form
def l2_fixed_point(arrival: float, pull: float, target: float, strength: float) -> float:
    """p h w*/(p h + strength): where SGD, momentum and Adagrad with L2 hold a weight whose gradient, when it arrives, is
    pull (w - target).

    Exact in the mean for SGD and momentum (the equation is linear). Source: derived (B6).
    """
    probability(arrival=arrival)
    positive(pull=pull)
    not_negative(strength=strength)
    return arrival * pull * target / (arrival * pull + strength)


@form
def adam_l2_fixed_point(arrival: float, pull: float, target: float, strength: float, beta2: float = 0.999) -> float:
    """(p-p_c) h w*/((p-p_c) h + strength sqrt(beta2)): the same for Adam (any beta1) and RMSprop with L2.

    The gradient counts with 1 / sqrt(v) as it is at arrivals, the pull with its mean over all steps, larger by
    `inverse_root_ratio`: selectivity p acts like p - p_c. For p >> p_c it is `l2_fixed_point`, at p_c it is 0. For a
    small lr (the weight hardly moves between arrivals). Approximate: within 0.005 from p = 5 p_c, 0.02 at 2 p_c,
    which is the least accepted. Source: derived (B6).
    """
    critical = _above_critical(arrival, beta2, 2.0)
    positive(pull=pull)
    not_negative(strength=strength)
    counted = (arrival - critical) * pull
    return counted * target / (counted + strength * math.sqrt(beta2))


@form
def l2_under_constant_pull(arrival: float, pull: float, strength: float, beta2: float = 0.0) -> float:
    """(p-p_c) f/(strength sqrt(beta2)): where L2 stops a weight that a constant gradient -f pulls out when it arrives.

    beta2 = 0 leaves p f/strength, exact in the mean for SGD, momentum; Adam and RMSprop give beta2 (alpha). For p >=
    2 p_c, lr small. Not for Lion, whose sign follows the majority and not the mean. Source: derived (B7).
    """
    finite(pull=pull)
    positive(strength=strength)
    if beta2 == 0:
        probability(arrival=arrival)
        return arrival * pull / strength
    critical = _above_critical(arrival, beta2, 2.0)
    return (arrival - critical) * pull / (strength * math.sqrt(beta2))


@form
def decay_under_constant_pull(
    arrival: float, pull: float, strength: float, power: float, momentum: float = 0.0, beta2: float = 0.999
) -> float:
    """Where decay x lr stops a weight that a constant gradient -f pulls out when it arrives: slope `power` in log p.

    power 1, SGD and heavy ball: p f/(strength (1-momentum)), exact in the mean. power 1/2, Adam and RMSprop:
    sign(f) sqrt(p) (1 - 5/8 p_c (1/p - 1))/strength, free of f's size; within 3% for p >= 4 p_c. power 0, Lion:
    sign(f)/strength, exact once its momentum has a sign. Source: derived (B7).
    """
    probability(arrival=arrival)
    finite(pull=pull)
    positive(strength=strength)
    below_one(momentum=momentum)
    require("power", power, power in (0, 0.5, 1), "0 (Lion), 0.5 (Adam, RMSprop) or 1 (SGD, momentum) is accepted")
    if power == 1:
        return arrival * pull / (strength * (1 - momentum))
    direction = math.copysign(1.0, pull) if pull else 0.0
    if power == 0:
        return direction / strength
    critical = _above_critical(arrival, beta2, 4.0)
    return direction * math.sqrt(arrival) * (1 - 0.625 * critical * (1 / arrival - 1)) / strength
