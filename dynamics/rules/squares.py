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
    adaptive=True,
    differs="optax.adagrad starts the sum at 0.1 and has eps = 1e-7 inside the root, so that it is the same only at eps = 0; "
    "torch's lr_decay is a schedule here",
    offered={"l2": "torch.optim.Adagrad"},
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
    adaptive=True,
    differs="eps stands inside both roots, in torch, optax and the paper alike; the paper has no lr; weight_decay of "
    "optax.adadelta is L2",
    offered={
        "l2": "torch.optim.Adadelta; optax.adadelta(weight_decay=); pytorch_optimizer.AdaDelta",
        "decoupled_lr": "pytorch_optimizer.AdaDelta(weight_decouple=True); "
        "optax.chain(scale_by_adadelta, add_decayed_weights, scale_by_learning_rate)",
        "decoupled_constant": "pytorch_optimizer.AdaDelta(weight_decouple=True, fixed_decay=True)",
    },
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
    differs="optax.rmsprop has eps inside the root, unless eps_in_sqrt=False, and a decay of 0.9; timm's RMSpropTF has both "
    "and starts v at 1",
    offered={
        "l2": "torch.optim.RMSprop; optax.chain(add_decayed_weights, rmsprop(eps_in_sqrt=False))",
        "decoupled_lr": "optax.chain(scale_by_rms(eps_in_sqrt=False), add_decayed_weights, scale_by_learning_rate)",
    },
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
    adaptive=True,
    differs="the buffer is free of lr; optax.rmsprop, TensorFlow and timm's RMSpropTF multiply by lr before the buffer, so "
    "that a change of lr acts on what comes after it only, and have eps inside the root; optax's parts can be chained in "
    "torch's order",
    offered={
        "l2": "torch.optim.RMSprop(momentum=); "
        "optax.chain(add_decayed_weights, scale_by_rms(eps_in_sqrt=False), trace, scale_by_learning_rate)",
        "decoupled_lr": "optax.chain(scale_by_rms(eps_in_sqrt=False), trace, add_decayed_weights, scale_by_learning_rate)",
    },
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
    adaptive=True,
    differs="v - m^2 is unclamped, as in torch: where gradients hardly vary it goes to 0, the step grows up to lr g / eps, and "
    "rounding can make it negative, and then the weight NaN; optax.rmsprop and Graves have eps inside the "
    "root, and optax multiplies by lr before the buffer",
    offered={
        "l2": "torch.optim.RMSprop(centered=True, momentum=); "
        "optax.chain(add_decayed_weights, scale_by_stddev(eps_in_sqrt=False), trace, scale_by_learning_rate)",
        "decoupled_lr": "optax.chain(scale_by_stddev(eps_in_sqrt=False), trace, add_decayed_weights, scale_by_learning_rate)",
    },
)
