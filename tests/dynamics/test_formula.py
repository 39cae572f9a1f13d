"""The formulas that are printed are the steps that run: as they stand, in the step number, and without a gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import PAIRS, hyperparameters, multipliers, rates
from properties.paths import silent_path, take

from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.theory import formula
from dynamics.theory.formula.clocks import STEP, solve_clock
from dynamics.words import FLOATS, symbols

# A number is a tensor of its own.
NUMBERS = {name: FLOATS[name] for name in ("norm", "orthogonal", "shape_factor")}

# Away from 0, where the direction of a step is rounding.
signed = st.builds(lambda side, x: side * x, st.sampled_from([-1.0, 1.0]), st.floats(0.01, 2))


def value(expression: sp.Expr, numbers: dict[str, float], **more: float) -> float:
    """The expression as a number, fields and hyperparameters given by name, further symbols as they are written."""
    symbols = {formula.symbol(name): x for name, x in numbers.items()}
    free = {s: more[str(s)] for s in expression.free_symbols - set(symbols)}
    given = {s: x for s, x in (symbols | free).items() if s in expression.free_symbols}
    return float(sp.lambdify(list(given), expression.doit(), modules=[NUMBERS, "math"])(*given.values()))


def outer(data: st.DataObject) -> dict[str, float]:
    strength = data.draw(st.floats(0, 0.5))
    return {"lr": data.draw(rates), "multiplier": data.draw(multipliers), "strength": strength}


@cache
def stepper(rule: str, coupling: str) -> Callable[..., Any]:
    after = formula.update(RULES[rule], COUPLINGS[coupling]).after
    assert list(after) == ["w", *RULES[rule].inner]
    names = ("w", "g", *RULES[rule].inner, "lr", "multiplier", "strength", *RULES[rule].defaults)
    return sp.lambdify([formula.symbol(name) for name in names], list(after.values()), modules=[NUMBERS, "math"])


@pytest.mark.parametrize(("rule", "coupling"), PAIRS)
@given(data=st.data())
@settings(max_examples=4)
def test_the_symbolic_step_is_the_numeric_one(rule: str, coupling: str, data: st.DataObject) -> None:
    hyper = data.draw(hyperparameters(rule))
    inner = {name: data.draw(st.floats(0.01, 0.9)) for name in RULES[rule].inner}
    if rule == "rmsprop_centered":
        inner["m"] *= 0.1  # v - m^2 is a variance
    w, g = data.draw(signed), data.draw(signed)
    outside = outer(data)
    numeric = compose(RULES[rule], COUPLINGS[coupling], FLOATS)(
        w, g, tuple(inner.values()), *outside.values(), tuple(hyper.values())
    )
    # Cancelling squares in the variance cost digits in either order of operations.
    tolerance = 1e-9 if rule == "rmsprop_centered" else 1e-11
    found = stepper(rule, coupling)(w, g, *inner.values(), *outside.values(), *hyper.values())
    np.testing.assert_allclose(found, numeric, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("rule", "coupling"), PAIRS)
def test_the_text_that_is_printed_means_the_step(rule: str, coupling: str) -> None:
    clocks = {formula.symbol(name) for name in RULES[rule].clock}
    for name, step in formula.update(RULES[rule], COUPLINGS[coupling]).written().items():
        assert not step.free_symbols & clocks
        assert "power" not in formula.spoken(step, sp.latex)
        # lambda is a word of Python, which reads the text back here
        names = {str(s).replace("lambda", "strength"): s for s in step.free_symbols}
        names |= {f.func.__name__: f.func for f in step.atoms(sp.core.function.AppliedUndef)}
        names |= {str(s): s for product in step.atoms(sp.Product) for s in product.variables}
        names["where"] = symbols()["where"]
        read = sp.sympify(formula.spoken(step).replace("lambda", "strength"), locals=names)
        assert read == step or sp.expand(read - step) == 0, name


@pytest.mark.parametrize(("rule", "coupling"), [p for p in PAIRS if p[1] in ("l2", "cautious")])
def test_the_written_step_is_the_t_th_step_of_the_run(rule: str, coupling: str) -> None:
    """At a constant learning rate, with RAdam before and after its first steps."""
    made, hyper = RULES[rule], RULES[rule].hyperparameters()
    outside = {"lr": 0.01, "multiplier": 1.0, "strength": 0.1}
    step, written = compose(made, COUPLINGS[coupling], FLOATS), formula.update(made, COUPLINGS[coupling]).written()
    assert list(written) == ["w", *made.state]
    w, inner = 1.5, made.fresh(1.5, hyper)
    for t in range(1, 12):
        g = 0.5 - 0.3 * (t % 3)
        held = dict(zip(made.inner, inner, strict=True))
        numbers = {"w": w, "g": g} | {n: held[n] for n in made.state} | outside | hyper
        w, *rest = step(w, g, inner, *outside.values(), tuple(hyper.values()))
        inner = tuple(rest)
        if t in (1, 2, 5, 6, 11):
            found = [value(row.subs(STEP, t), numbers) for row in written.values()]
            np.testing.assert_allclose(found, (w, *inner[: len(made.state)]), rtol=1e-9, atol=1e-12)


def test_a_clock_that_has_no_closed_form_is_refused() -> None:
    x = sp.Symbol("x")
    with pytest.raises(InputError, match="clock x <- "):
        solve_clock({x: (sp.Integer(1), x**2 + 1)})


@pytest.mark.parametrize(("rule", "coupling"), PAIRS)
def test_the_silent_step_is_the_first_step_without_gradient(rule: str, coupling: str) -> None:
    hyper = RULES[rule].hyperparameters()
    hyper |= {"initial_accumulator": 0.3} if "initial_accumulator" in hyper else {}
    outside = {"lr": 0.01, "multiplier": 0.5, "strength": 0.2}
    numeric = compose(RULES[rule], COUPLINGS[coupling], FLOATS)(
        1.3, 0.0, RULES[rule].fresh(1.3, hyper), *outside.values(), tuple(hyper.values())
    )[0]
    symbolic = formula.silent_step(RULES[rule], COUPLINGS[coupling])
    assert value(symbolic, {"w": 1.3} | outside | hyper) == pytest.approx(numeric, rel=1e-9)


@pytest.mark.parametrize(("rule", "coupling"), PAIRS)
def test_what_survives_at_eps_0_is_what_the_run_does(rule: str, coupling: str) -> None:
    """The first step for either sign, and the freedom from the strength over twenty steps at two strengths.

    In the run eps is 1e-100: beside a pull it is nothing, and where nothing pulls the step is 0 and not 0 / 0.
    """
    made = RULES[rule]
    hyper = made.hyperparameters() | ({"eps": 1e-100} if "eps" in made.defaults else {})
    found = formula.at_eps_zero(made, COUPLINGS[coupling])

    def path(w: float, strength: float, steps: int) -> list[float]:
        return take(silent_path(rule, coupling, 0.01, strength, hyper, w, multiplier=0.5), steps + 1)[1:].tolist()

    for w in (1.3, -1.3):
        numbers = {"w": w, "lr": 0.01, "strength": 0.2, "multiplier": 0.5} | hyper
        assert value(found.first_step, numbers) == pytest.approx(path(w, 0.2, 1)[0], rel=1e-9)
    twice = [path(1.3, strength, 20) for strength in (0.25, 0.125)]
    assert np.allclose(*twice, rtol=1e-9) == found.free_of_strength
