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
    adaptive=True,
    differs="the libraries agree; their default strengths do not: optax.lion 1e-3, the others 0; timm's caution=True and "
    "pytorch_optimizer's cautious=True mask the update, not the decay",
    offered={
        "l2": "optax.chain(add_decayed_weights, scale_by_lion, scale_by_learning_rate); "
        "pytorch_optimizer.Lion(weight_decouple=False)",
        "decoupled_lr": "optax.lion; timm.optim.Lion; pytorch_optimizer.Lion",
        "decoupled_constant": "pytorch_optimizer.Lion(fixed_decay=True)",
        "corrected": "optax.lion(weight_decay=); timm.optim.Lion(corrected_weight_decay=True)",
    },
)
