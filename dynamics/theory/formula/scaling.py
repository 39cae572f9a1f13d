"""Which inputs of an update can be scaled together without changing the path: scaling symmetries, found by sampling.

An update is symmetric under x_i -> c^(a_i) x_i if that scales every field after the step as it scaled the field before.
It holds for all c > 0 iff sum_i a_i x_i df/dx_i = a_f f for every field f (Euler). At one point that is a linear equation
in the exponents a; over points that visit the branches of the rule, the common solutions are the symmetries. The
derivatives are taken through the code that runs, over numbers of 60 digits, so that exponents come out as exact fractions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np

from dynamics.couplings import Coupling, compose
from dynamics.door import checked
from dynamics.rule import RANGES, Rule
from dynamics.words import FLOATS, bind, newton_schulz

_DIGITS = 60
_APART = mpmath.mpf(10) ** -20  # a central difference errs by its square, 1e-40, and by the digits left, 1e-40
_NOTHING = 1e-30
# How many steps came before a point: clocks of first, of early (RAdam's are another rule) and of late steps.
_BEFORE = (0, 1, 1, 2, 2, 3, 3, 9, 9, 30, 30)


def _size(x: Any) -> Any:
    return mpmath.sqrt((x * x).sum())


_NUMBERS = {**FLOATS, "sqrt": mpmath.sqrt, "power": mpmath.power}
_MATRICES = {
    **_NUMBERS,
    "sqrt": np.frompyfunc(mpmath.sqrt, 1, 1),
    "sign": np.sign,
    "maximum": np.maximum,
    "norm": _size,
    "orthogonal": bind(
        newton_schulz, {"largest": max, "norm": _size, "times": np.matmul, "transpose": np.transpose, "range": range}
    ),
}

Exponents = dict[str, Fraction]
Rows = Sequence[Sequence[Any]]


@checked
def unchanged(
    rule: Rule,
    coupling: Coupling,
    together: Sequence[str],
    without_gradient: bool = False,
    without_eps: bool = False,
) -> Exponents | None:
    """Whether the path of w stays the same when the inputs `together` are all multiplied by c, and no other input is.

    Returns the symmetry that says so, with the state that follows (which starts at 0, or at an
    `initial_accumulator` that must follow too, if it is not 0); None if the path changes. Names that the update does not
    read are passed over: a rule without eps does not ask for it. THEORY: A3 is ("strength", "eps") without gradient.
    """
    names, rows = _equations(rule, coupling, without_gradient, without_eps)
    following = {*rule.state, *rule.starts.values()} - {"w"} | (set(rule.clock) if rule.clock_follows_lr else set())
    # One more unknown, the exponent of c itself: what is asked for is a solution in which it is 1.
    fixed = [
        [*(Fraction(name == other) for other in names), Fraction(-(name in together))]
        for name in names
        if name not in following
    ]
    solutions = _null_space([*([*row, Fraction(0)] for row in rows), *fixed], len(names) + 1)
    found = [vector for vector in solutions if vector[-1] == 1]
    return _named(names, found[0][:-1]) if found else None


def _named(names: Sequence[str], vector: Sequence[Fraction]) -> Exponents:
    return {name: exponent for name, exponent in zip(names, vector, strict=True) if exponent}


@cache
def _equations(
    rule: Rule, coupling: Coupling, without_gradient: bool, without_eps: bool
) -> tuple[tuple[str, ...], list[list[Fraction]]]:
    # Shares are bounded and have no scale, nor has a clock of theirs. What comes last is free if it can be.
    clock = rule.clock if rule.clock_follows_lr else ()
    scaled = [name for name in rule.defaults if RANGES[name][0](1.0)]
    left_out = {
        name for name, out in (("g", without_gradient), ("eps", without_eps), ("strength", not coupling.doors)) if out
    }
    names = [n for n in (*rule.state, *clock, *scaled, "lr", "strength", "g", "w") if n not in left_out]
    rows: list[list[Any]] = []
    for name, start in rule.starts.items():
        rows.append([mpmath.mpf((other == name) - (other == start)) for other in names])
    source = random.Random(0)
    with mpmath.workdps(_DIGITS):
        for before in _BEFORE:
            if before or not without_eps:  # fresh state at eps = 0 is 0 / 0 where nothing moves
                rows += _euler(rule, coupling, names, _point(rule, coupling, before, left_out, source))
        reduced = _reduced(rows)
    return tuple(names), [[_fraction(x) for x in row] for row in reduced]


def _point(rule: Rule, coupling: Coupling, before: int, left_out: set[str], source: random.Random) -> dict[str, Any]:
    """All inputs of one update, after some steps under random gradients."""

    def drawn(low: float, high: float) -> mpmath.mpf:
        return mpmath.mpf(source.uniform(low, high))

    def weight(low: float, high: float) -> Any:
        # A single number hides what norms and matrices do; a small matrix does not.
        if rule.unit == "weight":
            return drawn(low, high)
        return np.array([[drawn(low, high) for _ in range(2)] for _ in range(2)])

    point = {"strength": drawn(0.1, 1), "w": weight(-2, 2)}
    for name in rule.defaults:
        # Shares so near 1 that RAdam leaves its first steps; eps and the like now small, now large.
        point[name] = drawn(0.1, 3) ** 3 if RANGES[name][0](1.0) else drawn(0.88, 0.99)
    point |= {name: mpmath.mpf(0) for name in left_out if name in point}
    zero = point["w"] * 0
    start = dict(zip(rule.inner, rule.fresh(point["w"], point), strict=True))
    point |= {name: x + zero if name in rule.state else mpmath.mpf(x) for name, x in start.items()}
    for _ in range(before):
        point |= {"lr": drawn(0.1, 1), "g": weight(-1, 1)}
        point |= _after(rule, coupling, point)
    # A weight of its own: those that were stepped may all have run off the way their buffers point.
    gradient = zero if "g" in left_out else weight(-1, 1)
    return point | {"w": weight(-2, 2), "lr": drawn(0.1, 1), "g": gradient}


def _after(rule: Rule, coupling: Coupling, point: dict[str, Any]) -> dict[str, Any]:
    step = compose(rule, coupling, _NUMBERS if rule.unit == "weight" else _MATRICES)
    inner, hyper = (tuple(point[name] for name in some) for some in (rule.inner, rule.defaults))
    after = step(point["w"], point["g"], inner, point["lr"], mpmath.mpf("0.7"), point["strength"], hyper)
    return dict(zip(("w", *rule.inner), after, strict=True))


def _euler(rule: Rule, coupling: Coupling, names: Sequence[str], point: dict[str, Any]) -> list[list[Any]]:
    """One equation for every number after the step, divided by that number."""
    here = _after(rule, coupling, point)
    columns = []
    for name in names:
        up, down = (_after(rule, coupling, point | {name: point[name] * mpmath.exp(h)}) for h in (_APART, -_APART))
        slopes = [
            (above - below) / (2 * _APART * value) - (field == name)
            for field in here
            for above, below, value in zip(*(np.ravel(x[field]) for x in (up, down, here)), strict=True)
            if value
        ]
        columns.append([x if abs(x) > _NOTHING else mpmath.mpf(0) for x in slopes])
    return [list(row) for row in zip(*columns, strict=True)]


def _reduced(rows: Rows) -> list[list[Any]]:
    """The reduced row echelon form, rows of zeros left out."""
    kept: list[tuple[int, list[Any]]] = []
    for given in rows:
        row = list(given)
        for pivot, other in kept:
            if row[pivot]:
                row = [a - row[pivot] * b for a, b in zip(row, other, strict=True)]
        first = next((k for k, x in enumerate(row) if abs(x) > _NOTHING), None)
        if first is None:
            continue
        row = [x / row[first] if abs(x) > _NOTHING else 0 * x for x in row]
        kept = [
            (pivot, [a - other[first] * b for a, b in zip(other, row, strict=True)] if other[first] else other)
            for pivot, other in kept
        ]
        kept = sorted([*kept, (first, row)])
    return [row for _, row in kept]


def _null_space(rows: Rows, width: int) -> list[list[Fraction]]:
    reduced = _reduced(rows)
    pivots = [next(k for k, x in enumerate(row) if x) for row in reduced]
    basis = []
    for free in (k for k in range(width) if k not in pivots):
        vector = [Fraction(k == free) for k in range(width)]
        for pivot, row in zip(pivots, reduced, strict=True):
            vector[pivot] = -row[free]
        basis.append(vector)
    return basis


def _fraction(x: mpmath.mpf) -> Fraction:
    near = Fraction(int(mpmath.nint(x * 5040)), 5040)
    if abs(x - mpmath.mpf(near.numerator) / near.denominator) > mpmath.mpf(10) ** -15:
        raise ArithmeticError(f"exponent {mpmath.nstr(x, 20)} is no simple fraction")
    return near
