"""Rules that divide by the root of gathered squares. s: their sum, v: their running mean, a: that of squared steps."""

from __future__ import annotations

from dynamics.rule import Rule
from dynamics.words import sqrt


def _adagrad(w, g, s, lr, initial_accumulator, eps):
    s = s + g * g
    return w - lr * g / (sqrt(s) + eps), s


def _adadelta(w, g, v, a, lr, rho, eps):
    v = rho * v + (1 - rho) * (g * g)
    d = g * (sqrt(a + eps) / sqrt(v + eps))
    a = rho * a + (1 - rho) * (d * d)
    return w - lr * d, v, a


def _rmsprop(w, g, v, lr, alpha, eps):
    v = alpha * v + (1 - alpha) * (g * g)
    return w - lr * g / (sqrt(v) + eps), v


def _rmsprop_momentum(w, g, v, b, lr, alpha, momentum, eps):
    v = alpha * v + (1 - alpha) * (g * g)
    b = momentum * b + g / (sqrt(v) + eps)
    return w - lr * b, v, b


def _rmsprop_centered(w, g, v, m, b, lr, alpha, momentum, eps):
    v = alpha * v + (1 - alpha) * (g * g)
    m = alpha * m + (1 - alpha) * g
    b = momentum * b + g / (sqrt(v - m * m) + eps)
    return w - lr * b, v, m, b


adagrad = Rule(
    name="adagrad",
    step=_adagrad,
    state=("s",),
    clock={},
    defaults={"initial_accumulator": 0.0, "eps": 1e-10},
    starts={"s": "initial_accumulator"},
    lr=1e-2,
    paper="Duchi, Hazan, Singer 2011",
    semantics="torch.optim.Adagrad",
    label="Adagrad",
    divides_by="sum",
)

adadelta = Rule(
    name="adadelta",
    step=_adadelta,
    state=("v", "a"),
    clock={},
    defaults={"rho": 0.9, "eps": 1e-6},
    lr=1.0,
    paper="Zeiler 2012, arXiv 1212.5701",
    semantics="torch.optim.Adadelta",
    label="Adadelta",
    memory="rho",
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
    label="RMSprop",
    memory="alpha",
    divides_by="mean",
)

rmsprop_momentum = Rule(
    name="rmsprop_momentum",
    step=_rmsprop_momentum,
    state=("v", "b"),
    clock={},
    defaults={"alpha": 0.99, "momentum": 0.9, "eps": 1e-8},
    lr=1e-2,
    paper="Tieleman, Hinton 2012, lecture 6.5; the momentum as in Graves 2013, arXiv 1308.0850",
    semantics="torch.optim.RMSprop(momentum=)",
    label="RMSprop, momentum",
    memory="alpha",
    divides_by="mean",
)

rmsprop_centered = Rule(
    name="rmsprop_centered",
    step=_rmsprop_centered,
    state=("v", "m", "b"),
    clock={},
    defaults={"alpha": 0.99, "momentum": 0.0, "eps": 1e-8},
    lr=1e-2,
    paper="Graves 2013, arXiv 1308.0850, equations 38 to 41",
    semantics="torch.optim.RMSprop(centered=True, momentum=)",
    label="RMSprop, centered",
    memory="alpha",
)
