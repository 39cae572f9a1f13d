"""Stability limits are where eigenvalues pass 1, or there is none and it says why."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import PAIRS, hyperparameters, multipliers
from properties.paths import silent_path, stepped, take
from properties.spelled import read

from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.theory import formula
from dynamics.theory.formula.update import clock
from dynamics.theory.pull import carriers
from dynamics.words import NUMPY

NO_LIMIT = {
    "lion": "its steps have the same size for every gradient",
    "muon": "its steps have the same singular values for every gradient",
    "lars": "its steps are in proportion to the norm of the weights",
    "lamb": "its steps are in proportion to the norm of the weights",
}
LINEAR = [p for p in PAIRS if p[0] not in NO_LIMIT and (p[1] != "cautious" or not carriers(RULES[p[0]]))]
LINEAR += [(rule, "decoupled_lr") for rule in RULES if rule not in {*NO_LIMIT, "sgd", "adam", "schedule_free"}]

LIMITS = {
    ("sgd", "l2"): "2/(h+lambda)",
    ("sgd", "l1"): "2/h",
    ("momentum", "l2"): "2*(1+mu)/(h+lambda)",
    ("momentum", "decoupled_lr"): "2*(1+mu)/(h+lambda*(1+mu))",
    ("adam", "none"): "2*P*(1+beta1)/((1-beta1)*h)",
    ("adam", "l2"): "2*P*(1+beta1)/((1-beta1)*(h+lambda))",
    ("rmsprop", "l2"): "2*P/(h+lambda)",
    ("schedule_free", "l2"): "2*P/((1-beta1)*(h+lambda))",
}


def numbers_for(expression: sp.Expr, numbers: dict[str, float]) -> float:
    return float(expression.subs({formula.symbol(name): value for name, value in numbers.items()}))


@pytest.mark.parametrize(("rule", "coupling"), sorted(LIMITS))
def test_known_stability_limits(rule: str, coupling: str) -> None:
    found = formula.stability(RULES[rule], COUPLINGS[coupling]).lr
    assert sp.simplify(found - read(LIMITS[rule, coupling])) == 0


def linear_step(rule: str, coupling: str, lr: float, numbers: dict[str, float]) -> np.ndarray:
    """The matrix of the step on h w^2 / 2 after many steps, over w and the fields that hold gradients.

    The scale is given so that the step divides by P. The derivative is taken with an imaginary step of 1e-30, which is
    exact: squares of it vanish beside the scale, so that the denominator is frozen as the formula says.
    """
    made = RULES[rule]
    step = compose(made, COUPLINGS[coupling], NUMPY)
    p, eps, beta2 = numbers["P"], numbers.get("eps", 0.0), numbers.get("beta2", numbers.get("alpha", 1.0))
    root = (p - eps) ** 2
    held = {
        **{"v": root / beta2, "vmax": root, "s": root, "n": root / numbers.get("beta3", 1.0), "u": p / beta2},
        **({"s": (root - eps) / beta2} if rule == "adabelief" else {}),
        **({"v": (p * p * (1 + eps) - eps) / numbers["rho"], "a": 1.0} if rule == "adadelta" else {}),
    }
    late = {str(name): {sp.Integer(0): 0.0, sp.oo: 1e300}.get(end, lr) for name, end in clock(made).settled.items()}
    late |= {"t": 1e3} if rule == "radam" else {}
    moving = ["w", *(name for name in made.state if name in carriers(made))]
    hyper = tuple(numbers[name] for name in made.defaults)

    def largest(a: complex, b: complex) -> complex:
        return a if np.real(a) >= np.real(b) else b

    words = {**NUMPY, "sign": lambda x: np.sign(np.real(x)), "maximum": largest, "power": pow}
    step = compose(made, COUPLINGS[coupling], words)
    columns = []
    for along in moving:
        at = {**{name: held.get(name, 0.0) for name in made.state}, **late, "w": 0.0}
        at = {name: np.complex128(value + (1e-30j if name == along else 0)) for name, value in at.items()}
        g = numbers["h"] * at["w"]
        inner = tuple(at[name] if name in made.state else at[name].real for name in made.inner)
        w, *rest = step(at["w"], g, inner, lr, numbers["multiplier"], numbers["strength"], hyper)
        after = dict(zip(("w", *made.inner), (w, *rest), strict=True))
        columns.append([np.imag(after[name]) / 1e-30 for name in moving])
    return np.array(columns).T


@st.composite
def settings_of(draw: st.DrawFn, rule: str) -> dict[str, float]:
    numbers = {"h": draw(st.floats(0.01, 100)), "strength": draw(st.floats(1e-4, 0.9)), "P": draw(st.floats(0.4, 5))}
    numbers |= {"multiplier": draw(multipliers)} | draw(hyperparameters(rule))
    # Below, RAdam never leaves its first steps.
    return numbers | ({"beta2": max(numbers["beta2"], 0.7)} if rule == "radam" else {})


# A direction that is all imaginary has no sign for a cautious decay to see; the run below sees it.
@pytest.mark.parametrize(
    ("rule", "coupling"),
    [(r, c) for r, c in LINEAR if c in ("l2", "decoupled_lr") or (r in ("sgd", "adam", "adagrad") and c != "cautious")],
)
@given(data=st.data())
@settings(max_examples=4)
def test_just_below_the_stability_limit_steps_decay_and_just_above_they_grow(
    rule: str, coupling: str, data: st.DataObject
) -> None:
    numbers = data.draw(settings_of(rule))
    lr = numbers_for(formula.stability(RULES[rule], COUPLINGS[coupling]).lr, numbers)
    assert lr > 0

    def largest(share: float) -> float:
        matrix = linear_step(rule, coupling, share * lr, numbers)
        if rule == "schedule_free":  # w goes its own way once the average's window is long
            assert matrix[0, 1] == pytest.approx(0, abs=1e-30)
            matrix = matrix[:1, :1]
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    assert largest(0.99) < 1 < largest(1.01)
    assert largest(1.0) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("rule", "coupling"), [p for p in LINEAR if p[0] in ("sgd", "momentum", "nesterov")])
@pytest.mark.parametrize(("share", "grows"), [(0.99, False), (1.01, True)])
def test_the_rule_itself_does_so_on_the_quadratic(rule: str, coupling: str, share: float, grows: bool) -> None:
    hyper = RULES[rule].hyperparameters()
    numbers = {"h": 2.0, "strength": 0.0 if coupling == "l1" else 0.1, "multiplier": 1.0} | hyper
    lr = share * numbers_for(formula.stability(RULES[rule], COUPLINGS[coupling]).lr, numbers)
    for w in itertools.islice(stepped(rule, coupling, lambda w, t: 2.0 * w, lr, numbers["strength"]), 20_000):
        if not 1e-100 < abs(w) < 1e100:
            break
    assert (abs(w) > 1e50) == grows
    assert math.isfinite(w)


@pytest.mark.parametrize("rule", ["adam", "rmsprop_momentum"])
def test_without_gradient_a_weight_settles_just_below_the_limit_at_eps_and_not_just_above(rule: str) -> None:
    hyper = RULES[rule].hyperparameters() | {"eps": 1e-4}
    numbers = {"h": 0.0, "strength": 1e-3, "multiplier": 1.0, "P": 1e-4} | hyper
    limit = numbers_for(formula.stability(RULES[rule], COUPLINGS["l2"]).lr, numbers)

    def last(lr: float) -> float:
        return float(np.abs(take(silent_path(rule, "l2", lr, 1e-3, hyper, 0.5), 60_000)[50_000:]).max())

    assert last(0.95 * limit) < 1e-12
    assert last(1.05 * limit) > 1e-6


@pytest.mark.parametrize(("rule", "why"), sorted(NO_LIMIT.items()))
@pytest.mark.parametrize("coupling", ["none", "l2", "decoupled_lr"])
def test_rules_whose_steps_do_not_follow_the_displacement_have_no_limit(rule: str, why: str, coupling: str) -> None:
    with pytest.raises(InputError, match=f"stability limit of {rule} with {coupling}: none exists, {why}"):
        formula.stability(RULES[rule], COUPLINGS[coupling])


def test_a_cautious_decay_has_a_limit_only_with_a_rule_that_keeps_no_direction() -> None:
    found = formula.stability(RULES["sgd"], COUPLINGS["cautious"]).lr
    assert sp.simplify(found - read("2/(h+lambda)")) == 0
    with pytest.raises(InputError, match="direction of each step"):
        formula.stability(RULES["momentum"], COUPLINGS["cautious"])


def test_a_rule_whose_limit_is_not_one_number_is_refused() -> None:
    def cubic(w, g, lr):
        return (w - (lr + lr * lr * lr) * g,)

    rule = Rule("cubic", cubic, (), {}, {}, 0.1)
    with pytest.raises(InputError, match="stability limit of cubic with l2: 3 solutions, one is accepted"):
        formula.stability(rule, COUPLINGS["l2"])


def test_a_coupling_of_ones_own_has_a_limit_too() -> None:
    def half(strength, lr, multiplier):
        return strength / 2

    own = Coupling("own", "", "", before=half)
    limit = formula.stability(RULES["sgd"], own).lr
    assert sp.simplify(limit - read("(2 - lambda/2)/h")) == 0
