"""Adam and its relatives: a running mean of gradients over the root of a running mean of squares, both corrected.

m, v: running means of g and g^2; power1 = beta1^t, power2 = beta2^t. Corrections are factors, 1 / (1 - power): they are
the same for all weights, which a division each would not show.
"""

from __future__ import annotations

from dynamics.rule import Rule
from dynamics.words import maximum, power, sqrt, where


def _adam(w, g, m, v, power1, power2, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    power1 = power1 * beta1
    power2 = power2 * beta2
    mhat = m * (1 / (1 - power1))
    vhat = v * (1 / (1 - power2))
    return w - lr * mhat / (sqrt(vhat) + eps), m, v, power1, power2


def _amsgrad(w, g, m, v, vmax, power1, power2, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    vmax = maximum(vmax, v)
    power1 = power1 * beta1
    power2 = power2 * beta2
    mhat = m * (1 / (1 - power1))
    vhat = vmax * (1 / (1 - power2))
    return w - lr * mhat / (sqrt(vhat) + eps), m, v, vmax, power1, power2


def _adamax(w, g, m, u, power1, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    u = maximum(beta2 * u, abs(g) + eps)
    power1 = power1 * beta1
    mhat = m * (1 / (1 - power1))
    return w - lr * mhat / u, m, u, power1


def _nadam(w, g, m, v, decay, mu_product, power2, lr, beta1, beta2, momentum_decay, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    power2 = power2 * beta2
    slower = power(0.96, momentum_decay)
    decay = decay * slower
    mu = beta1 * (1 - 0.5 * decay)
    mu_next = beta1 * (1 - 0.5 * (decay * slower))
    mu_product = mu_product * mu
    ahead = m * (mu_next / (1 - mu_product * mu_next)) + g * ((1 - mu) / (1 - mu_product))
    vhat = v * (1 / (1 - power2))
    return w - lr * ahead / (sqrt(vhat) + eps), m, v, decay, mu_product, power2


def _radam(w, g, m, v, t, power1, power2, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    t = t + 1
    power1 = power1 * beta1
    power2 = power2 * beta2
    mhat = m * (1 / (1 - power1))
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * power2 / (1 - power2)
    tame = rho > 5  # below, the variance of 1 / sqrt(v) is infinite; 6 stands in there, and is not used
    rho = where(tame, rho, 6.0)
    rho_inf = where(tame, rho_inf, 6.0)
    rectified = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    scale = sqrt(rectified * (1 - power2))
    return w - lr * where(tame, mhat * scale / (sqrt(v) + eps), mhat), m, v, t, power1, power2


def _adabelief(w, g, m, s, power1, power2, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    off = g - m
    s = beta2 * s + (1 - beta2) * (off * off) + eps
    power1 = power1 * beta1
    power2 = power2 * beta2
    mhat = m * (1 / (1 - power1))
    shat = s * (1 / (1 - power2))
    return w - lr * mhat / (sqrt(shat) + eps), m, s, power1, power2


def _adan(w, g, m, d, n, last, power1, power2, power3, lr, beta1, beta2, beta3, eps):
    change = where(power1 < 1, g - last, 0 * g)  # the first gradient has none before it
    m = beta1 * m + (1 - beta1) * g
    d = beta2 * d + (1 - beta2) * change
    ahead = g + beta2 * change
    n = beta3 * n + (1 - beta3) * (ahead * ahead)
    power1 = power1 * beta1
    power2 = power2 * beta2
    power3 = power3 * beta3
    mhat = m * (1 / (1 - power1))
    dhat = d * (1 / (1 - power2))
    nhat = n * (1 / (1 - power3))
    return w - lr * (mhat + beta2 * dhat) / (sqrt(nhat) + eps), m, d, n, g, power1, power2, power3


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
    "correction is the product of the betas used, in torch it is a power of the last one; pytorch_optimizer.AdamC adds "
    "eps before the bias correction, and its decay is corrected only in groups marked normalized=True",
    offered={
        "l2": "torch.optim.Adam; optax.chain(add_decayed_weights, adam)",
        "decoupled_lr": "torch.optim.AdamW; torch.optim.Adam(decoupled_weight_decay=True); optax.adamw; timm.optim.AdamWLegacy",
        "corrected": "optax.adamw(weight_decay=); timm.optim.AdamWLegacy(corrected_weight_decay=True)",
    },
)

amsgrad = Rule(
    name="amsgrad",
    step=_amsgrad,
    state=("m", "v", "vmax"),
    clock={"power1": 1.0, "power2": 1.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    lr=1e-3,
    paper="Reddi, Kale, Kumar 2018, arXiv 1904.09237",
    semantics="torch.optim.Adam(amsgrad=True)",
    adaptive=True,
    differs="the maximum is of the raw v and takes the bias correction of the moment; in optax.amsgrad it is of the "
    "corrected v; the paper corrects neither",
    offered={
        "l2": "torch.optim.Adam(amsgrad=True)",
        "decoupled_lr": "torch.optim.AdamW(amsgrad=True); timm.optim.AdamWLegacy(amsgrad=True)",
        "corrected": "timm.optim.AdamWLegacy(amsgrad=True, corrected_weight_decay=True)",
    },
)

adamax = Rule(
    name="adamax",
    step=_adamax,
    state=("m", "u"),
    clock={"power1": 1.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    lr=2e-3,
    paper="Kingma, Ba 2015, arXiv 1412.6980, Algorithm 2",
    semantics="torch.optim.Adamax",
    adaptive=True,
    differs="eps enters the state, u >= abs(g) + eps, and u is not bias-corrected, in torch, optax and pytorch_optimizer "
    "alike; the paper has no eps",
    offered={
        "l2": "torch.optim.Adamax; optax.chain(add_decayed_weights, adamax); pytorch_optimizer.AdaMax",
        "decoupled_lr": "optax.adamaxw; pytorch_optimizer.AdaMax(weight_decouple=True)",
        "decoupled_constant": "pytorch_optimizer.AdaMax(weight_decouple=True, fixed_decay=True)",
        "corrected": "optax.adamaxw(weight_decay=)",
    },
)

nadam = Rule(
    name="nadam",
    step=_nadam,
    state=("m", "v"),
    clock={"decay": 1.0, "mu_product": 1.0, "power2": 1.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "momentum_decay": 4e-3, "eps": 1e-8},
    lr=2e-3,
    paper="Dozat 2016",
    semantics="torch.optim.NAdam",
    adaptive=True,
    differs="momentum_decay = 0 leaves the momentum at beta1 / 2, it does not switch its schedule off; optax.nadam has no "
    "momentum schedule and corrects the look-ahead by beta1^(t + 1), timm's NAdamW has none either and corrects by beta1^t; "
    "torch keeps the product of momenta in its default type, float32",
    offered={
        "l2": "torch.optim.NAdam; timm.optim.NAdamLegacy",
        "decoupled_lr": "torch.optim.NAdam(decoupled_weight_decay=True)",
    },
)

radam = Rule(
    name="radam",
    step=_radam,
    state=("m", "v"),
    clock={"t": 0.0, "power1": 1.0, "power2": 1.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    lr=1e-3,
    paper="Liu et al. 2020, arXiv 1908.03265, Algorithm 2",
    semantics="torch.optim.RAdam",
    adaptive=True,
    differs="eps is added to the raw sqrt(v), before the bias correction; in optax.radam after it, so that it is the same "
    "only at eps = 0; the first steps (5 at the default beta2), where the variance is infinite, are momentum SGD: their "
    "size depends on the gradient's; pytorch_optimizer.RAdam skips them by default and ignores L2; timm's RAdamLegacy "
    "computes in float32",
    offered={
        "l2": "torch.optim.RAdam",
        "decoupled_lr": "torch.optim.RAdam(decoupled_weight_decay=True); pytorch_optimizer.RAdam(degenerated_to_sgd=True); "
        "timm.optim.RAdamLegacy",
        "decoupled_constant": "pytorch_optimizer.RAdam(degenerated_to_sgd=True, fixed_decay=True)",
    },
)

adabelief = Rule(
    name="adabelief",
    step=_adabelief,
    state=("m", "s"),
    clock={"power1": 1.0, "power2": 1.0},
    defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-16},
    lr=1e-3,
    paper="Zhuang et al. 2020, arXiv 2010.07468, Algorithm 2",
    semantics="the authors' adabelief_pytorch with rectify=False; pytorch_optimizer.AdaBelief; optax.adabelief(eps=, eps_root=) "
    "with both the same",
    adaptive=True,
    differs="eps is gathered in s at every step and added to its root again; the authors' package and timm's AdaBelief "
    "rectify as RAdam does by default: rectify=False there",
    offered={
        "l2": "pytorch_optimizer.AdaBelief(weight_decouple=False); optax.chain(add_decayed_weights, adabelief); "
        "timm.optim.AdaBelief(decoupled_decay=False, rectify=False)",
        "decoupled_lr": "pytorch_optimizer.AdaBelief; timm.optim.AdaBelief(rectify=False); "
        "optax.chain(scale_by_belief, add_decayed_weights, scale_by_learning_rate)",
        "decoupled_constant": "pytorch_optimizer.AdaBelief(fixed_decay=True); "
        "timm.optim.AdaBelief(rectify=False, fixed_decay=True)",
    },
)

adan = Rule(
    name="adan",
    step=_adan,
    state=("m", "d", "n", "last"),
    clock={"power1": 1.0, "power2": 1.0, "power3": 1.0},
    defaults={"beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8},
    lr=1e-3,
    paper="Xie et al. 2022, arXiv 2208.06677, Algorithm 1, with 1 - beta for the paper's beta",
    semantics="the authors' adan.py with no_prox=True; pytorch_optimizer.Adan(weight_decouple=True)",
    adaptive=True,
    differs="the authors' default divides w by 1 + lr strength after the step instead of shrinking it before; optax.adan "
    "weighs the gradient's change by 1 - b2 where the paper and the authors' code weigh it by b2 (in this notation): the "
    "same only at b2 = 0.5 and eps_root = 0",
    offered={"decoupled_lr": "pytorch_optimizer.Adan(weight_decouple=True); timm.optim.Adan(no_prox=True)"},
)
