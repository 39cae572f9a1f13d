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
    adaptive=False,
    offered={
        "l2": "torch.optim.SGD; optax.chain(add_decayed_weights, sgd)",
        "decoupled_lr": "pytorch_optimizer.SGDW; timm.optim.SGDW; optax.chain(add_decayed_weights, scale_by_learning_rate)",
        "corrected": "timm.optim.SGDW(corrected_weight_decay=True)",
    },
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
    differs="the buffer holds gradients, not steps: a change of lr acts on the whole buffer at once; torch's dampening is 0",
    offered={
        "l2": "torch.optim.SGD(momentum=); optax.chain(add_decayed_weights, sgd(momentum=))",
        "decoupled_lr": "pytorch_optimizer.SGDW(momentum=); timm.optim.SGDW(momentum=); "
        "optax.chain(trace, add_decayed_weights, scale_by_learning_rate)",
        "corrected": "timm.optim.SGDW(momentum=, corrected_weight_decay=True)",
    },
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
    differs="the papers take the gradient at the look-ahead point, here as in torch and optax it is taken at w; torch's "
    "dampening is 0",
    offered={
        "l2": "torch.optim.SGD(momentum=, nesterov=True); optax.chain(add_decayed_weights, sgd(momentum=, nesterov=True))",
        "decoupled_lr": "pytorch_optimizer.SGDW(momentum=, nesterov=True); timm.optim.SGDW(momentum=, nesterov=True); "
        "optax.chain(trace(nesterov=True), add_decayed_weights, scale_by_learning_rate)",
        "corrected": "timm.optim.SGDW(momentum=, nesterov=True, corrected_weight_decay=True)",
    },
)
