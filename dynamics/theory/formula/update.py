"""A rule as formulas: the code that runs, run over sympy symbols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from dynamics.couplings import Coupling, compose, none
from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.rule import RANGES, WRITTEN, Rule
from dynamics.theory.formula.clocks import Clock, solve_clock
from dynamics.words import symbols

_POSITIVE = ("h", "P", "multiplier", "target")


@checked
def symbol(name: str) -> sp.Symbol:
    """The symbol of a field or hyperparameter (positive where only positive values make sense)."""
    positive = name in _POSITIVE or name in RANGES
    return sp.Symbol(WRITTEN.get(name, name), **({"positive": True} if positive else {"real": True}))


class _Text(StrPrinter):  # type: ignore[misc]
    """sympy's own text, with choices written in the rules' word: where(condition, yes, no)."""

    def _print_Piecewise(self, expression: sp.Piecewise) -> str:
        *cases, (last, always) = expression.args
        if always != sp.true:
            return str(super()._print_Piecewise(expression))
        text = self._print(last)
        for value, condition in reversed(cases):
            text = f"where({self._print(condition)}, {self._print(value)}, {text})"
        return str(text)


@checked
def text(expression: sp.Expr, **settings: Any) -> str:
    """The expression as text; settings are those of sympy's printer."""
    return str(_Text(settings).doprint(expression))


@checked
def spoken(expression: sp.Expr, printer: Callable[[sp.Expr], str] = text) -> str:
    """The expression as text, a step written as people do: w first, then what is taken off or added.

    printer: this module's text, or sympy.latex for LaTeX.
    """
    w = symbol("w")
    if not expression.is_Add or w not in expression.args:
        return printer(expression)
    said = "w"
    for term in (expression - w).as_ordered_terms():
        said += f" - {printer(-term)}" if term.could_extract_minus_sign() else f" + {printer(term)}"
    return said


def tidy(expression: sp.Expr) -> sp.Expr:
    """The same expression without choices that were made before: within a case, its own condition holds."""

    def within(e: sp.Basic, known: dict[sp.Basic, sp.Basic]) -> sp.Basic:
        e = e.xreplace(known)
        if isinstance(e, sp.Piecewise):
            cases, refused = [], dict(known)
            for value, condition in e.args:
                cases.append((within(value, {**refused, condition: sp.true}), condition))
                refused[condition] = sp.false
            return sp.Piecewise(*cases)
        return e.func(*(within(a, known) for a in e.args)) if e.has(sp.Piecewise) else e

    return within(expression, {})


@dataclass(frozen=True)
class Update:
    """One step as expressions: `after[field]` in terms of the symbols of the fields before it."""

    rule: Rule
    coupling: Coupling
    after: dict[str, sp.Expr]

    def written(self) -> dict[str, sp.Expr]:
        """The step for a reader: the clock spelled out in the step number t, t = 1 the first, its rows left out.

        A clock that follows the learning rate is that of a constant one, and norms of whole tensors are above 0.
        """
        return {name: of_tensors(at_step(self.rule, self.after[name])) for name in shown(self.rule)}


@checked
def update(rule: Rule, coupling: Coupling) -> Update:
    """The composed step of `rule` and `coupling` over symbols (lr is the learning rate of the moment)."""
    step = compose(rule, coupling, symbols())
    inner = tuple(symbol(name) for name in rule.inner)
    hyper = tuple(symbol(name) for name in rule.defaults)
    after = step(symbol("w"), symbol("g"), inner, symbol("lr"), symbol("multiplier"), symbol("strength"), hyper)
    return Update(rule, coupling, dict(zip(("w", *rule.inner), map(sp.sympify, after), strict=True)))


@cache
def clock(rule: Rule) -> Clock:
    """The rule's clock in closed form, from the rule's own rows; empty where they have none."""
    after = update(rule, none).after
    try:
        return solve_clock({symbol(name): (sp.nsimplify(start), after[name]) for name, start in rule.clock.items()})
    except InputError:  # of a user's own rule: its fields then stand in the formulas by their names, with their rows
        return Clock()


def shown(rule: Rule) -> tuple[str, ...]:
    """The fields whose rows a reader needs: the weight, the state, and a clock that has no closed form."""
    return ("w", *rule.state, *(name for name in rule.clock if symbol(name) not in clock(rule).before))


def at_step(rule: Rule, expression: sp.Expr) -> sp.Expr:
    """An expression in the fields before a step, with the clock as a function of the step number."""
    known = clock(rule)
    return tidy(expression.subs(known.first).subs(known.before))


def fresh(rule: Rule) -> dict[sp.Symbol, sp.Expr]:
    """State and clock before the first step of a weight w, as `Rule.fresh` has it."""
    start = rule.fresh(symbol("w"), {name: symbol(name) for name in rule.defaults})
    return dict(zip(map(symbol, rule.inner), map(sp.nsimplify, start), strict=True))


def late(rule: Rule, expression: sp.Expr) -> sp.Expr:
    """An expression in the fields before a step, after many steps: the clock has settled, and RAdam's first are over."""
    settled = clock(rule).settled
    for end in (sp.Integer(0), sp.oo):  # first what vanishes: t beta^t does
        expression = expression.subs({name: value for name, value in settled.items() if value == end})
    expression = of_tensors(expression.subs(settled))
    return tidy(expression.xreplace(dict.fromkeys(expression.atoms(sp.Gt, sp.Lt), sp.true)))


def of_tensors(expression: sp.Expr) -> sp.Expr:
    """The same for tensors that are not zero, whose norms are above 0, and with the choices made that can be."""
    expression = expression.replace(
        lambda e: e.func.__name__ in ("norm", "orthogonal") and e.args[0] == 0, lambda e: sp.Integer(0)
    )
    return tidy(expression.xreplace({c: _decided(c) for c in expression.atoms(sp.Gt, sp.Lt)}))


def _decided(condition: sp.Rel) -> sp.Basic:
    if any(f.func.__name__ == "norm" for f in condition.atoms(sp.Function)):
        return sp.true  # a norm against 0
    found = condition.func(sp.cancel(condition.lhs - condition.rhs), 0)
    return found if found in (sp.true, sp.false) else condition


def plain_roots(expression: sp.Expr) -> sp.Expr:
    """The same with what stands under a root factored, so that squares come out of it."""
    return expression.replace(
        lambda e: e.is_Pow and e.base.is_Add and not e.exp.is_Integer, lambda e: sp.factor(e.base) ** e.exp
    )
