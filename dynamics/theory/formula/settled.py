"""What follows once running means have settled and the scale that gradients are divided by stands still.

Both results come from one run of the rule over attributed numbers (`dynamics.theory.attributed`): denominators see totals
alone, so the part that is followed (a small displacement, or the regularizer's pull) passes through the step linearly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.polys.matrices import DomainMatrix

from dynamics.couplings import Coupling, compose, none
from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.theory.attributed import Attributed, Pull, attributed, parts, total
from dynamics.theory.formula.update import late, symbol, update
from dynamics.theory.pull import carriers
from dynamics.words import Words, symbols

# Why some rules have no linear step: the words that stand for it.
WHY = {
    "sign": "its steps have the same size for every gradient",
    "orthogonal": "its steps have the same singular values for every gradient",
    "norm": "its steps are in proportion to the norm of the weights",
}


@dataclass(frozen=True)
class Limit:
    """lr: the largest that is stable, in which P stands for `scale`; scale: in the state after a step, None where no P is.

    silent: the scale where there has been no gradient for long; None where it remembers those there were.
    """

    lr: sp.Expr
    scale: sp.Expr | None
    silent: sp.Expr | None


@checked
def stability(rule: Rule, coupling: Coupling) -> Limit:
    """The largest stable lr on the quadratic h w^2 / 2, with what the gradient is divided by frozen at P = sqrt(v) + eps.

    After many steps (clocks settled) the step is linear in w and the fields that hold gradients; it loses stability
    where an eigenvalue passes -1. P is the rule's own scale after the step: u for Adamax, sqrt(v + eps) / sqrt(a + eps)
    for Adadelta; rules without one have no P in the result. L1 is constant beside a weight that is not 0, and sets no
    limit of its own. RAdam is past its first steps. Source: derived; for Adam without regularizer it is Cohen et al.,
    arXiv 2207.14484.

    InputError, saying why, where a step does not grow with the displacement, and so has no limit.
    """
    what = f"stability limit of {rule.name} with {coupling.name}"
    if coupling.cautious is not None:
        if carriers(rule):
            raise InputError(f"{what}: none exists, whether the decay acts depends on the direction of each step")
        coupling = replace(coupling, before=coupling.cautious, cautious=None)  # without memory, steps shrink w
    coupling = replace(coupling, sign=None)
    w = Attributed(symbol("w"), 0, _part("w"))
    g = Attributed(symbol("g"), 0, symbol("h") * _part("w"))
    rows = _rows(rule, coupling, w, g, symbol("strength"), _refusing(what, lambda x: True), carriers(rule))
    matrix, scale = _frozen(what, [[sp.diff(row, _part(name)) for name in rows] for row in rows.values()])
    border = DomainMatrix.from_Matrix(matrix + sp.eye(len(rows))).to_field()
    condition = sp.Poly(sp.numer(border.domain.to_sympy(border.det())), symbol("lr"))
    if condition.degree() != 1:
        raise InputError(f"{what}: {condition.degree()} solutions, one is accepted")
    slope, constant = condition.all_coeffs()
    # A root at no positive learning rate: where a pair of eigenvalues leaves the circle first, say.
    numbers = {symbol(name): value for name, value in rule.defaults.items()}
    known = {symbol(name): 1 for name in ("h", "P", "multiplier")} | {symbol("strength"): sp.Rational(1, 100)}
    if not (-constant / slope).subs(numbers | known).is_positive:
        raise InputError(f"{what}: no positive learning rate is its limit")
    limit = all_positive(sp.factor(-constant / slope))
    if symbol("P") not in limit.free_symbols:
        return Limit(limit, None, None)
    return Limit(limit, scale, _silent(rule, scale))


def _silent(rule: Rule, scale: sp.Expr) -> sp.Expr | None:
    """`scale` once w and all that holds gradients has gone to 0; None where it remembers gradients for ever."""
    rest = dict.fromkeys(map(symbol, ("w", "g", *carriers(rule))), sp.Integer(0))
    for name, after in update(rule, none).after.items():
        x, row = symbol(name), late(rule, after).subs(rest)
        if x in rest or name not in rule.state:
            continue
        if isinstance(row, sp.Max):
            kept, others = sp.Integer(int(x in row.args)), sp.Max(*(a for a in row.args if x not in a.free_symbols))
        else:
            kept, others = sp.diff(row, x), row.subs(x, 0)
        if kept == 1 or x in kept.free_symbols:
            return None
        rest[x] = sp.factor(others / (1 - kept))
    return sp.powdenest(scale.subs(rest))


@checked
def effective_decay(rule: Rule, coupling: Coupling) -> sp.Expr:
    """The fraction of w that the regularizer takes off at a step, to first order in the strength.

    Running means have settled (what they hold of the pull is constant), and the scale is that of the step, in terms of
    the state after it: lr strength / (sqrt(v) + eps) for Adam under L2. Source: derived.

    InputError, saying why, where the pull is no fraction of w.
    """
    what = f"effective decay of {rule.name} with {coupling.name}"
    if coupling.sign is not None:
        raise InputError(f"{what}: none exists, the pull is the same for every size of w")
    if coupling.cautious is not None:
        raise InputError(f"{what}: none exists, it depends on how often update and weight agree in sign")
    words = _refusing(what, lambda x: parts(x)[1] != 0, but="norm")
    g, pull, w = Attributed(symbol("g"), symbol("g"), 0), Pull(symbol("strength")), symbol("w")
    holding: tuple[str, ...] = ()  # the fields that any of the pull reaches
    while True:
        rows = _rows(rule, coupling, w, g, pull, words, holding)
        reached = tuple(name for name, row in rows.items() if name != "w" and row != 0)
        if reached == holding:
            break
        holding = reached
    names = ("w", *holding)
    columns = [w, *map(_part, holding)]
    # What belongs to a whole tensor stands still while a weight is followed.
    still = {f: sp.Dummy(real=True) for row in rows.values() for f in row.atoms(AppliedUndef)}
    matrix, scale = _frozen(what, [[sp.diff(rows[name].xreplace(still), at) for at in columns] for name in names])
    scale = scale.subs({held: f for f, held in still.items()})
    rest, own = sp.eye(len(holding)) - matrix[1:, 1:], matrix[1:, :1]
    if rest.det() == 0:
        raise InputError(f"{what}: none exists, {' and '.join(holding)} never settles")
    fraction = -(matrix[0, 0] + (matrix[0, 1:] * rest.LUsolve(own))[0, 0] if holding else matrix[0, 0])
    strength = symbol("strength")
    first = sp.cancel(fraction / strength).subs(strength, 0)
    return strength * sp.factor_terms(all_positive(sp.factor(first)).subs(symbol("P"), scale.subs(strength, 0)))


def _part(name: str) -> sp.Symbol:
    return sp.Symbol(f"{name}_part", real=True)


def _rows(
    rule: Rule, coupling: Coupling, w: Any, g: Any, strength: Any, words: Words, holding: tuple[str, ...]
) -> dict[str, sp.Expr]:
    """The followed parts of w and of the fields that hold gradients after a step, {name: expression in the parts before}.

    Scales are in terms of the state after the step, the clock is settled. holding: the fields that hold a part before.
    """
    inner = tuple(
        Attributed(symbol(n), 0, _part(n) if n in holding else 0) if n in carriers(rule) else symbol(n)
        for n in rule.inner
    )
    step = compose(rule, coupling, words)
    hyper = tuple(symbol(name) for name in rule.defaults)
    result = step(w, g, inner, symbol("lr"), symbol("multiplier"), strength, hyper)
    after = dict(zip(("w", *rule.inner), result, strict=True))
    rows = {total(after[name]): symbol(name) for name in rule.state}
    largest = sorted(rows, key=sp.count_ops, reverse=True)  # the maximum before what it is of

    def seen(e: Any) -> sp.Expr:
        return late(rule, sp.sympify(e).subs([(row, rows[row]) for row in largest]))

    return {name: seen(parts(after[name])[1]) for name in ("w", *carriers(rule))}


def _refusing(what: str, moves: Callable[[Any], bool], but: str = "") -> Words:
    """The vocabulary of attributed formulas, in which words whose result does not follow a small part are refused."""
    words = attributed(symbols())

    def refuse(word: str) -> Callable[..., Any]:
        def checked(x: Any, *rest: Any) -> Any:
            if isinstance(x, Attributed) and moves(x):
                raise InputError(f"{what}: none exists, {WHY[word]}")
            return words[word](x, *rest)

        return checked

    return {**words, **{word: refuse(word) for word in WHY if word != but}}


def _frozen(what: str, entries: list[list[sp.Expr]]) -> tuple[sp.Matrix, sp.Expr]:
    """The matrix with its one scale, whatever holds weights, gradients or state, written 1 / P; and that P."""
    scales = set()

    def frozen(coefficient: sp.Expr) -> sp.Expr:
        totals = [s for s in coefficient.free_symbols if not s.is_positive]
        found = sp.Integer(0)
        for term in filter(None, sp.Add.make_args(sp.expand(coefficient))):
            factor, scale = term.as_independent(*totals, as_Add=False)
            if scale != 1:
                scales.add(1 / scale)
            found += factor if scale == 1 else factor / symbol("P")
        return found

    matrix = sp.Matrix([[frozen(e) for e in row] for row in entries])
    if len(scales) > 1:
        raise InputError(f"{what}: {len(scales)} scales, one is accepted")
    return matrix, scales.pop() if scales else sp.Integer(1)


def all_positive(product: sp.Expr) -> sp.Expr:
    """A product that is positive, with every factor written so that it is: 1 - beta1, not -(beta1 - 1)."""
    sides = []
    for side in sp.fraction(product):
        factors = [abs(f) if f.is_number else _collected(f * _sign(f)) for f in sp.Mul.make_args(side)]
        sides.append(sp.Mul(*factors))
    return sides[0] / sides[1]


def _sign(e: sp.Expr) -> sp.Expr:
    # Where all shares and strengths are small, every factor has the sign it has throughout.
    return sp.sign(e.subs({s: sp.Rational(1, 3 + k) for k, s in enumerate(sorted(e.free_symbols, key=str))}))


def _collected(factor: sp.Expr) -> sp.Expr:
    # h and the strength, each once.
    if not factor.is_Add or not factor.has(symbol("h"), symbol("strength")):
        return factor
    return sp.collect(factor, [symbol("h"), symbol("strength")], lambda c: _sign(c) * all_positive(sp.factor(c)))
