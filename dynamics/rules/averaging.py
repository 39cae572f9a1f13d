"""Schedule-free Adam: gradients are taken between a fast iterate and its average, and no schedule is needed.

w is the gradient point y = beta1 x + (1 - beta1) z; z: the iterate that takes the steps; x: its average, the weights to
evaluate with (`average`), weighted by the square of the largest learning rate so far.
"""

from __future__ import annotations

from dynamics.rule import Rule
from dynamics.words import maximum, sqrt, where


def _schedule_free(w, g, pull, z, v, power2, lr_max, weights, lr, beta1, beta2, eps):
    v = beta2 * v + (1 - beta2) * (g * g)
    power2 = power2 * beta2
    vhat = v * (1 / (1 - power2))
    moved = lr * g / (sqrt(vhat) + eps) + pull
    lr_max = maximum(lr_max, lr)
    weight = lr_max * lr_max
    weights = weights + weight
    share = where(weights > 0, weight / where(weights > 0, weights, 1.0), 0.0)
    w = w + share * (z - w) - (1 - beta1 * (1 - share)) * moved
    return w, z - moved, v, power2, lr_max, weights


def _average(w, z, v, beta1, beta2, eps):
    return w + (1 - 1 / beta1) * (z - w)


schedule_free = Rule(
    name="schedule_free",
    step=_schedule_free,
    state=("z", "v"),
    clock={"power2": 1.0, "lr_max": 0.0, "weights": 0.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    starts={"z": "w"},
    lr=2.5e-3,
    paper="Defazio et al. 2024, arXiv 2405.15682, Algorithm 1",
    semantics="schedulefree.AdamWScheduleFree without warmup_steps: a schedule of lr does the same",
    label="schedule-free",
    memory="beta2",
    clock_follows_lr=True,
    average=_average,
)
