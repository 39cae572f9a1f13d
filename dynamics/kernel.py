"""The fused kernel: rule, coupling, gradient and random numbers in one compiled loop over a block of lanes.

numba compiles the very functions of `dynamics.rules`, `dynamics.couplings`, `dynamics.gradients` and `dynamics.random`;
only the glue around them is generated here. Three choices decide the speed: `error_model="numpy"` (no branch before a
division, so the loop vectorizes), time outside and a block of lanes inside (the block stays in the first-level cache),
and one local array a field (no aliasing checks). Where all lanes share their hyperparameters, these and the clock are
scalars, and what depends on them alone leaves the inner loop. No fastmath: results equal NumPy's to the last bit.
"""

from __future__ import annotations

import dis
import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numba
import numpy as np

from dynamics import random
from dynamics.couplings import DOORS, Coupling
from dynamics.rule import Rule
from dynamics.words import bind, newton_schulz

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], numba.njit(**_OPTIONS)(function))


@_compiled
def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


@_compiled
def _sign(x: float) -> float:
    return 1.0 if x > 0 else -1.0 if x < 0 else 0.0 if x == 0 else x


@_compiled
def _larger(a: float, b: float) -> float:
    return a if math.isnan(a) or a >= b else b


@_compiled
def _smaller(a: float, b: float) -> float:
    return a if a <= b else b


@_compiled
def _times(a: float, b: float) -> float:
    return a * b


@_compiled
def _same(x: float) -> float:
    return x


@_compiled
def _one(x: float) -> float:
    return 1.0


@_compiled
def _size(x: float) -> float:
    return abs(x)


@_compiled
def _grows(w: float, start: float) -> Any:
    return _larger(_sign((w - start) * start), 0.0)


# A lane is a tensor of its own.
WORDS = {
    "sqrt": math.sqrt,
    "sign": _sign,
    "maximum": _larger,
    "power": math.pow,
    "where": _choose,
    "whole": np.floor,
    "norm": _size,
    "orthogonal": _compiled(
        bind(newton_schulz, {"largest": _larger, "norm": _size, "times": _times, "flipped": _same, "range": range})
    ),
    "aspect": _one,
}


def parameters(gradient: Callable[..., Any]) -> list[str]:
    """The lane parameters of a gradient: what it takes after (w, t, u, z)."""
    return list(inspect.signature(gradient).parameters)[4:]


def draws(gradient: Callable[..., Any]) -> bool:
    """Whether a gradient reads its random numbers, u or z."""
    read = {i.argval for i in dis.get_instructions(gradient) if i.opname.startswith("LOAD_FAST")}
    return not read.isdisjoint(("u", "z"))


_NUMBERS: dict[str, Any] = {name: getattr(random, name) for name in ("word", "signed", "PARITY", "STAR")}
for _name in ("turned", "four_rounds", "threefry", "star", "unit"):
    _NUMBERS[_name] = _compiled(bind(getattr(random, _name), _NUMBERS))


def open_doors(couplings: tuple[Coupling, ...]) -> tuple[str, ...]:
    """The doors that any of the couplings opens, in the order in which a step passes them."""
    return tuple(name for name in DOORS if any(name in c.doors for c in couplings))


@cache
def _doors(couplings: tuple[Coupling, ...]) -> Callable[..., Any]:
    """doors(code, strength, lr, multiplier) -> the shares of couplings[code] for each of the open doors, 0 if closed."""
    scope: dict[str, Any] = {}
    lines = ["def doors(code, strength, lr, multiplier):"]
    names = open_doors(couplings)
    for code, coupling in enumerate(couplings):
        shares = ""
        for door in names:
            if door in coupling.doors:
                scope[f"{door}_{code}"] = _compiled(bind(coupling.doors[door], WORDS))
                shares += f"{door}_{code}(strength, lr, multiplier) + 0.0, "
            else:
                shares += "0.0, "
        lines += [f"    if code == {code}:", f"        return ({shares})"]
    lines.append(f"    return ({'0.0, ' * len(names)})")
    exec("\n".join(lines), scope)  # names come from this file alone
    return _compiled(scope["doors"])


