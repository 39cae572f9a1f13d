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
    label="Adam",
    memory="beta2",
    divides_by="mean",
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
    label="AMSGrad",
    memory="beta2",
    divides_by="largest mean",
    written={"vmax": "v_max"},
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
    label="Adamax",
    memory="beta2",
    divides_by="maximum",
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
    label="NAdam",
    memory="beta2",
    divides_by="mean",
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
    label="RAdam",
    memory="beta2",
    divides_by="mean",
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
    label="AdaBelief",
    memory="beta2",
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
    label="Adan",
    memory="beta3",
    written={"last": "g_last"},
)
