"""The update rules: one step of one weight, in the notation of their papers.

Each is arithmetic plus the words of `dynamics.words`, and runs unchanged over Python floats, NumPy arrays, sympy
symbols, torch tensors and inside the compiled kernel. None knows about regularization: that is `dynamics.couplings`.
w weight, g gradient, m and v running means of g and g^2, b momentum buffer, power1 = beta1^t, power2 = beta2^t.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.words import sqrt


def _sgd(w, g, lr):  # type: ignore[no-untyped-def]
    return (w - lr * g,)


def _momentum(w, g, b, lr, momentum):  # type: ignore[no-untyped-def]
    b = momentum * b + g
    return w - lr * b, b


def _nesterov(w, g, b, lr, momentum):  # type: ignore[no-untyped-def]
    b = momentum * b + g
    return w - lr * (g + momentum * b), b


def _rmsprop(w, g, v, lr, alpha, eps):  # type: ignore[no-untyped-def]
    v = alpha * v + (1 - alpha) * (g * g)
    return w - lr * g / (sqrt(v) + eps), v


def _adam(w, g, m, v, power1, power2, lr, beta1, beta2, eps):  # type: ignore[no-untyped-def]
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    power1 = power1 * beta1
    power2 = power2 * beta2
    mhat = m * (1 / (1 - power1))  # as factors: they are the same for all weights, a division each is not
    vhat = v * (1 / (1 - power2))
    return w - lr * mhat / (sqrt(vhat) + eps), m, v, power1, power2


sgd = Rule(
    name="sgd",
    step=_sgd,
    state=(),
    clock={},
    defaults={},
    lr=1e-1,
    paper="Robbins, Monro 1951",
    semantics="torch.optim.SGD",
    adaptive=False,
)

momentum = Rule(
    name="momentum",
    step=_momentum,
    state=("b",),
    clock={},
    defaults={"momentum": 0.9},
    lr=1e-1,
    paper="Polyak 1964 (heavy ball)",
    semantics="torch.optim.SGD(momentum=)",
    adaptive=False,
    differs="the buffer holds gradients, not steps: a change of lr acts on the whole buffer at once",
)

nesterov = Rule(
    name="nesterov",
    step=_nesterov,
    state=("b",),
    clock={},
    defaults={"momentum": 0.9},
    lr=1e-1,
    paper="Nesterov 1983; Sutskever, Martens, Dahl, Hinton 2013",
    semantics="torch.optim.SGD(momentum=, nesterov=True)",
    adaptive=False,
    differs="the gradient is taken at w, not at the look-ahead point; optax does the same",
)

rmsprop = Rule(
    name="rmsprop",
    step=_rmsprop,
    state=("v",),
    clock={},
    defaults={"alpha": 0.99, "eps": 1e-8},
    lr=1e-2,
    paper="Tieleman, Hinton 2012, lecture 6.5",
    semantics="torch.optim.RMSprop",
    adaptive=True,
    differs="optax has eps inside the root and a decay of 0.9",
)

adam = Rule(
    name="adam",
    step=_adam,
    state=("m", "v"),
    clock={"power1": 1.0, "power2": 1.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    lr=1e-3,
    paper="Kingma, Ba 2015, arXiv 1412.6980, Algorithm 1",
    semantics="torch.optim.Adam",
    adaptive=True,
    differs="with coupling decoupled_lr it is torch.optim.AdamW; where a scheduler changes beta1 on the way, the bias "
    "correction is the product of the betas used, in torch it is a power of the last one",
)

RULES: Mapping[str, Rule] = MappingProxyType({r.name: r for r in (sgd, momentum, nesterov, adam, rmsprop)})


def find_rule(rule: str | Rule) -> Rule:
    """The rule of that name (a Rule is handed back as it is); InputError for an unknown name."""
    if isinstance(rule, Rule):
        return rule
    if rule not in RULES:
        raise InputError(f"optimizer {rule!r} is unknown: accepted are {', '.join(RULES)}")
    return RULES[rule]
