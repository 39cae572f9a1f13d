"""The effective decay is what two runs, with and without a weak regularizer, differ by."""

from __future__ import annotations

import random

import pytest
import sympy as sp
from properties.spelled import read

from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.theory import formula
from dynamics.words import FLOATS

DECAYS = {
    ("sgd", "l2"): "eta*lambda",
    ("momentum", "l2"): "eta*lambda/(1-mu)",
    ("momentum", "decoupled_lr"): "eta*lambda",
    ("adam", "l2"): "eta*lambda/(epsilon+sqrt(v))",
    ("adam", "decoupled_schedule"): "kappa*lambda",
    ("amsgrad", "l2"): "eta*lambda/(epsilon+sqrt(v_max))",
    ("adamax", "l2"): "eta*lambda/u",
    ("adagrad", "l2"): "eta*lambda/(epsilon+sqrt(s))",
    ("adadelta", "l2"): "eta*lambda*sqrt(a+epsilon)/sqrt(v+epsilon)",
    ("rmsprop_centered", "l2"): "eta*lambda/((1-mu)*(epsilon+sqrt(v-m**2)))",
    ("adan", "l2"): "eta*lambda/(epsilon+sqrt(n))",
    ("lion", "decoupled_lr"): "eta*lambda",
    ("muon", "corrected"): "eta*kappa*lambda",
    ("lars", "l2"): "eta*lambda*trust*norm(w)/((1-mu)*(epsilon+norm(g)))",
    ("sgd", "none"): "0",
}


@pytest.mark.parametrize(("rule", "coupling"), sorted(DECAYS))
def test_known_effective_decays(rule: str, coupling: str) -> None:
    found = formula.effective_decay(RULES[rule], COUPLINGS[coupling])
    assert sp.simplify(found - read(DECAYS[rule, coupling])) == 0
    assert sp.latex(found)


@pytest.mark.parametrize(
    ("rule", "coupling", "why"),
    [
        ("lion", "l2", "the same size for every gradient"),
        ("muon", "l2", "the same singular values"),
        ("adam", "l1", "the same for every size of w"),
        ("sgd", "cautious", "how often update and weight agree"),
        ("schedule_free", "decoupled_lr", "z never settles"),
    ],
)
def test_where_the_pull_is_no_fraction_of_the_weight_it_says_why(rule: str, coupling: str, why: str) -> None:
    with pytest.raises(InputError, match=f"effective decay of {rule} with {coupling}: none exists, .*{why}"):
        formula.effective_decay(RULES[rule], COUPLINGS[coupling])


SETTLING = sorted(set(RULES) - {"lion", "muon", "lars", "lamb", "schedule_free", "adagrad"})


@pytest.mark.parametrize(
    ("rule", "coupling"),
    [*((rule, "l2") for rule in SETTLING), ("adam", "decoupled_lr"), ("momentum", "decoupled_schedule")],
)
def test_effective_decay_is_what_a_weak_regularizer_takes_off(rule: str, coupling: str) -> None:
    """Two runs under the same gradients, with and without: over 4000 settled steps they part by decay x w x steps.

    Every gradient comes with both signs, in random order, so that the pull leaves the mean of their squares alone; what
    it does to single squares averages out but for about 1 - beta2, hence 3 %. Few are as large as the largest: where
    each step were its own maximum, Adamax's scale would not stand still.
    """
    made = RULES[rule]
    slow = {"beta2": 0.999, "alpha": 0.999, "rho": 0.999, "beta3": 0.999, "momentum": 0.5, "eps": 1e-3}
    hyper = {
        **made.defaults,
        **{k: v for k, v in slow.items() if k in made.defaults and (k, rule) != ("beta2", "adan")},
    }
    lr, strength, settle, steps = 1e-5, 1e-4, 6000, 4000
    source = random.Random(0)
    sizes = [1.0 if k % 25 == 0 else source.uniform(0.1, 0.9) for k in range((settle + steps) // 2)]
    gradients = [*sizes, *(-x for x in sizes)]
    source.shuffle(gradients)
    step = compose(made, COUPLINGS[coupling], FLOATS)
    names = [formula.symbol(n) for n in ("lr", "strength", "multiplier", *made.defaults, *made.inner)]
    rate = sp.lambdify(names, formula.effective_decay(made, COUPLINGS[coupling]), "math")
    expected, went = 0.0, []
    for power in (0.0, strength):
        w, inner, start, expected = 1.0, made.fresh(1.0, hyper), 1.0, 0.0
        for t, g in enumerate(gradients):
            w, *rest = step(w, g, inner, lr, 1.0, power, tuple(hyper.values()))
            inner = tuple(rest)
            if t == settle - 1:
                start = w
            if t >= settle and t % 50 == 0:
                expected += 50 * w * rate(lr, power, 1.0, *hyper.values(), *inner)
        went.append(w - start)
    assert went[0] - went[1] == pytest.approx(expected, rel=0.03)
