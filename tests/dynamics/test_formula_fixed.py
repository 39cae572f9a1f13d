"""Fixed points rest: a step leaves them where they are, and runs that settle end there."""

from __future__ import annotations

import itertools
from functools import cache

import mpmath
import numpy as np
import pytest
import sympy as sp
from properties.draws import PAIRS
from properties.paths import stepped, take

from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.theory import formula
from dynamics.words import FLOATS

NONE = {
    "lion": "the same size for every gradient",
    "muon": "the same singular values",
    "lars": "in proportion to the norm",
    "lamb": "in proportion to the norm",
}
DECOUPLED = ["decoupled_lr", "decoupled_schedule", "decoupled_constant", "corrected"]


def exists(rule: str, coupling: str) -> bool:
    return rule not in NONE and coupling != "cautious" and not (rule == "adagrad" and coupling in DECOUPLED)


# Under L2 all rest at one point; under decay each has its own.
RESTS = sorted({p for p in [*PAIRS, *((rule, "decoupled_lr") for rule in RULES)] if exists(*p)})


@cache
def rest(rule: str, coupling: str) -> formula.FixedPoint:
    return formula.fixed_point(RULES[rule], COUPLINGS[coupling])


@pytest.mark.parametrize("rule", sorted(set(RULES) - set(NONE)))
def test_under_l2_every_rule_with_a_fixed_point_rests_where_sgd_does(rule: str) -> None:
    h, target, strength = map(formula.symbol, ("h", "target", "strength"))
    found = formula.fixed_point(RULES[rule], COUPLINGS["l2"])
    assert sp.simplify(found.weight - h * target / (h + strength)) == 0
    assert found.at_eps_zero == found.weight


def test_known_fixed_points_of_weight_decay() -> None:
    h, target, strength, mu, eps, vmax = map(formula.symbol, ("h", "target", "strength", "momentum", "eps", "vmax"))
    decay = COUPLINGS["decoupled_lr"]
    for rule in ("momentum", "nesterov"):
        found = formula.fixed_point(RULES[rule], decay).weight
        assert sp.simplify(found - h * target / (h + strength * (1 - mu))) == 0
    found = formula.fixed_point(RULES["amsgrad"], decay).weight
    assert sp.simplify(found - h * target / (h + strength * (sp.sqrt(vmax) + eps))) == 0
    for rule in ("adam", "rmsprop", "adamax", "nadam", "radam", "adan", "schedule_free"):
        assert formula.fixed_point(RULES[rule], decay).at_eps_zero == sp.Min(target, 1 / strength)
    # Settled, Adadelta's two roots cancel, and it is SGD.
    assert formula.fixed_point(RULES["adadelta"], decay) == formula.fixed_point(RULES["sgd"], decay)


@pytest.mark.parametrize(("rule", "coupling"), RESTS)
def test_a_step_from_there_leaves_the_weight_where_it_is(rule: str, coupling: str) -> None:
    """By substitution, at 50 digits: with the weight held at the point, 200 steps settle the state; the last stays."""
    made = RULES[rule]
    given = {"h": 2.0, "target": 0.9, "lr": 0.1, "multiplier": 1.0, "strength": 0.25, "vmax": 4.0}
    given |= {name: 0.3 if x == 0 or x > 0.5 else x for name, x in made.defaults.items()}
    # RAdam's first steps end, NAdam's schedule does, and nothing is as slow to settle as a small eps makes Adadelta.
    quick = {"beta2": 0.7, "momentum_decay": 10.0, "eps": 0.3}
    given |= {name: x for name, x in quick.items() if name in made.defaults}
    given |= {"strength": 0.02} if coupling in ("decoupled_schedule", "decoupled_constant") else {}  # not times lr
    with mpmath.workdps(50):
        exact = {formula.symbol(name): sp.Rational(str(x)) for name, x in given.items()}
        w = mpmath.mpf(str(sp.N(rest(rule, coupling).weight.subs(exact), 50)))
        numbers = {name: mpmath.mpf(str(x)) for name, x in given.items()}
        words = {**FLOATS, "sqrt": mpmath.sqrt, "power": mpmath.power}
        step = compose(made, COUPLINGS[coupling], words)
        inner = {n: mpmath.mpf(x) for n, x in zip(made.inner, made.fresh(w, numbers), strict=True)}
        inner |= {"vmax": numbers["vmax"]} if "vmax" in made.state else {}
        for _ in range(200):
            hyper = tuple(numbers[name] for name in made.defaults)
            outer = (numbers["lr"], numbers["multiplier"], numbers["strength"])
            after, *inner_after = step(w, numbers["h"] * (w - numbers["target"]), tuple(inner.values()), *outer, hyper)
            inner = dict(zip(made.inner, inner_after, strict=True)) | ({"z": w} if "z" in made.state else {})
        assert 0 < w <= numbers["target"]
        assert abs(after - w) < mpmath.mpf(10) ** -25


