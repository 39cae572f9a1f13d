"""A weight without a gradient under linear rules, and under adaptive ones at the very end (section A).

lr, strength, momentum, start as everywhere; x = lr strength. "Fresh": optimizer state zero when the gradient stops.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from dynamics.errors import InputError
from dynamics.theory.closed.regime import array, below_one, finite, form, not_negative, positive, require


@form
def geometric(start: float, share: float, t: ArrayLike) -> np.ndarray:
    """start (1 - share)^t: SGD under L2 (share = lr strength) and, without a gradient, any decoupled decay.

    A decoupled share is lr strength, multiplier strength or strength. Exact. Any finite share; t: whole numbers >= 0.
    Source: Loshchilov, Hutter, arXiv 1711.05101 (A1).
    """
    finite(start=start, share=share)
    steps = array(t)
    require(
        "t",
        steps,
        (steps >= 0) & (steps == np.floor(steps)) & np.isfinite(steps),
        "must be whole numbers of at least 0",
    )
    return np.asarray(start * np.power(1 - share, steps))


@form
def geometric_steps(share: float, ratio: float) -> int:
    """Steps until (1 - share)^t <= ratio; InputError where that never happens (share outside (0, 2), or = 0)."""
    if not 0 < ratio < 1:
        raise InputError(f"ratio {ratio}: a number in (0, 1) is accepted")
    if not 0 < share < 2:
        raise InputError(f"decay share {share} a step: a share in (0, 2) shrinks a weight")
    if share == 1:
        return 1
    return math.ceil(math.log(ratio) / (math.log1p(-share) if share < 1 else math.log(share - 1)))


@form
def momentum_roots(x: float, momentum: float, nesterov: bool = False) -> tuple[complex, complex]:
    """The two rates of heavy ball (or Nesterov) under L2 with no gradient, x = lr strength; larger modulus first.

    w_t is a mixture of their powers. Heavy ball: r^2 - (1 + mu - x) r + mu = 0; Nesterov as torch has it:
    r^2 - (1 + mu)(1 - x) r + mu (1 - x) = 0. Exact. x >= 0, momentum in [0, 1). Source: derived (A2).
    """
    not_negative(x=x)
    below_one(momentum=momentum)
    trace = 1 + momentum - x * (1 + momentum if nesterov else 1)
    determinant = momentum * (1 - x) if nesterov else momentum
    root = complex(trace * trace - 4 * determinant) ** 0.5
    first, second = (trace + root) / 2, (trace - root) / 2
    return (first, second) if abs(first) >= abs(second) else (second, first)


@form
def momentum_path(start: float, x: float, momentum: float, t: ArrayLike, nesterov: bool = False) -> np.ndarray:
    """w_t of fresh heavy ball (or Nesterov) under L2 with no gradient, x = lr strength. Exact. Source: derived (A2).

    With distinct rates r, q the mixture is fixed by w_0 and w_1 = (1 - x) w_0 (Nesterov (1 - x (1 + mu)) w_0).
    """
    finite(start=start)
    r, q = momentum_roots(x, momentum, nesterov)
    steps = array(t)
    not_negative(t=steps)
    first = start * (1 - x * (1 + momentum if nesterov else 1))
    if abs(r - q) <= 1e-9 * abs(r):
        raise InputError(f"x {x} with momentum {momentum}: the two rates coincide, no mixture of powers describes it")
    share = (first - q * start) / (r - q)
    return np.asarray(np.real(share * np.power(r, steps) + (start - share) * np.power(q, steps)))


@form
def momentum_slow_rate(x: float, momentum: float) -> float:
    """1 - x/(1-mu) - mu x^2/(1-mu)^3: what heavy ball under L2 leaves of a weight a step, once it has settled.

    The slow root of `momentum_roots` to second order; its error is below 3 x^3/(1-mu)^5. For x <= (1-mu)^2 / 10.
    Source: derived (A2).
    """
    not_negative(x=x)
    below_one(momentum=momentum)
    away = 1 - momentum
    require("x", x, x <= away**2 / 10, f"must be at most {away**2 / 10:.3g}, a tenth of (1 - momentum)^2")
    return float(1 - x / away - momentum * x * x / away**3)


@form
def critical_damping(momentum: float) -> float:
    """(1 - sqrt(mu))^2: the lr strength beyond which heavy ball under L2 shrinks by sqrt(mu) a step, whatever the strength.

    Up to (1 + sqrt(mu))^2, where both rates turn real again. Exact. Source: derived (A2).
    """
    below_one(momentum=momentum)
    return (1 - math.sqrt(momentum)) ** 2


@form
def settling_limit(beta1: float = 0.0) -> float:
    """2 (1+beta1)/(1-beta1): the largest lr strength / eps for which a weight without a gradient comes to rest at 0.

    For rules that divide by sqrt(v) + eps with a v that forgets, under L2: RMSprop is beta1 = 0, Adam has 38 at 0.9; for
    Adamax too, whose u falls to eps. At 0 the denominator is eps and the rule linear, a heavy ball with lr strength
    (1-beta1)/eps; beyond the limit that is unstable, and bursts come back, unless floats underflow first: w, and with it
    every later step, may have fallen to 1e-320 before eps matters. Exact for the linear rule. Source: derived (A10).
    """
    below_one(beta1=beta1)
    return 2 * (1 + beta1) / (1 - beta1)


@form
def settled_rate(pull: float, beta1: float = 0.0) -> float:
    """What is left of a weight after a step once strength |w| << eps and sqrt(v) << eps; pull = lr strength / eps.

    1 - pull for RMSprop (and to first order for Adam), the larger modulus of the roots of r^2 - (1 + beta1 -
    (1-beta1) pull) r + beta1 for Adam. Exact in that limit. pull below `settling_limit`. Source: derived (A11).
    """
    below_one(beta1=beta1)
    limit = settling_limit(beta1)
    require("lr strength / eps", pull, 0 <= pull < limit, f"a number in [0, {limit:.4g}) is accepted")
    return abs(momentum_roots((1 - beta1) * pull, beta1)[0])


@form
def lion_decay_path(start: float, sign: int, lr: float, strength: float, t: ArrayLike) -> np.ndarray:
    """w_t of Lion under decay x lr without a gradient, `sign` being that of its momentum when the gradient stopped.

    The momentum fades but keeps its sign, so w goes to -sign / strength:
    w_t = -sign/strength + (start + sign/strength)(1 - lr strength)^t. Exact. lr strength in (0, 2); sign -1 or 1.
    Source: derived (A13).
    """
    finite(start=start)
    positive(lr=lr, strength=strength)
    require("sign", sign, abs(sign) == 1, "-1 or 1 is accepted")
    require("lr strength", lr * strength, lr * strength < 2, "a number in (0, 2) is accepted")
    end = -sign / strength
    return end + geometric(start - end, lr * strength, array(t))
