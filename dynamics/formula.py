"""The rules as formulas: the code that runs, run over sympy symbols.

Nothing here restates a rule. The formula, the step without a gradient and the stability limit are all derived from the
functions of `dynamics.rules` and `dynamics.couplings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy as sp

from dynamics.couplings import Coupling, compose
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.words import symbols

_POSITIVE = ("w", "lr", "strength", "h", "P", "eps", "momentum", "alpha", "beta1", "beta2", "multiplier")
# How a field is written for a reader; what is absent is written as it is named.
_WRITTEN = {"strength": "lambda", "lr": "eta", "momentum": "mu", "multiplier": "s", "eps": "epsilon"}


def symbol(name: str) -> sp.Symbol:
    """The symbol of a field or hyperparameter (positive where only positive values make sense)."""
    return sp.Symbol(_WRITTEN.get(name, name), **({"positive": True} if name in _POSITIVE else {"real": True}))


def spoken(expression: sp.Expr, printer: Callable[[sp.Expr], str] = str) -> str:
    """The expression as text, a step written as people do: w first, then what is taken off or added."""
    w = symbol("w")
    if not expression.is_Add or w not in expression.args:
        return printer(expression)
    text = "w"
    for term in (expression - w).as_ordered_terms():
        text += f" - {printer(-term)}" if term.could_extract_minus_sign() else f" + {printer(term)}"
    return text


@dataclass(frozen=True)
class Update:
    """One step as expressions: `after[field]` in terms of the symbols of the fields before it."""

    rule: Rule
    coupling: Coupling
    after: dict[str, sp.Expr]

    def written(self) -> dict[str, sp.Expr]:
        """The step for a reader: the clock spelled as powers of the step number t, its rows left out."""
        t = sp.Symbol("t", integer=True, positive=True)
        powers = {symbol(f"power{k}"): symbol(f"beta{k}") ** t / symbol(f"beta{k}") for k in (1, 2)}
        return {name: self.after[name].subs(powers) for name in ("w", *self.rule.state)}


def update(rule: Rule, coupling: Coupling) -> Update:
    """The composed step of `rule` and `coupling` over symbols (lr is the learning rate of the moment)."""
    step = compose(rule, coupling, symbols())
    inner = tuple(symbol(name) for name in rule.inner)
    hyper = tuple(symbol(name) for name in rule.defaults)
    after = step(symbol("w"), symbol("g"), inner, symbol("lr"), symbol("multiplier"), symbol("strength"), hyper)
    return Update(rule, coupling, dict(zip(("w", *rule.inner), map(sp.sympify, after), strict=True)))


def silent_step(rule: Rule, coupling: Coupling) -> sp.Expr:
    """w after the first step from fresh state with no gradient, for w > 0."""
    fresh = dict(zip(map(symbol, rule.inner), map(sp.nsimplify, rule.fresh()), strict=True))
    return sp.simplify(update(rule, coupling).after["w"].subs(symbol("g"), 0).subs(fresh))


def stability_limit(rule: Rule, coupling: Coupling) -> sp.Expr:
    """The largest stable lr on the quadratic h w^2 / 2, with the adaptive denominator frozen at P = sqrt(v) + eps.

    Linearized about w = 0 after many steps (powers of beta gone), the step is a matrix over w and the fields that
    follow w; it loses stability where an eigenvalue passes -1. Fields whose own row does not depend on w (running
    squares) are the frozen ones. Source: derived; for Adam without regularizer it is Cohen et al., arXiv 2207.14484.
    Rules without a denominator have no P in the result.
    """
    w, p = symbol("w"), symbol("P")
    step = {name: e.subs(symbol("g"), symbol("h") * w) for name, e in update(rule, coupling).after.items()}
    settled = {symbol(name): 0 for name in rule.clock}
    rest = {w: 0} | {symbol(name): 0 for name in rule.state}
    frozen: list[str] = []
    moving = ["w"]
    for name in rule.state:
        follows = sp.diff(step[name], w).subs(settled).subs(rest)
        (moving if follows != 0 else frozen).append(name)
    at_rest: dict[sp.Symbol, sp.Expr] = {symbol(name): sp.Integer(0) for name in moving}
    root = sp.Symbol("root", positive=True)
    for name in frozen:
        at_rest[symbol(name)] = root**2 / sp.diff(step[name], symbol(name))
    matrix = sp.Matrix(
        [[sp.diff(step[a].subs(settled), symbol(b)).subs(at_rest) for b in moving] for a in moving]
    ).subs(root, p - symbol("eps"))
    border = sp.simplify((matrix + sp.eye(len(moving))).det())
    limits = sp.solve(border, symbol("lr"))
    if len(limits) != 1:
        raise InputError(
            f"stability limit of {rule.name} with {coupling.name}: {len(limits)} solutions, one is accepted"
        )
    return _all_positive(sp.factor(sp.simplify(limits[0])))


def _all_positive(product: sp.Expr) -> sp.Expr:
    """The same product with every factor written so that it is positive: 1 - beta1, not -(beta1 - 1)."""
    small = {s: sp.Rational(1, 3 + k) for k, s in enumerate(sorted(product.free_symbols, key=str))}
    sides = []
    for side in sp.fraction(product):
        factors = [abs(f) if f.is_number else f * sp.sign(f.subs(small)) for f in sp.Mul.make_args(side)]
        sides.append(sp.Mul(*factors))
    return sides[0] / sides[1]
