"""Rules that follow the gradient as it is: plain, with a heavy ball, with Nesterov's look-ahead. b: momentum buffer."""

from __future__ import annotations

from dynamics.rule import Rule


def _sgd(w, g, lr):
    return (w - lr * g,)


def _momentum(w, g, b, lr, momentum):
    b = momentum * b + g
    return w - lr * b, b


def _nesterov(w, g, b, lr, momentum):
    b = momentum * b + g
    return w - lr * (g + momentum * b), b


sgd = Rule(
    name="sgd",
    step=_sgd,
    state=(),
    clock={},
    defaults={},
    lr=1e-1,
    paper="Robbins, Monro 1951",
    semantics="torch.optim.SGD",
    label="SGD",
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
    label="momentum",
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
    label="Nesterov",
)
