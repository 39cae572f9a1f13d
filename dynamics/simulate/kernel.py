"""The fused kernel: rule, coupling, gradient and random numbers in one compiled loop over a block of lanes.

numba compiles the very functions of `dynamics.rules`, `dynamics.couplings`, `gradients` and `random`;
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

from dynamics.couplings import DOORS, Coupling
from dynamics.rule import Rule
from dynamics.simulate import random
from dynamics.words import bind, newton_schulz

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for numba to compile at its first call, with the options of the kernel."""
    return cast(Callable[..., Any], numba.njit(**_OPTIONS)(function))


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _sign(x: float) -> float:
    return 1.0 if x > 0 else -1.0 if x < 0 else 0.0 if x == 0 else x


def _larger(a: float, b: float) -> float:
    return a if math.isnan(a) or a >= b else b


def _times(a: float, b: float) -> float:
    return a * b


def _same(x: float) -> float:
    return x


def _one(x: float) -> float:
    return 1.0


def _size(x: float) -> float:
    return abs(x)


def _grows(w: float, start: float) -> Any:
    return maximum(sign((w - start) * start), 0.0)  # type: ignore[name-defined]  # noqa: F821


@cache
def _words(made: Callable[..., Any], whole: Any) -> dict[str, Any]:
    flat = {"largest": made(_larger), "norm": made(_size), "times": made(_times), "flipped": made(_same)}
    # A lane is a tensor of its own.
    return {
        "sqrt": math.sqrt,
        "sign": made(_sign),
        "maximum": flat["largest"],
        "power": math.pow,
        "where": made(_choose),
        "whole": whole,
        "norm": flat["norm"],
        "orthogonal": made(bind(newton_schulz, {**flat, "range": range})),
        "aspect": made(_one),
    }


@cache
def numbers(made: Callable[..., Any]) -> dict[str, Any]:
    """The random numbers of `dynamics.simulate.random`, each function made by `made`."""
    found: dict[str, Any] = {
        name: getattr(random, name) for name in ("word", "signed", "PARITY", "STAR", "EVEN", "ODD", "LEFT")
    }
    for name in ("turned", "four_rounds", "threefry", "star", "unit"):
        found[name] = made(bind(getattr(random, name), found))
    return found


@cache
def _helpers(made: Callable[..., Any], whole: Any) -> dict[str, Any]:
    words = _words(made, whole)
    return {
        "sign": words["sign"],
        "grows": made(bind(_grows, words)),
    }


def scope_of(
    rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...], made: Callable[..., Any], whole: Any
) -> dict[str, Any]:
    """What a generated loop calls: step, gradient, doors, random numbers, each made by `made` from its one definition.

    whole: rounds down, in the world of `made`.
    """
    words = _words(made, whole)
    return {
        "uint32": np.uint32,
        "nan": math.nan,
        "inf": math.inf,
        "min": min,
        "whole": whole,
        "step": made(bind(rule.step, words)),
        "gradient": made(bind(gradient, words)),
        "doors": _doors(couplings, made, whole),
        **_helpers(made, whole),
        **numbers(made),
    }


def parameters(gradient: Callable[..., Any]) -> list[str]:
    """The lane parameters of a gradient: what it takes after (w, t, u, z)."""
    return list(inspect.signature(gradient).parameters)[4:]


def draws(gradient: Callable[..., Any]) -> bool:
    """Whether a gradient reads its random numbers, u or z."""
    read = {i.argval for i in dis.get_instructions(gradient) if i.opname.startswith("LOAD_FAST")}
    return not read.isdisjoint(("u", "z"))


def open_doors(couplings: tuple[Coupling, ...]) -> tuple[str, ...]:
    """The doors that any of the couplings opens, in the order in which a step passes them."""
    return tuple(name for name in DOORS if any(name in c.doors for c in couplings))


@cache
def _doors(couplings: tuple[Coupling, ...], made: Callable[..., Any], whole: Any) -> Any:
    """doors(code, strength, lr, multiplier) -> the shares of couplings[code] for each of the open doors, 0 if closed."""
    scope: dict[str, Any] = {}
    lines = ["def doors(code, strength, lr, multiplier):"]
    names = open_doors(couplings)
    for code, coupling in enumerate(couplings):
        shares = ""
        for door in names:
            if door in coupling.doors:
                scope[f"{door}_{code}"] = made(bind(coupling.doors[door], _words(made, whole)))
                shares += f"{door}_{code}(strength, lr, multiplier) + 0.0, "
            else:
                shares += "0.0, "
        lines += [f"    if code == {code}:", f"        return ({shares})"]
    lines.append(f"    return ({'0.0, ' * len(names)})")
    exec("\n".join(lines), scope)  # names come from this file alone
    return made(scope["doors"])


