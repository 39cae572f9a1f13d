"""What both kinds of loop are made of: one step of rule and coupling, and the gaps between arrivals."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from dynamics.rule import Rule
from dynamics.simulate.gradients import selective
from dynamics.simulate.kernel import compiled, numbers, scope_of, update

DOORS = ("gradient", "before", "after")


@cache
def gap() -> Callable[..., Any]:
    found = numbers(compiled)
    threefry, unit, word = found["threefry"], found["unit"], found["word"]

    def found_gap(number, key, stream, log_silent):  # type: ignore[no-untyped-def]
        """Silent steps before arrival `number`, a whole float or inf, and its z; log_silent = log(1 - arrival)."""
        a, b = threefry(word(number), word(2), key, stream)
        if log_silent == 0:
            return math.inf, 0.5
        return np.floor(math.log(1 - unit(a)) / log_silent), unit(b)

    return compiled(found_gap)


@cache
def parts(rule: Rule, state: tuple[str, ...], hyper: tuple[str, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(advance, gradient): one step of rule and coupling, advance(w, *state, g, lr, shares of DOORS, *hyper) -> (w, *state).

    Fields of `state` that the rule lacks are handed back; alpha goes by the name of beta2.
    """

    def at(name: str) -> str:
        return "beta2_" if name == "alpha" else f"{name}_"

    scope = scope_of(rule, selective, (), compiled, np.floor)
    taken = ", ".join(at(name) for name in ("rate", *DOORS, *hyper))
    after = ", ".join(f"{name}_next" if name in rule.inner else at(name) for name in state)
    lines = [f"def advance(w, {', '.join(at(name) for name in state)}, g, {taken}):"]
    lines += [f"    {line}" for line in update(rule, DOORS, at)] + [f"    return w, {after}"]
    exec("\n".join(lines), scope)  # built from the parameter names of our own rules
    return compiled(scope["advance"]), scope["gradient"]