@pytest.mark.parametrize(
    ("rule", "coupling", "strength"),
    [(*p, s) for p in RESTS if p[0] != "rmsprop_centered" for s in ((0.4, 1.5) if p[1] == "decoupled_lr" else (0.4,))],
)
def test_runs_end_at_the_fixed_point(rule: str, coupling: str, strength: float) -> None:
    """Within 1e-6 after 15000 steps of 1e-3 (Adadelta, 1e-2), at a large eps, where every rule is stable near it.

    strength 1.5: past the bend of the clip. Centered RMSprop's variance is 0 at rest, where rounding can make it negative.
    """
    made = RULES[rule]
    hyper = made.hyperparameters() | ({"eps": 1e-2} if "eps" in made.defaults else {})
    quick = {"beta2": 0.99, "alpha": 0.99, "momentum_decay": 1.0}
    hyper |= {name: x for name, x in quick.items() if name in hyper}
    lr = {"adadelta": 1e-2, "adagrad": 1e-1, "schedule_free": 1e-2}.get(rule, 1e-3)
    h, target = 2.0, 0.9
    strength *= lr if coupling in ("decoupled_schedule", "decoupled_constant") else 1
    found = rest(rule, coupling)
    step = compose(made, COUPLINGS[coupling], FLOATS)
    w, inner = 0.2, made.fresh(0.2, hyper)
    for _ in range(15_000):
        w, *inner_after = step(w, h * (w - target), inner, lr, 1.0, strength, tuple(hyper.values()))
        inner = tuple(inner_after)
    values = {"h": h, "target": target, "strength": strength, "lr": lr, "multiplier": 1.0} | hyper
    values |= dict(zip(made.inner, inner, strict=True))
    ends = float(found.weight.subs({formula.symbol(name): x for name, x in values.items()}))
    assert 0 < ends <= target
    tolerance = 1e-2 if rule in ("schedule_free", "adagrad") else 1e-6  # these slow down as they go
    assert w == pytest.approx(ends, abs=tolerance)


@pytest.mark.parametrize(("rule", "coupling"), [p for p in RESTS if p[1] in DECOUPLED])
def test_the_formula_goes_to_its_limit_as_eps_goes_to_0(rule: str, coupling: str) -> None:
    found = rest(rule, coupling)
    base = {"lr": 0.1, "multiplier": 0.5, "momentum": 0.8, "beta2": 0.9, "h": 1.7, "vmax": 0.3, "eps": 1e-14}
    for target, strength in itertools.product((0.5, 3.0), (0.1, 0.9)):
        values = base | {"target": target, "strength": strength}
        near, at = (
            sp.N(e.subs({formula.symbol(k): sp.Rational(str(x)) for k, x in values.items()}), 30)
            for e in (found.weight, found.at_eps_zero)
        )
        np.testing.assert_allclose(float(near), float(at), rtol=2e-6)  # AdaBelief's eps stands under a root


@pytest.mark.parametrize(("rule", "why"), sorted(NONE.items()))
@pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
def test_rules_that_go_back_and_forth_have_none(rule: str, why: str, coupling: str) -> None:
    with pytest.raises(InputError, match=f"fixed point of {rule} with {coupling}: none exists, .*{why}"):
        formula.fixed_point(RULES[rule], COUPLINGS[coupling])


def test_adagrad_under_decay_and_any_cautious_rule_have_none() -> None:
    with pytest.raises(InputError, match="its sum of squares never settles"):
        formula.fixed_point(RULES["adagrad"], COUPLINGS["decoupled_lr"])
    with pytest.raises(InputError, match="switches on and off about w_star"):
        formula.fixed_point(RULES["sgd"], COUPLINGS["cautious"])


def test_a_fixed_point_need_not_be_reached() -> None:
    """Adam under L2 with lr (h + strength) / eps above 38: the point is where it was, and the run is not."""
    hyper = RULES["adam"].hyperparameters() | {"eps": 1e-4}

    def spread(lr: float) -> float:
        path = take(stepped("adam", "l2", lambda w, t: w - 1.0, lr, 0.25, hyper, 0.5), 40_000)
        return float(np.abs(path[30_000:] - 0.8).max())

    limit = 38 * 1e-4 / 1.25
    assert spread(0.95 * limit) < 1e-9
    assert spread(1.05 * limit) > 1e-5
