"""Rules and their settings: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS, none
from dynamics.errors import InputError
from dynamics.rule import BELOW_ONE, RANGES, Rule, check
from dynamics.rules import RULES, find_rule
from dynamics.theory.formula import effective_decay, symbol, update
from dynamics.theory.formula.update import late
from dynamics.theory.pull import carriers

SHARES = ["momentum", "alpha", "rho", "beta1", "beta2", "beta3"]
SIZES = ["lr", "strength", "eps", "momentum_decay", "initial_accumulator", "trust"]


@pytest.mark.parametrize("name", [*SHARES, *SIZES])
@given(value=st.floats() | st.sampled_from([0.0, 1.0, math.nextafter(1, 0), -5e-324]))
def test_a_share_is_in_0_to_1_and_a_size_finite_and_not_negative(name: str, value: float) -> None:
    if 0 <= value < (1 if name in SHARES else math.inf):
        assert check(name, value) == value
    else:
        accepted = r"in \[0, 1\)" if name in SHARES else "a finite number >= 0"
        with pytest.raises(InputError, match=f"{name} .* is out of range: accepted is {accepted}"):
            check(name, value)


@pytest.mark.parametrize("value", ["much", "1e-3", None, True, [0.1], 1j, 10**400])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"lr .* is no number: a number is accepted"):
        check("lr", value)
    assert set(RANGES) == {*SHARES, *SIZES}
    assert isinstance(check("lr", 1), float)


def test_unknown_rules_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=f"optimizer 'Adam' is unknown: accepted are {', '.join(RULES)}"):
        find_rule("Adam")


def test_a_rule_stands_for_itself() -> None:
    for name, rule in RULES.items():
        assert find_rule(name) is rule is find_rule(rule)
        assert rule.name == name


def test_hyperparameters_come_whole_and_in_the_steps_order() -> None:
    assert list(RULES["adam"].hyperparameters(eps=1e-4, beta1=0.5).items()) == [
        ("beta1", 0.5), ("beta2", 0.999), ("eps", 1e-4)
    ]  # fmt: skip
    assert RULES["sgd"].hyperparameters() == {}


def test_hyperparameters_of_another_rule_are_refused() -> None:
    with pytest.raises(InputError, match="momentum has no hyperparameter 'beta1': it has momentum"):
        RULES["momentum"].hyperparameters(beta1=0.9)
    with pytest.raises(InputError, match="sgd has no hyperparameter 'momentum': it has none"):
        RULES["sgd"].hyperparameters(momentum=0.9)
    with pytest.raises(InputError, match=r"beta2 1\.0 is out of range"):
        RULES["adam"].hyperparameters(beta2=1.0)


def test_fresh_is_zero_state_and_the_clock_at_its_start() -> None:
    def fresh(rule: str, **given: float) -> tuple[Any, ...]:
        return RULES[rule].fresh(0.7, RULES[rule].hyperparameters(**given))

    assert fresh("sgd") == ()
    assert fresh("adam") == (0.0, 0.0, 1.0, 1.0)
    # Where `starts` says so: at the first weight, or at a hyperparameter.
    assert fresh("schedule_free") == (0.7, 0.0, 1.0, 0.0, 0.0)
    assert fresh("adagrad", initial_accumulator=0.1) == (0.1,)


@pytest.mark.parametrize("rule", RULES)
def test_defaults_are_in_range(rule: str) -> None:
    assert RULES[rule].hyperparameters() == dict(RULES[rule].defaults)
    assert check("lr", RULES[rule].lr) > 0


def test_a_rule_whose_step_takes_something_else_is_refused() -> None:
    def swapped(w, g, momentum, b, lr):
        return w - lr * b, momentum * b + g

    with pytest.raises(InputError, match="rule swapped: its step must take w, g, b, lr, momentum"):
        Rule("swapped", swapped, ("b",), {}, {"momentum": 0.9}, 0.1)


def test_a_rule_takes_the_pull_where_its_step_names_it() -> None:
    assert {name for name, rule in RULES.items() if rule.takes_pull} == {"schedule_free", "lamb"}


def test_rules_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        RULES["sgd"].lr = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        RULES["adamw"] = RULES["adam"]  # type: ignore[index]


def told_by_the_formula(rule: Rule) -> tuple[str, str]:
    """(memory, divides_by), read off the rule's own rows and its pull under L2."""
    rows = {symbol(n): late(rule, row) for n, row in update(rule, none).after.items() if n in rule.state}
    gathered = {x: row for x, row in rows.items() if str(x) not in map(str, map(symbol, carriers(rule)))}
    names, kinds = {symbol(name): name for name in rule.defaults}, {}
    memory = ""
    for x, row in gathered.items():
        parts = row.args if isinstance(row, sp.Max) else (row,)
        kept = next(sp.diff(part, x) for part in parts if part.has(x))
        memory = names.get(kept, memory)
        kinds[symbol("eps") + sp.sqrt(x)] = {
            kept * x + (1 - kept) * symbol("g") ** 2: "mean",
            x + symbol("g") ** 2: "sum",
        }.get(sp.expand(row) if kept == 1 else sp.collect(row, x), "largest mean" if x in parts else "")
        if isinstance(row, sp.Max) and kept in names:
            kinds[x] = "maximum"
    try:
        pull = effective_decay(rule, COUPLINGS["l2"])
    except InputError:
        return memory, ""
    heavy = 1 - symbol("momentum") if "momentum" in rule.defaults else 1
    scale = symbol("lr") * symbol("strength") / (pull * heavy)
    return memory, kinds.get(sp.simplify(scale), "")


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_says_of_squares_is_what_its_formula_does(rule: str) -> None:
    assert (RULES[rule].memory, RULES[rule].divides_by) == told_by_the_formula(RULES[rule])


def test_linear_rules_are_found() -> None:
    assert {name for name, rule in RULES.items() if not rule.adaptive} == {"sgd", "momentum", "nesterov"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": "beta"}, "memory 'beta' is none of its hyperparameters"),
        ({"ranges": {"eps": BELOW_ONE}}, "eps means something else already"),
        ({"written": {"momentum": "p"}}, "momentum means something else already"),
        ({"defaults": {"unheard": 1.0}, "step": lambda w, g, lr, unheard: (w,)}, "what unheard may be"),
    ],
)
def test_facts_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(RULES["sgd"], **changes)
    assert RANGES["eps"] is not BELOW_ONE
