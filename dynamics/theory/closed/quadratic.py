"""A weight on the quadratic loss curvature (w - target)^2 / 2 with a regularizer (section D).

h: curvature, w*: target. The gradient is taken at w before a decoupled share is taken off, as in the simulator and torch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from dynamics.theory.closed.regime import MOST, below_one, finite, form, not_negative, positive, require


@form
def l2_minimum(curvature: float, target: float, strength: float) -> float:
    """h w*/(h + strength): where L2 leads every rule, for it is the minimum of loss and penalty. Exact where the rule
    settles; rules of constant step length (Lion, LAMB, Muon) stay within some lr of it.

    Source: calculus (D).
    """
    positive(curvature=curvature)
    finite(target=target)
    not_negative(strength=strength)
    return curvature * target / (curvature + strength)


@form
def decay_fixed_point(curvature: float, target: float, strength: float, momentum: float = 0.0) -> float:
    """h w*/(h + strength (1-mu)): where decay x lr leads SGD (mu = 0), heavy ball and Nesterov, without noise. Exact.

    A buffer makes the loss 1/(1-mu) times as strong, and the decay not. Source: derived (D).
    """
    below_one(momentum=momentum)
    return l2_minimum(curvature, target, strength * (1 - momentum))


@form
def clipped_fixed_point(target: ArrayLike, strength: float, momentum: float = 0.0) -> np.ndarray:
    """w* clipped to +-1/strength: where decay x lr leads AdamW, RMSprop, Adamax, NAdam and Lion, without noise.

    Their steps of a steady gradient are lr, whatever its size, so a weight inside is pulled to w* and one outside held
    at 1/strength. RMSprop with momentum mu: 1/((1-mu) strength). Up to O(lr); not where the denominator keeps
    its largest value (AMSGrad: `l2_minimum` of strength lambda sqrt(v_max)) or grows (Adagrad: the weight
    comes back to 0). Source: Xie, Li, arXiv 2404.04454; Chen et al., arXiv 2310.05898 (D).
    """
    finite(target=target)
    positive(strength=strength)
    below_one(momentum=momentum)
    bound = 1 / (strength * (1 - momentum))
    return np.clip(np.asarray(target, dtype=np.float64), -bound, bound)


@form
def noisy_adamw_fixed_point(curvature: float, target: float, strength: float, rms: float) -> float:
    """h w*/(h + strength sqrt(v)): mean of AdamW where noise of root mean square `rms` = sqrt(v) dominates its gradients.

    As L2 of strength lambda sqrt(v). A batch of B images in which the gradient comes with probability p each has curvature
    p h and sqrt(v) = sigma sqrt(p/B) (E7): larger batches are shrunk less, while L2 keeps p h w*/(p h + strength).
    Approximate: within 1% for abs(h (w-w*)) <= rms/10, checked at the result. Source: derived (D, E7).
    """
    positive(rms=rms)
    found = l2_minimum(curvature, target, strength * rms)
    slope = abs(curvature * (found - target))
    require("gradient at rest", slope, slope <= rms / 10, f"must be at most {rms / 10:.3g}, a tenth of rms")
    return found


@form
def sgd_limit(curvature: float, strength: float) -> float:
    """2/(h + strength): learning rates below it are stable for SGD, by L2 and by decay x lr. Exact. Source: calculus (D)."""
    not_negative(curvature=curvature, strength=strength)
    positive(**{"curvature + strength": curvature + strength})
    return 2 / (curvature + strength)


@form
def momentum_limit(curvature: float, strength: float, momentum: float = 0.9, decoupled: bool = False) -> float:
    """2(1+mu)/(h + strength) for heavy ball + L2, 2(1+mu)/(h + strength (1+mu)) with decay x lr: the stability limit
    of lr. Exact. Source: Jury's criterion on the second-order recursion (D)."""
    below_one(momentum=momentum)
    not_negative(curvature=curvature, strength=strength)
    positive(**{"curvature + strength": curvature + strength})
    both = 2 * (1 + momentum)
    return both / (curvature + strength * (1 + momentum if decoupled else 1))


@form
def adam_limit(
    curvature: float, strength: float, denominator: float, beta1: float = 0.9, decoupled: bool = False
) -> float:
    """The stability limit of lr for Adam whose denominator stands still at P = sqrt(v) + eps.

    L2: 2(1+beta1)/(1-beta1) P/(h + strength), 38 P/(h + strength) at 0.9. Decay x lr: 2(1+beta1)/((1-beta1) h/P +
    strength (1+beta1)). Exact for the frozen rule. Source: Cohen et al., arXiv 2207.14484; with strength derived (D).
    """
    below_one(beta1=beta1)
    not_negative(curvature=curvature, strength=strength)
    positive(denominator=denominator, **{"curvature + strength": curvature + strength})
    if decoupled:
        return 2 * (1 + beta1) / ((1 - beta1) * curvature / denominator + strength * (1 + beta1))
    return 2 * (1 + beta1) / (1 - beta1) * denominator / (curvature + strength)


@form
def adam_step_bound(beta1: float = 0.9, beta2: float = 0.999, step: int | None = None) -> float:
    """The most that mhat/sqrt(vhat) can be, whatever the gradients: 7.2703 at (0.9, 0.999), by Cauchy and Schwarz.

    (1-beta1)/sqrt((1-beta2)(1 - beta1^2/beta2)) in the end (step None), for beta1^2 < beta2, else it grows without end.
    At `step` = 1, 2, ...: the same with sums of that many terms and both bias corrections. Attained by gradients
    proportional to (beta1/beta2)^age. Exact. Source: derived (D).
    """
    below_one(beta1=beta1, beta2=beta2)
    positive(beta2=beta2)
    share = beta1 * beta1 / beta2
    if step is None:
        require("beta1", beta1, share < 1, f"must be less than sqrt(beta2) = {math.sqrt(beta2):.4g}")
        return (1 - beta1) / math.sqrt((1 - beta2) * (1 - share))
    require("step", step, 1 <= step <= MOST, f"must be at least 1, at most {MOST:,}")
    terms = float(np.sum(share ** np.arange(step)))
    correction = math.sqrt(1 - beta2**step) / (1 - beta1**step)
    return correction * (1 - beta1) / math.sqrt(1 - beta2) * math.sqrt(terms)


@form
def adamw_weight_bound(start: float, lr: float, strength: float, beta1: float = 0.9, beta2: float = 0.999) -> float:
    """max(abs(start), bound of the step/strength): no weight of AdamW is ever larger, whatever its gradients.

    The bound of the step is the largest of `adam_step_bound` over all steps (7.27 at the defaults, so 7.27/strength).
    Exact as a bound for lr strength <= 1; beyond it the decay itself overshoots. Source: derived (D).
    """
    positive(lr=lr, strength=strength)
    require("lr strength", lr * strength, lr * strength <= 1, "a number in (0, 1] is accepted")
    last = adam_step_bound(beta1, beta2)
    slowest = max(beta1, beta1 * beta1 / beta2)
    # Early steps can exceed the limit by their corrections, until powers of both betas have faded.
    steps = 1 if slowest == 0 else min(10_000, math.ceil(-40 / math.log(slowest)))
    largest = max(last, *(adam_step_bound(beta1, beta2, t) for t in range(1, steps + 1)), 0.0)
    return max(abs(start), largest / strength)
