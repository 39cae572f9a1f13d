"""The update as a formula with the regularizer's share split off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from dynamics.couplings import Coupling
from dynamics.rule import Rule
from dynamics.theory.attributed import Attributed, parts
from dynamics.theory.formula.update import at_step, of_tensors, symbol, tidy
from dynamics.theory.pull import attribute, carriers
from dynamics.words import symbols


@dataclass(frozen=True)
class Split:
    """The two parts of a step, {field: expression}, for w its displacement, for fields that hold gradients their parts.

    In terms of the fields before step t, of which m_pull is the part of m that is the regularizer's. z of schedule_free
    counts by its distance from w.
    """

    loss: dict[str, sp.Expr]
    pull: dict[str, sp.Expr]

    def latex(self) -> dict[str, dict[str, str]]:
        """Both parts in LaTeX."""
        return {side: {name: sp.latex(e) for name, e in getattr(self, side).items()} for side in ("loss", "pull")}


def split(rule: Rule, coupling: Coupling) -> Split:
    """`pull_share` over symbols, the clock in terms of the step number t; for gradients and tensors that are not zero.

    A quotient orthogonal(x) / x is the matrix L with L x = orthogonal(x), acting from the left.
    """
    w, g = symbol("w"), symbol("g")
    state: dict[str, Any] = {name: symbol(name) for name in rule.inner}
    for name in carriers(rule):
        pull, start = sp.Symbol(f"{state[name]}_pull", real=True), w if rule.starts.get(name) == "w" else 0
        state[name] = Attributed(state[name], state[name] - start - pull, pull)
    outer = (*map(symbol, ("lr", "multiplier", "strength")), tuple(map(symbol, rule.defaults)))
    after, inner = attribute(rule, coupling, symbols(), w, Attributed(g, g, 0), tuple(state.values()), outer)

    def written(part: Any) -> sp.Expr:
        part = of_tensors(at_step(rule, sp.sympify(part)))
        return tidy(part.xreplace({c: sp.true for c in part.atoms(sp.Gt, sp.Lt) if c.atoms(sp.Abs)}))

    both = {name: parts(x) for name, x in {"w": after, **inner}.items() if isinstance(x, Attributed)}
    return Split(*({name: written(side[k]) for name, side in both.items()} for k in (0, 1)))
