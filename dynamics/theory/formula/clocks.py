"""The clock of a rule in closed form: what is carried from step to step for speed, as a function of the step number."""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from dynamics.errors import InputError

STEP = sp.Symbol("t", integer=True, positive=True)


@dataclass
class Clock:
    """before: each field before step t, where t = 1 is the first. settled: where it goes as t grows (powers to 0).

    first: conditions that hold at every step but the first, with what they say of t.
    """

    before: dict[sp.Symbol, sp.Expr] = field(default_factory=dict)
    settled: dict[sp.Symbol, sp.Expr] = field(default_factory=dict)
    first: dict[sp.Basic, sp.Basic] = field(default_factory=dict)


def solve_clock(rows: dict[sp.Symbol, tuple[sp.Expr, sp.Expr]]) -> Clock:
    """The closed form of a clock from its own rows, {field: (start, field after a step)}, at a constant learning rate.

    A row may use the fields above it. Multiplied by a factor it becomes a power, or a product where the factor depends on
    t; with something added, a multiple of t; the larger of itself and a constant is that constant. InputError for
    any other row. Source: derived. The products vanish as t grows, since their factors are below 1.
    """
    found = Clock()
    for name, (start, row) in rows.items():
        after = row.subs(found.before)
        factor, added = after / name, sp.expand(after - name)
        others = [a for a in after.args if a != name] if isinstance(after, sp.Max) else []
        if name not in factor.free_symbols:
            k = sp.Symbol("k", integer=True, positive=True)
            power = factor**STEP if STEP not in factor.free_symbols else sp.Product(factor.subs(STEP, k), (k, 1, STEP))
            found.before[name] = sp.expand_power_exp(start * power / factor) if factor != 0 else start
            found.settled[name] = sp.Integer(0)
            if start == 1:
                found.first[name < 1] = STEP > 1
        elif not added.free_symbols & {name, STEP}:
            found.before[name] = start + STEP * added - added
            found.settled[name] = sp.oo
        elif len(others) == 1 and name not in others[0].free_symbols:
            found.before[name] = found.settled[name] = others[0]
        else:
            raise InputError(f"clock {name} <- {row}: a power, a product, a multiple of t or a maximum is accepted")
    return found
