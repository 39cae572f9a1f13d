"""The formulas that are printed are the steps that run, and the stability limits are where eigenvalues pass 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import hyperparameters, multipliers, rates

from dynamics import formula
from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.words import FLOATS, NUMPY

EVERY_PAIR = [(rule, coupling) for rule in RULES for coupling in COUPLINGS]


@pytest.mark.parametrize(("rule", "coupling"), EVERY_PAIR)
@given(data=st.data())
@settings(max_examples=5)
def test_the_symbolic_step_is_the_numeric_one(rule: str, coupling: str, data: st.DataObject) -> None:
    hyper = data.draw(hyperparameters(rule))
    inner = {name: data.draw(st.floats(0.01, 0.9)) for name in RULES[rule].inner}
    w, g = data.draw(st.floats(-2, 2)), data.draw(st.floats(-2, 2))
    outer = {"lr": data.draw(rates), "multiplier": data.draw(multipliers), "strength": data.draw(st.floats(0, 0.5))}
    numeric = compose(RULES[rule], COUPLINGS[coupling], FLOATS)(
        w, g, tuple(inner.values()), *outer.values(), tuple(hyper.values())
    )
    values = {formula.symbol(k): v for k, v in ({"w": w, "g": g} | inner | outer | hyper).items()}
    after = formula.update(RULES[rule], COUPLINGS[coupling]).after
    assert list(after) == ["w", *RULES[rule].inner]
    np.testing.assert_allclose([float(e.subs(values)) for e in after.values()], numeric, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rule", "coupling"), EVERY_PAIR)
def test_the_text_that_is_printed_means_the_step(rule: str, coupling: str) -> None:
    for name, step in formula.update(RULES[rule], COUPLINGS[coupling]).written().items():
        # lambda is a word of Python, which reads the text back here
        names = {str(s).replace("lambda", "strength"): s for s in step.free_symbols}
        read = sp.sympify(formula.spoken(step).replace("lambda", "strength"), locals=names)
        assert sp.simplify(read - step) == 0, name


@pytest.mark.parametrize("t", [1, 2, 7])
def test_the_written_step_of_adam_is_its_t_th_step(t: int) -> None:
    beta1, beta2 = 0.8, 0.9
    numeric = compose(RULES["adam"], COUPLINGS["l2"], FLOATS)(
        1.5, -0.3, (0.2, 0.4, beta1 ** (t - 1), beta2 ** (t - 1)), 0.01, 1.0, 0.1, (beta1, beta2, 1e-3)
    )
    names = {"w": 1.5, "g": -0.3, "m": 0.2, "v": 0.4, "lr": 0.01, "strength": 0.1}
    names |= {"beta1": beta1, "beta2": beta2, "eps": 1e-3}
    values: dict[Any, Any] = {formula.symbol(name): value for name, value in names.items()}
    written = formula.update(RULES["adam"], COUPLINGS["l2"]).written()
    assert list(written) == ["w", "m", "v"]
    steps = sp.Symbol("t", integer=True, positive=True)
    np.testing.assert_allclose(
        [float(e.subs({steps: t}).subs(values)) for e in written.values()], numeric[:3], rtol=1e-12
    )


def test_the_silent_step_of_adam_under_l2_is_lr_against_eps() -> None:
    w, lr, strength, eps = map(formula.symbol, ("w", "lr", "strength", "eps"))
    assert (
        sp.simplify(
            formula.silent_step(RULES["adam"], COUPLINGS["l2"]) - (w - lr * strength * w / (strength * w + eps))
        )
        == 0
    )


@pytest.mark.parametrize(("rule", "coupling"), EVERY_PAIR)
def test_the_silent_step_is_the_first_step_without_gradient(rule: str, coupling: str) -> None:
    hyper = RULES[rule].hyperparameters()
    numbers = {"w": 1.3, "lr": 0.01, "strength": 0.2, "multiplier": 1.0} | hyper
    numeric = compose(RULES[rule], COUPLINGS[coupling], FLOATS)(
        1.3, 0.0, RULES[rule].fresh(), 0.01, 1.0, 0.2, tuple(hyper.values())
    )[0]
    symbolic = formula.silent_step(RULES[rule], COUPLINGS[coupling]).subs(
        {formula.symbol(k): v for k, v in numbers.items()}
    )
    assert float(symbolic) == pytest.approx(numeric, rel=1e-12)


LIMITS = {
    ("sgd", "l2"): "2/(h+lambda)",
    ("momentum", "l2"): "2*(1+mu)/(h+lambda)",
    ("momentum", "decoupled_lr"): "2*(1+mu)/(h+lambda*(1+mu))",
    ("adam", "none"): "2*P*(1+beta1)/((1-beta1)*h)",
    ("adam", "l2"): "2*P*(1+beta1)/((1-beta1)*(h+lambda))",
    ("rmsprop", "l2"): "2*P/(h+lambda)",
}


@pytest.mark.parametrize(("rule", "coupling"), sorted(LIMITS))
def test_known_stability_limits(rule: str, coupling: str) -> None:
    names = {formula._WRITTEN.get(n, n): formula.symbol(n) for n in ("h", "P", "strength", "momentum", "beta1")}
    # lambda is a word of Python, and sympify reads Python.
    text = LIMITS[rule, coupling].replace("lambda", "strength")
    known = sp.sympify(text, locals={**names, "strength": formula.symbol("strength")})
    assert sp.simplify(formula.stability_limit(RULES[rule], COUPLINGS[coupling]) - known) == 0


def linear_step(rule: str, coupling: str, lr: float, numbers: dict[str, float]) -> np.ndarray:
    """The matrix of the step on h w^2 / 2 about w = 0 after many steps, over w and the fields that follow it.

    v is given so that its root after the step is P - eps. The derivative is taken with an imaginary step of 1e-30,
    which is exact: g^2 vanishes beside v, so the denominator is frozen as the formula says.
    """
    made = RULES[rule]
    step = compose(made, COUPLINGS[coupling], NUMPY)
    hyper = [numbers[name] for name in made.defaults]
    memory = numbers.get("beta2", numbers.get("alpha", 1.0))
    held = {"v": (numbers["P"] - numbers.get("eps", 0.0)) ** 2 / memory}
    moving = ["w", *(name for name in made.state if name not in held)]
    columns = []
    for along in moving:
        at = {name: np.complex128(1e-30j if name == along else held.get(name, 0.0)) for name in ("w", *made.inner)}
        inner = tuple(at[name] for name in made.inner)
        w, *rest = step(at["w"], numbers["h"] * at["w"], inner, lr, numbers["multiplier"], numbers["strength"], hyper)
        after = dict(zip(("w", *made.inner), (w, *rest), strict=True))
        columns.append([after[name].imag / 1e-30 for name in moving])
    return np.array(columns).T


@st.composite
def settings_of(draw: st.DrawFn, rule: str) -> dict[str, float]:
    numbers = {"h": draw(st.floats(0.01, 100)), "strength": draw(st.floats(1e-4, 0.9)), "P": draw(st.floats(0.2, 5))}
    return numbers | {"multiplier": draw(multipliers)} | draw(hyperparameters(rule))


@pytest.mark.parametrize(("rule", "coupling"), EVERY_PAIR)
@given(data=st.data())
@settings(max_examples=12)
def test_just_below_the_stability_limit_steps_decay_and_just_above_they_grow(
    rule: str, coupling: str, data: st.DataObject
) -> None:
    numbers = data.draw(settings_of(rule))
    limit = formula.stability_limit(RULES[rule], COUPLINGS[coupling])
    lr = float(limit.subs({formula.symbol(name): value for name, value in numbers.items()}))
    assert lr > 0

    def largest(share: float) -> float:
        return float(np.abs(np.linalg.eigvals(linear_step(rule, coupling, share * lr, numbers))).max())

    assert largest(0.99) < 1 < largest(1.01)
    assert largest(1.0) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize(("share", "grows"), [(0.99, False), (1.01, True)])
def test_the_rule_itself_does_so_on_the_quadratic(rule: str, coupling: str, share: float, grows: bool) -> None:
    numbers = {"h": 2.0, "strength": 0.1, "multiplier": 1.0} | RULES[rule].hyperparameters()
    limit = formula.stability_limit(RULES[rule], COUPLINGS[coupling])
    lr = share * float(limit.subs({formula.symbol(name): value for name, value in numbers.items()}))
    step = compose(RULES[rule], COUPLINGS[coupling], FLOATS)
    w, inner = 1.0, RULES[rule].fresh()
    for _ in range(20_000):
        w, *rest = step(w, 2.0 * w, inner, lr, 1.0, 0.1, tuple(RULES[rule].hyperparameters().values()))
        inner = tuple(rest)
        if not 1e-100 < abs(w) < 1e100:
            break
    assert (abs(w) > 1e50) == grows
    assert math.isfinite(w)


def test_a_rule_whose_limit_is_not_one_number_is_refused() -> None:
    def cubic(w, g, lr):  # type: ignore[no-untyped-def]
        return (w - (lr + lr * lr * lr) * g,)

    rule = Rule("cubic", cubic, (), {}, {}, 0.1, "", "", False)
    with pytest.raises(InputError, match="stability limit of cubic with l2: 3 solutions, one is accepted"):
        formula.stability_limit(rule, COUPLINGS["l2"])


def test_a_coupling_of_ones_own_has_a_limit_too() -> None:
    def half(strength, lr, multiplier):  # type: ignore[no-untyped-def]
        return strength / 2

    own = Coupling("own", "", "", before=half)
    limit = formula.stability_limit(RULES["sgd"], own)
    h, strength = formula.symbol("h"), formula.symbol("strength")
    assert sp.simplify(limit - (2 - strength / 2) / h) == 0