def _source(
    rule: Rule, lane_parameters: list[str], doors: tuple[str, ...], uniform: bool, drawn: bool, watch: bool
) -> str:
    cells = {name: row for row, name in enumerate(("w", *rule.inner))}
    table = {name: row for row, name in enumerate(("lr", "strength", *rule.defaults, *lane_parameters))}
    shared = {*rule.defaults, *rule.clock} if uniform else set()

    # A field never stands under its plain name, so that none can be mistaken for a variable of the loop.
    def at(name: str) -> str:
        return f"{name}_now" if name in shared else f"{name}_[i]"

    own = [name for name in (*cells, *table) if name not in shared]
    lines = [
        "def kernel(first, last, multipliers, cells, table, codes, streams, keys, levels, passed, start, stop, block):"
    ]
    lines += [f"    {name}_ = empty(block)" for name in (*own, "rate", *doors)]
    lines += ["    watched_size = empty(block)", "    passed_step = empty(block)"] if watch else []
    lines += [f"    {name}_word = empty(block, uint32)" for name in ("stream", "key", "a", "b", "u", "z")]
    lines += [f"    {name}_now = table[{table[name]}, start]" for name in rule.defaults if name in shared]
    lines += ["    for low in range(start, stop, block):", "        n = min(block, stop - low)"]
    lines += [f"        {name}_now = cells[{cells[name]}, low]" for name in rule.clock if name in shared]
    lines += ["        for i in range(n):"]
    lines += [f"            {name}_[i] = cells[{cells[name]}, low + i]" for name in own if name in cells]
    lines += [f"            {name}_[i] = table[{table[name]}, low + i]" for name in own if name in table]
    lines += ["            stream_word[i] = streams[low + i]", "            key_word[i] = keys[low + i]"]
    lines += (
        ["            watched_size[i] = levels[low + i]", "            passed_step[i] = passed[low + i]"]
        if watch
        else []
    )
    lines += ["        previous = nan", "        for t in range(first, last):"]
    lines += ["            multiplier = multipliers[t - first]", "            if multiplier != previous:"]
    lines += ["                previous = multiplier", "                for i in range(n):"]
    lines += ["                    rate_[i] = lr_[i] * multiplier"]
    taken = "".join(f"{door}_[i], " for door in doors)
    lines += (
        [f"                    {taken}= doors(codes[low + i], strength_[i], rate_[i], multiplier)"] if doors else []
    )
    lines += _drawn("epoch" in lane_parameters) if drawn else []
    lines += ["            for i in range(n):", "                w = w_[i]"]
    arguments = "".join(f", {name}_[i]" for name in lane_parameters)
    numbers = "unit(u_word[i]), unit(z_word[i])" if drawn else "nan, nan"
    lines += [f"                g = gradient(w, t, {numbers}{arguments})"]
    lines += ["                g = g + gradient_[i] * w"] if "gradient" in doors else []
    lines += ["                g = g + slope_[i] * sign(w)"] if "slope" in doors else []
    lines += ["                from_w = w"] if "agreeing" in doors else []
    around = [door for door in ("before", "after") if door in doors]
    after = "".join(f"{name}_next, " for name in rule.inner)
    given = ", ".join(at(name) for name in (*rule.inner, "rate", *rule.defaults))
    if rule.takes_pull:
        pull = " + ".join(f"{door}_[i]" for door in around) or "0.0"
        lines += [f"                pull = ({pull}) * w"]
        if "agreeing" in doors:
            lines += [f"                moved = step(w, g, pull, {given})[0]"]
            lines += ["                pull = pull + agreeing_[i] * ((1.0 - grows(moved, w)) * w)"]
        lines += [f"                w, {after}= step(w, g, pull, {given})"]
    else:
        lines += ["                w = w - before_[i] * w"] if "before" in doors else []
        lines += [f"                w, {after}= step(w, g, {given})"]
        lines += ["                w = w - after_[i] * w"] if "after" in doors else []
        lines += (
            ["                w = w - agreeing_[i] * ((1.0 - grows(w, from_w)) * from_w)"]
            if "agreeing" in doors
            else []
        )
    lines += ["                w_[i] = w"]
    # Written so that a lane that has passed keeps its step, without a branch.
    passed = "passed_step[i] = smaller(passed_step[i], t + 1.0 if abs(w) <= watched_size[i] else inf)"
    lines += [f"                {passed}"] if watch else []
    lines += [f"                {name}_[i] = {name}_next" for name in rule.inner if name not in shared]
    lines += [f"            {name}_now = {name}_next" for name in rule.clock if name in shared]
    lines += ["        for i in range(n):"]
    lines += [f"            cells[{row}, low + i] = {at(name)}" for name, row in cells.items()]
    lines += ["            passed[low + i] = passed_step[i]"] if watch else []
    return "\n".join(lines) + "\n"


def _drawn(by_epoch: bool) -> list[str]:
    """The step's random numbers, u_ and z_, in a loop of their own: it vectorizes in 32-bit words."""
    if by_epoch:
        return [
            "            for i in range(n):",
            "                u_word[i], z_word[i] = threefry(word(whole((t + 0.5) / epoch_[i])), word(1), "
            "key_word[i], stream_word[i])",
        ]
    return [
        f"            if t % {random.BURST} == 0 or t == first:",
        "                for i in range(n):",
        f"                    a, b = threefry(word(t // {random.BURST}), word(0), key_word[i], stream_word[i])",
        f"                    for skipped in range(2 * (t % {random.BURST})):",
        "                        number, a, b = star(a, b)",
        "                    a_word[i], b_word[i] = a, b",
        "            for i in range(n):",
        "                number, a, b = star(a_word[i], b_word[i])",
        "                u_word[i] = number",
        "                number, a_word[i], b_word[i] = star(a, b)",
        "                z_word[i] = number",
    ]


@cache
def kernel(
    rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...], uniform: bool, watch: bool = False
) -> Callable[..., None]:
    """The compiled loop for a rule and a gradient; lanes choose among `couplings` by position.

    uniform: all lanes have the same hyperparameters (strength and the gradient's parameters may still differ, and lr
    unless the rule's clock follows it).

    watch: keep the first step after which abs(w) <= levels in passed, inf before.

    kernel(first, last, multipliers, cells, table, codes, streams, keys, levels, passed, start, stop, block) advances lanes
    start <= i < stop from step `first` to step `last` in place; multipliers (last - first,), cells (1 + state and
    clock, lanes), table (lr, strength, hyperparameters, gradient parameters; lanes), codes, streams, keys, levels and passed
    (lanes,).
    """
    scope: dict[str, Any] = {
        "empty": np.empty,
        "uint32": np.uint32,
        "whole": np.floor,
        "nan": math.nan,
        "inf": math.inf,
        "smaller": _smaller,
        "min": min,
        "step": _compiled(bind(rule.step, WORDS)),
        "gradient": _compiled(bind(gradient, WORDS)),
        "doors": _doors(couplings),
        **_NUMBERS,
        "sign": _sign,
        "grows": _grows,
    }
    exec(
        _source(rule, parameters(gradient), open_doors(couplings), uniform, draws(gradient), watch), scope
    )  # built from the parameter names of our own functions
    return _compiled(scope["kernel"])
