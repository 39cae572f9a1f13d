"""A clock has one source: its numbers are those of the simulator, and of the formula that is solved from the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from dynamics.rules import RULES
from dynamics.simulate.clock import clock_after
from dynamics.simulate.gradients import silent
from dynamics.simulate.lanes import simulate
from dynamics.theory import formula
from dynamics.theory.formula.clocks import STEP
from dynamics.theory.formula.update import clock

CLOCKED = [name for name, rule in RULES.items() if rule.clock]


@pytest.mark.parametrize("name", CLOCKED)
def test_a_clock_is_the_simulators_in_whatever_order_it_is_asked(name: str) -> None:
    rule, steps = RULES[name], [0, 1, 999, 1_000, 2_345]
    run = simulate(rule, "none", silent, record=steps, lanes={"lr": 0.02}, fields=tuple(rule.clock), compiled=False)
    for row in (4, 0, 2, 1, 3, 4):
        found = clock_after(rule, rule.defaults, steps[row], 0.02)
        assert found == {field: values[row, 0] for field, values in run.fields.items()}


@pytest.mark.parametrize("name", CLOCKED)
def test_a_clock_is_that_of_its_formula(name: str) -> None:
    rule = RULES[name]
    found = clock_after(rule, rule.defaults, 36, 0.02)
    values = {formula.symbol(k): x for k, x in {**rule.defaults, "lr": 0.02}.items()}
    for field, before in clock(rule).before.items():
        number = float(before.subs(STEP, 37).doit().subs(values))
        np.testing.assert_allclose(found[next(n for n in rule.clock if formula.symbol(n) == field)], number, rtol=1e-12)
