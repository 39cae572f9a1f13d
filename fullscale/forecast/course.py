"""How the scales of a layer's filters go on from a step, without a fitted number.

A filter's abs(gamma) is x. The rule moves it by its mobility M(s) times each force, s being the root mean square of its
gradients (Adam: M = lr / s), and the regularizer takes the share r(s) of it off a step (Adam with L2: lr strength / s). The
loss's mean force on it is f s, where f was measured over all steps so far. Then

    x' = M(s) f s - r(s) x        it goes to where both balance (B6, B7 of docs/theory.md), at the speed of the pull (B1, A9)
    s  = s0 A0 / A                gradients grow as the layer's scales shrink, A being their root mean square: what reads the
                                  layer is normalized again, so that only proportions count there
    v  = M(s) / (2 B)             variance of x about that course: noise M s a step against the loss's own restoring force,
                                  whose curvature is B s^2 for batches of B images (the Fisher information)

It dies where x comes within sqrt(v) of 0, "by the regularizer", or where the noise takes it there before, at Kramers' rate
M B s^2 z exp(-z^2 / 2) / sqrt(2 pi) with z = x / sqrt(v), "by noise" (E10 in a well). Where gradients arrive at a share p < 1 of
the steps, a silence as long as death takes (A9) comes with the probability of E8, "by starvation".

f is known with a standard error of one over the root of the steps; each course takes it from its distribution given all
filters of the layer (empirical Bayes: their mean, and the variance that is left after that error).

How many of a layer die is the mean of these probabilities. Which ones is told better by how many of its own fluctuations a
filter is away from 0 now, gamma / sqrt(v), v from the gradients of all its weights, which are many where gamma's is one: the
layer's probabilities are given to its filters in this order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullscale.forecast.rates import Rates
from fullscale.forecast.seen import Seen

Array = NDArray[np.float64]

MECHANISMS = ("regularizer", "noise", "starvation")
COURSES = 64
_PARTS = 100
# A gradient that is not there is no size.
_TINY = 1e-12
# Of what a chunk of steps may change: beyond it a chunk only ends what has begun.
_MOST = 50.0
# A layer's scales may shrink to this part; what was larger by then is dead anyway.
_SMALLEST = 1e-3


@dataclass(frozen=True, eq=False)
class Course:
    """Of each filter, (filters,): the probability to die, the median step of those courses that die (NaN if none does), and
    which of MECHANISMS most of them die of, as an index, -1 if none does."""

    probability: Array
    step: Array
    mechanism: NDArray[np.int64]


def follow(
    seen: Seen, rates: Rates, multipliers: Array, coming: int, *, courses: int = COURSES, seed: int = 0
) -> Course:
    """The filters that are alive, over so many coming steps.

    multipliers: the schedule's, at moments evenly over these steps, 1 being the learning rate of the setting. Filters that are
    not alive have probability NaN.
    """
    rng = np.random.default_rng(seed)
    count = len(seen)
    alive = seen.alive
    s0 = np.sqrt(np.maximum(np.nan_to_num(seen.square), _TINY**2))[:, None]
    root = np.where(np.isfinite(seen.root), seen.root, 0.0)[:, None]
    x0 = np.maximum(np.nan_to_num(seen.gamma), _TINY)[:, None]
    x = np.where(alive[:, None], x0, 0.0) * np.ones((1, courses))
    force = _forces(seen, rng, courses)
    patience = rng.exponential(size=x.shape)
    hazard = np.zeros_like(x)
    when, floored = np.full(x.shape, np.inf), np.zeros(x.shape, dtype=bool)
    layers = [np.flatnonzero((seen.layer == number) & alive) for number in range(len(seen.names))]
    scale0 = _scale(x, layers)
    done, each = 0.0, coming / len(multipliers)
    for chunk in np.array_split(multipliers, min(_PARTS, len(multipliers))):
        steps, level = len(chunk) * each, float(chunk.mean())
        s = s0 * np.minimum(scale0 / np.maximum(_scale(x, layers), _TINY), 1 / _SMALLEST)
        mobility, pull = (level * rate for rate in rates.at(s, root))
        kept = np.exp(-np.minimum(pull * steps, _MOST))
        # The displacement by a constant force over the chunk: M f s times (1 - e^{-r t}) / r, which is t without a pull.
        lasting = np.where(pull * steps > 1e-9, (1 - kept) / np.maximum(pull, _TINY**2), steps)
        x = x * kept + mobility * force * s * lasting
        spread = np.sqrt(mobility / (2 * seen.batch))
        z = x / np.maximum(spread, _TINY)
        rate = mobility * seen.batch * s**2 * np.maximum(z, 1) * np.exp(-np.minimum(z**2, 700) / 2) / np.sqrt(2 * np.pi)
        hazard += steps * rate
        floor = x < spread
        new = alive[:, None] & np.isinf(when) & (floor | (hazard > patience))
        when[new] = seen.step + done + 0.5 * steps
        floored |= new & floor
        x = np.where(np.isfinite(when), 0.0, x)
        done += steps
    died = np.isfinite(when)
    # Of a course that is not past the floor the chance to live on is taken, which is less noisy than one draw. It is too low: a
    # course that the draw has ended, at 0 from then on, goes on to gather hazard (docs/forecast.md, Deviations). So it was tested.
    probability = 1 - np.where(floored, 0.0, np.exp(-hazard)).mean(axis=1)
    starved = _starved(seen, rates, coming)
    shares = np.stack([floored.mean(axis=1), np.maximum(probability - floored.mean(axis=1), 0), starved])
    probability = 1 - (1 - probability) * (1 - starved)
    # Half a course on either side: so few courses know no certainty.
    probability = (probability * courses + 0.5) / (courses + 1)
    with np.errstate(invalid="ignore"):
        step = np.array(
            [np.median(row[ended]) if ended.any() else np.nan for row, ended in zip(when, died, strict=True)]
        )
    mechanism = np.where(shares.max(axis=0) > 0, shares.argmax(axis=0), -1)
    found = Course(probability, step, mechanism.astype(np.int64))
    found = _by_distance(seen, found, layers)
    nan = np.full(count, np.nan)
    return Course(
        np.where(alive, found.probability, nan), np.where(alive, found.step, nan), np.where(alive, found.mechanism, -1)
    )


def distance(seen: Seen) -> Array:
    """How many of its own fluctuations each filter's scale is away from 0, up to a factor that all of a layer share.

    gamma / sqrt(M / (2 B)) under a rule that divides by the root of the mean square; the gradients' size is that of the filter's
    weights, or gamma's where there are none.
    """
    size = np.where(np.isfinite(seen.weights), seen.weights, np.sqrt(seen.square))
    return seen.gamma * np.sqrt(np.maximum(size, 0.0))


def _by_distance(seen: Seen, found: Course, layers: list[NDArray[np.int64]]) -> Course:
    """The same numbers in another order within each layer: the filter nearest to 0 has the largest probability."""
    key = distance(seen)
    probability, step, mechanism = found.probability.copy(), found.step.copy(), found.mechanism.copy()
    for of in layers:
        nearest = of[np.argsort(key[of], kind="stable")]
        surest = of[np.argsort(-found.probability[of], kind="stable")]
        for new, old in ((probability, found.probability), (step, found.step), (mechanism, found.mechanism)):
            new[nearest] = old[surest]
    return Course(probability, step, mechanism)


def _forces(seen: Seen, rng: np.random.Generator, courses: int) -> Array:
    """The loss's mean force on each filter in each course, in units of its gradients' size, (filters, courses)."""
    error = 1 / np.sqrt(max(seen.over, 1))
    force = np.zeros((len(seen), courses))
    for number in range(len(seen.names)):
        of = np.flatnonzero((seen.layer == number) & seen.alive)
        if not len(of):
            continue
        known = np.nan_to_num(seen.force[of])
        mean = known.mean()
        # A variance of n numbers is itself known to sqrt(2 / (n - 1)) of it: no less is taken to be left.
        spread = known.var(ddof=1) if len(of) > 1 else 0.0
        left = max(spread - error**2, error**2 * np.sqrt(2 / max(len(of) - 1, 1)))
        weight = left / (left + error**2)
        centre, deviation = mean + weight * (known - mean), np.sqrt(weight) * error
        force[of] = centre[:, None] + deviation * rng.standard_normal((len(of), courses))
    return force


def _scale(x: Array, layers: list[NDArray[np.int64]]) -> Array:
    """Root mean square of each layer's scales, at each of its filters, (filters, courses)."""
    scale = np.ones_like(x)
    for of in layers:
        if len(of):
            scale[of] = np.sqrt((x[of] ** 2).mean(axis=0))
    return scale


