"""A weight without a gradient: its first step, and what of it survives at eps = 0."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from dynamics.couplings import Coupling
from dynamics.door import checked
from dynamics.rule import RANGES, Rule
from dynamics.theory.formula.scaling import unchanged
from dynamics.theory.formula.update import fresh, of_tensors, plain_roots, symbol, update
from dynamics.words import symbols

# A weight above 0.
_W = sp.Symbol("w", positive=True)


@dataclass(frozen=True)
class EpsZero:
    """What the regularizer does to a weight without a gradient at eps = 0, from fresh state.

    first_step: the weight after one step, for weights of either sign. free_of_strength: whether the whole path is the
    same for every strength above 0.
    """

    first_step: sp.Expr
    free_of_strength: bool


@checked
def silent_step(rule: Rule, coupling: Coupling) -> sp.Expr:
    """w after the first step from fresh state with no gradient, for w > 0 (a tensor of such weights; norm(1) is the
    root of their number)."""
    return symbol("w") + _moved(rule, coupling).subs(_W, symbol("w"))


@checked
def at_eps_zero(rule: Rule, coupling: Coupling) -> EpsZero:
    """What survives of the regularizer at eps = 0 (and an initial accumulator of 0) where there is no gradient.

    Source: derived; the first step from the rule's formula, the freedom from its scaling symmetries.
    """
    real = symbol("w")
    moved = _plainer(_moved(rule, coupling).subs({symbol("eps"): 0, symbol("initial_accumulator"): 0}))
    # The norm of w does not tell its sign; the matrix of a matrix has it.
    size, matrix = sp.Dummy(positive=True), sp.Dummy(positive=True)
    moved = moved.replace(lambda e: _named(e, "norm") and e.args[0] == _W, lambda e: size)
    moved = moved.replace(lambda e: _named(e, "orthogonal"), lambda e: matrix)
    moved = moved.replace(lambda e: _named(e, "shape_factor"), lambda e: e.func(real))
    if matrix in moved.free_symbols:
        moved = moved.subs(matrix, symbols()["orthogonal"](real, 0))
    elif moved.subs(_W, 0) == 0:
        moved = (moved / _W).subs(_W, abs(real)) * real
    else:
        moved = moved.subs(_W, abs(real)) * sp.sign(real)
    free = unchanged(rule, coupling, ("strength",), without_gradient=True, without_eps=True) is not None
    return EpsZero(real + moved.subs(size, symbols()["norm"](real)), free)


def _moved(rule: Rule, coupling: Coupling) -> sp.Expr:
    after = update(rule, coupling).after["w"].subs({symbol("g"): 0} | fresh(rule)).subs(symbol("w"), _W)
    return _plainer(after - _W)


def _plainer(expression: sp.Expr) -> sp.Expr:
    """The same where shares are below 1, choices decided where they can be, and tensors not zero."""
    shares = {symbol(name): sp.Dummy(positive=True) for name, (accepts, _) in RANGES.items() if not accepts(1.0)}
    expression = expression.subs({1 - share: rest for share, rest in shares.items()})
    expression = of_tensors(expression)
    expression = plain_roots(expression)
    expression = expression.replace(lambda e: _named(e, "norm"), _norm)
    expression = expression.subs({rest: 1 - share for share, rest in shares.items()})
    return sp.factor_terms(expression)


def _named(e: sp.Basic, *names: str) -> bool:
    return e.func.__name__ in names


def _norm(e: sp.Expr) -> sp.Expr:
    # Multiples come out of a norm; what is the same for all weights is a multiple of ones.
    factor, rest = e.args[0].as_independent(_W)
    return e if factor == 1 or rest.is_Add else abs(factor) * e.func(rest)
