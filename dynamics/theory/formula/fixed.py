"""Where a weight can rest on the quadratic h (w - w_star)^2 / 2 while a regularizer pulls at it."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp
from sympy.core.function import AppliedUndef

from dynamics.couplings import Coupling
from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.theory.formula.settled import WHY, all_positive
from dynamics.theory.formula.update import late, plain_roots, symbol, update

# What the rule is given as gradient, pull included, is -Q: the weight is below where it would rest.
_Q = sp.Symbol("Q", positive=True)


@dataclass(frozen=True)
class FixedPoint:
    """A weight that a step leaves where it is, for w_star > 0; mirrored for w_star < 0.

    weight: its formula. at_eps_zero: the same in the limit eps = 0. regime: what must hold beside, "" if nothing.
    """

    weight: sp.Expr
    at_eps_zero: sp.Expr
    regime: str = ""


@checked
def fixed_point(rule: Rule, coupling: Coupling) -> FixedPoint:
    """The weight at which the composed update rests on h (w - w_star)^2 / 2, state and clock settled.

    Solved from the rule's own rows. Whether it is reached is another question: near it the scale is what is left of it,
    and lr must be below `stability` with P = that (eps for Adam). AMSGrad keeps the largest v there was, v_max.
    Source: derived; the limit clip(w_star, +-1 / strength) of AdamW is Xie, Li, arXiv 2404.04454.

    InputError, saying why, where there is none.
    """
    what = f"fixed point of {rule.name} with {coupling.name}"
    if coupling.cautious is not None:
        raise InputError(f"{what}: none exists, the decay switches on and off about w_star")
    w = sp.Symbol("w", positive=True)
    after = {
        name: late(rule, row).subs(symbol("w"), w)
        for name, row in update(rule, coupling).after.items()
        if name not in rule.clock
    }
    for word in {f.func.__name__ for f in after["w"].atoms(sp.sign, AppliedUndef)} & set(WHY):
        raise InputError(f"{what}: none exists, {WHY[word]}: it goes back and forth")
    h, target, eps = (symbol(name) for name in ("h", "target", "eps"))
    shares = {name: share(*map(symbol, ("strength", "lr", "multiplier"))) for name, share in coupling.doors.items()}
    pull = shares.get("gradient", 0) * w + shares.get("sign", 0)
    rows = {w if n == "w" else symbol(n): row.subs(symbol("g"), -_Q - pull) for n, row in after.items()}
    moved, conditions = _at_rest(what, w, rows)
    if coupling.in_gradient or not shares:
        rest = moved.subs(_Q, 0), *(c.subs(_Q, 0) for c in conditions)
        if any(sp.simplify(e) != 0 for e in rest):
            raise InputError(f"{what}: none exists, it moves without a gradient")
        (weight,) = sp.solve(h * (w - target) + pull, w)
        regime = "w_star > lambda/h; else it goes back and forth about 0" if "sign" in shares else ""
        return FixedPoint(weight, weight, regime)
    if any(w in (c / moved).simplify().free_symbols for c in conditions):
        raise InputError(f"{what}: none exists, its sum of squares never settles")
    balance = sp.Poly(sp.numer(sp.together(moved)).subs(_Q, h * (target - w)), w)
    weight = _between(what, _roots(balance), target)
    limits = [all_positive(sp.factor(root)) for root in sp.roots(sp.Poly(balance.as_expr().subs(eps, 0), w))]
    return FixedPoint(weight, sp.Min(*limits))


def _at_rest(what: str, w: sp.Symbol, rows: dict[sp.Symbol, sp.Expr]) -> tuple[sp.Expr, list[sp.Expr]]:
    """What a step adds to w once the state stands still, and what must vanish for it to do so."""
    found: dict[sp.Symbol, sp.Expr] = {}
    kept: list[tuple[sp.Expr, sp.Symbol]] = []
    conditions = []
    unknown = [name for name in rows if name != w]

    def solved(e: sp.Expr) -> sp.Expr:
        return e.subs(found).subs(kept)

    while unknown:
        ready = [x for x in unknown if not solved(rows[x]).free_symbols & {*unknown} - {x}]
        if not ready:
            raise InputError(f"{what}: {' and '.join(map(str, unknown))} cannot be solved for")
        x = ready[0]
        unknown.remove(x)
        row = solved(rows[x])
        if isinstance(row, sp.Max):
            # The larger of itself and another is kept for good, that of a share of itself is forgotten.
            found[x] = x if x in row.args else sp.Max(*(a for a in row.args if x not in a.free_symbols))
            kept.append((row.subs(found), found[x]))
            continue
        grows, rest = sp.cancel(sp.diff(row, x)), sp.expand(row.subs(x, 0))
        if grows == 1:
            conditions.append(rest)
        elif x in grows.free_symbols:
            raise InputError(f"{what}: {x} cannot be solved for")
        else:
            found[x] = sp.factor(rest / (1 - grows))
    return plain_roots(solved(rows[w] - w)), [plain_roots(solved(c)) for c in conditions]


def _roots(balance: sp.Poly) -> list[sp.Expr]:
    if balance.degree() != 2:
        return [all_positive(sp.factor(root)) for root in sp.roots(balance)]
    common = sp.gcd_list(balance.all_coeffs())
    a, b, c = (sp.cancel(x / common) for x in balance.all_coeffs())
    side = sp.sign(a.subs({x: sp.Rational(1, 3) for x in a.free_symbols}))
    width, middle = all_positive(sp.factor(a)), all_positive(sp.expand(-side * b))
    spread = sp.sqrt(middle**2 - 4 * width * all_positive(sp.factor(side * c)))  # both roots are above 0, and so is c
    return [(middle + spread) / (2 * width), (middle - spread) / (2 * width)]


def _between(what: str, roots: list[sp.Expr], target: sp.Symbol) -> sp.Expr:
    """The one root between 0 and the target, whatever the other symbols are."""
    symbols = sorted({s for root in roots for s in root.free_symbols}, key=str)
    inside = set(roots)
    for k in range(3):
        values = {s: sp.Rational(1 + (j + k) % 3, 7 + j + k) for j, s in enumerate(symbols)}
        inside &= {root for root in roots if 0 < float(root.subs(values)) < float(values[target])}
    if len(inside) != 1:
        raise InputError(f"{what}: {len(inside)} solutions, one is accepted")
    return inside.pop()