def _starved(seen: Seen, rates: Rates, steps: int) -> Array:
    """The probability of a silence as long as death takes from here on; 0 where a gradient comes at every step.

    The expected number of such silences by E8, taken for Poisson's: low by a third of (1 + L p)(1-p)^L where that is not small.
    """
    setting = rates.setting
    arrival = np.clip(np.nan_to_num(seen.arrival, nan=1.0), 0.0, 1.0)
    rare = seen.alive & (arrival < 1) & (arrival > 0)
    found = np.zeros(len(seen))
    if setting.rule.divides_by != "mean" or setting.coupling.gradient is None or not setting.strength or not rare.any():
        return found
    s = np.sqrt(np.maximum(seen.square, _TINY**2))
    mobility, _ = rates.at(s, s)
    floor = np.sqrt(mobility / (2 * seen.batch))
    ratio = np.clip(floor / np.maximum(seen.gamma, _TINY), _TINY, 1 - 1e-9)
    memory = -2 / np.log(setting.hyper[setting.rule.memory]) if setting.hyper[setting.rule.memory] > 0 else 1.0
    # residual_steps of A9, of all filters at once.
    length = memory * np.log1p(-np.log(ratio) * s / (memory * setting.lr * setting.strength))
    runs = np.maximum((steps - length) * arrival + 1, 0.0) * (1 - arrival) ** np.maximum(length, 1.0)
    found[rare] = np.where(length < steps, -np.expm1(-runs), 0.0)[rare]
    return found
