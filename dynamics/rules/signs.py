"""Lion: the sign of a momentum that looks one gradient ahead. m: running mean of gradients."""

from __future__ import annotations

from dynamics.rule import Rule
from dynamics.words import sign


def _lion(w, g, m, lr, beta1, beta2):
    ahead = beta1 * m + (1 - beta1) * g
    m = beta2 * m + (1 - beta2) * g
    return w - lr * sign(ahead), m


lion = Rule(
    name="lion",
    step=_lion,
    state=("m",),
    clock={},
    defaults={"beta1": 0.9, "beta2": 0.99},
    lr=1e-4,
    paper="Chen et al. 2023, arXiv 2302.06675, Algorithm 2",
    semantics="the authors' lion_pytorch; optax.lion",
    label="Lion",
)
