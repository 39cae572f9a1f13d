"""Rules that look at more than one weight: LARS and LAMB at the norms of a whole tensor, Muon at a matrix.

b: momentum buffer; m, v: running means of g and g^2. Applied to a single number they treat it as a tensor of its own.
"""

from __future__ import annotations

from dynamics.rule import Rule
from dynamics.words import norm, orthogonal, shape_factor, sqrt, where


def _lars(w, g, b, lr, momentum, trust, eps):
    size = norm(w)
    slope = norm(g)
    moves = where(slope > 0, slope, 1.0)
    ratio = where(size > 0, where(slope > 0, trust * size / (moves + eps), 1.0), 1.0)
    b = momentum * b + g * (lr * ratio)
    return w - b, b


def _lamb(w, g, pull, m, v, power1, power2, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    power1 = power1 * beta1
    power2 = power2 * beta2
    mhat = m * (1 / (1 - power1))
    vhat = v * (1 / (1 - power2))
    moved = lr * mhat / (sqrt(vhat) + eps) + pull
    size = norm(w)
    length = norm(moved)
    moves = where(length > 0, length, 1.0)
    ratio = where(size > 0, where(length > 0, lr * size / moves, 1.0), 1.0)
    return w - moved * ratio, m, v, power1, power2


def _muon(w, g, m, lr, momentum, eps):
    m = momentum * m + (1 - momentum) * g
    ahead = momentum * m + (1 - momentum) * g
    return w - (lr * shape_factor(w)) * orthogonal(ahead, eps), m


lars = Rule(
    name="lars",
    step=_lars,
    state=("b",),
    clock={},
    defaults={"momentum": 0.9, "trust": 1e-3, "eps": 0.0},
    lr=1.0,
    paper="You, Gitman, Ginsburg 2017, arXiv 1708.03888, Algorithm 1",
    semantics="optax.lars",
    label="LARS",
    unit="tensor",
)

lamb = Rule(
    name="lamb",
    step=_lamb,
    state=("m", "v"),
    clock={"power1": 1.0, "power2": 1.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-6},
    lr=1e-3,
    paper="You et al. 2020, arXiv 1904.00962, Algorithm 2",
    semantics="optax.lamb",
    label="LAMB",
    memory="beta2",
    unit="tensor",
)

muon = Rule(
    name="muon",
    step=_muon,
    state=("m",),
    clock={},
    defaults={"momentum": 0.95, "eps": 1e-7},
    lr=1e-3,
    paper="Jordan et al. 2024, kellerjordan.github.io/posts/muon",
    semantics="torch.optim.Muon, but in the precision of the weights",
    label="Muon",
    unit="matrix",
)