def update(rule: Rule, doors: tuple[str, ...], at: Callable[[str], str]) -> list[str]:
    """One step of w by the gradient g, couplings included, as lines of code; state after it is NAME_next.

    at(name): how the code spells a door's share, `rate`, a hyperparameter, and state and clock before the step.
    """
    lines = [f"g = g + {at('gradient')} * w"] if "gradient" in doors else []
    lines += [f"g = g + {at('slope')} * sign(w)"] if "slope" in doors else []
    lines += ["from_w = w"] if "agreeing" in doors else []
    around = [door for door in ("before", "after") if door in doors]
    after = "".join(f"{name}_next, " for name in rule.inner)
    given = ", ".join(at(name) for name in (*rule.inner, "rate", *rule.defaults))
    if rule.takes_pull:
        lines += [f"pull = ({' + '.join(at(door) for door in around) or '0.0'}) * w"]
        if "agreeing" in doors:
            lines += [f"moved = step(w, g, pull, {given})[0]"]
            lines += [f"pull = pull + {at('agreeing')} * ((1.0 - grows(moved, w)) * w)"]
        return [*lines, f"w, {after}= step(w, g, pull, {given})"]
    lines += [f"w = w - {at('before')} * w"] if "before" in doors else []
    lines += [f"w, {after}= step(w, g, {given})"]
    lines += [f"w = w - {at('after')} * w"] if "after" in doors else []
    lines += [f"w = w - {at('agreeing')} * ((1.0 - grows(w, from_w)) * from_w)"] if "agreeing" in doors else []
    return lines


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
    lines += ["    gradient_now = empty(block)"] if drawn else []
    lines += [f"    {name}_word = empty(block, uint32)" for name in ("stream", "key", "a", "b", "u", "z")]
    lines += [f"    {name}_now = table[{table[name]}, start]" for name in rule.defaults if name in shared]
    lines += ["    for low in range(start, stop, block):", "        n = min(block, stop - low)"]
    lines += [f"        {name}_now = cells[{cells[name]}, low]" for name in rule.clock if name in shared]
    lines += ["        for i in range(n):"]
    lines += [f"            {name}_[i] = cells[{cells[name]}, low + i]" for name in own if name in cells]
    lines += [f"            {name}_[i] = table[{table[name]}, low + i]" for name in own if name in table]
    lines += ["            stream_word[i] = streams[low + i]", "            key_word[i] = keys[low + i]"]
    lines += (
        [
            "            passed_step[i] = passed[low + i]",
            "            watched_size[i] = levels[low + i] if passed_step[i] == inf else -1.0",
        ]
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
    arguments = "".join(f", {name}_[i]" for name in lane_parameters)
    # In a loop of its own where it draws: on AVX2 the two loops took a tenth less time than one.
    if drawn:
        found = f"gradient(w_[i], t, unit(u_word[i]), unit(z_word[i]){arguments})"
        lines += ["            for i in range(n):", f"                gradient_now[i] = {found}"]
    lines += ["            for i in range(n):", "                w = w_[i]"]
    lines += [f"                g = {'gradient_now[i]' if drawn else f'gradient(w, t, nan, nan{arguments})'}"]
    lines += [f"                {line}" for line in update(rule, doors, at)]
    lines += ["                w_[i] = w"]
    lines += [f"                {name}_[i] = {name}_next" for name in rule.inner if name not in shared]
    lines += [f"            {name}_now = {name}_next" for name in rule.clock if name in shared]
    # Counting vectorizes, and a lane is noted once: what has passed is watched no more, since no size is below -1.
    reached = "abs(w_[i]) <= watched_size[i]"
    lines += (
        [
            "            reached = 0",
            "            for i in range(n):",
            f"                reached += {reached}",
            "            if reached:",
            "                for i in range(n):",
            f"                    if {reached}:",
            "                        passed_step[i] = t + 1.0",
            "                        watched_size[i] = -1.0",
        ]
        if watch
        else []
    )
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
        "                    a_word[i], b_word[i] = a, b",
        # Outside, or the loop over lanes would not vectorize.
        f"                for skipped in range(2 * (t % {random.BURST})):",
        "                    for i in range(n):",
        "                        number, a_word[i], b_word[i] = star(a_word[i], b_word[i])",
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
    scope = {"empty": np.empty, **scope_of(rule, gradient, couplings, compiled, np.floor)}
    exec(
        _source(rule, parameters(gradient), open_doors(couplings), uniform, draws(gradient), watch), scope
    )  # built from the parameter names of our own functions
    return compiled(scope["kernel"])
