"""The fused kernel: rule, coupling, gradient and random numbers in one compiled loop over a block of lanes.

numba compiles the very functions of `dynamics.rules`, `dynamics.couplings`, `dynamics.gradients` and `dynamics.random`;
only the glue around them is generated here. Three choices decide the speed: `error_model="numpy"` (no branch before a
division, so the loop vectorizes), time outside and a block of lanes inside (the block stays in the first-level cache),
and one local array a field (no aliasing checks). Where all lanes share their hyperparameters, these and the clock are
scalars, and what depends on them alone leaves the inner loop. No fastmath: results equal NumPy's to the last bit.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numba
import numpy as np

from dynamics import random
from dynamics.couplings import Coupling
from dynamics.rule import Rule
from dynamics.words import bind

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], numba.njit(**_OPTIONS)(function))


@_compiled
def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


WORDS = {"sqrt": math.sqrt, "where": _choose}


def parameters(gradient: Callable[..., Any]) -> list[str]:
    """The lane parameters of a gradient: what it takes after (w, t, u, z)."""
    return list(inspect.signature(gradient).parameters)[4:]


_UNIFORMS = _compiled(bind(random.uniforms, {"philox": _compiled(random.philox)}))


@cache
def _doors(couplings: tuple[Coupling, ...]) -> Callable[..., Any]:
    """doors(code, strength, lr, multiplier) -> shares (into the gradient, before, after) of couplings[code]."""
    scope: dict[str, Any] = {}
    lines = ["def doors(code, strength, lr, multiplier):"]
    for code, coupling in enumerate(couplings):
        shares = []
        for door, share in zip(("gradient", "before", "after"), coupling.doors, strict=True):
            if share is None:
                shares.append("0.0")
            else:
                scope[f"{door}_{code}"] = _compiled(bind(share, WORDS))
                shares.append(f"{door}_{code}(strength, lr, multiplier) + 0.0")
        lines += [f"    if code == {code}:", f"        return {', '.join(shares)}"]
    lines.append("    return 0.0, 0.0, 0.0")
    exec("\n".join(lines), scope)  # names come from this file alone
    return _compiled(scope["doors"])


def _source(rule: Rule, lane_parameters: list[str], uniform: bool) -> str:
    cells = {name: row for row, name in enumerate(("w", *rule.inner))}
    table = {name: row for row, name in enumerate(("lr", "strength", *rule.defaults, *lane_parameters))}
    shared = {*rule.defaults, *rule.clock} if uniform else set()

    def at(name: str) -> str:
        return name if name in shared else f"{name}_[i]"

    def result(name: str) -> str:
        return f"{name}_next" if name in shared else name

    own = [name for name in (*cells, *table) if name not in shared]
    lines = ["def kernel(first, last, multipliers, cells, table, codes, streams, keys, start, stop, block):"]
    lines += [f"    {name}_ = empty(block)" for name in (*own, "rate", "into", "before", "after")]
    lines += ["    stream_ = empty(block, uint64)", "    key_ = empty(block, uint64)"]
    lines += [f"    {name} = table[{table[name]}, start]" for name in rule.defaults if name in shared]
    lines += ["    for low in range(start, stop, block):", "        n = min(block, stop - low)"]
    lines += [f"        {name} = cells[{cells[name]}, low]" for name in rule.clock if name in shared]
    lines += ["        for i in range(n):"]
    lines += [f"            {name}_[i] = cells[{cells[name]}, low + i]" for name in own if name in cells]
    lines += [f"            {name}_[i] = table[{table[name]}, low + i]" for name in own if name in table]
    lines += ["            stream_[i] = streams[low + i]", "            key_[i] = keys[low + i]"]
    lines += ["        previous = nan", "        for t in range(first, last):"]
    lines += ["            multiplier = multipliers[t - first]", "            if multiplier != previous:"]
    lines += ["                previous = multiplier", "                for i in range(n):"]
    lines += ["                    rate_[i] = lr_[i] * multiplier"]
    shares = "doors(codes[low + i], strength_[i], rate_[i], multiplier)"
    lines += [f"                    into_[i], before_[i], after_[i] = {shares}"]
    lines += ["            counter = uint64(t)", "            for i in range(n):", "                w = w_[i]"]
    lines += ["                u, z = uniforms(counter, stream_[i], key_[i])"]
    arguments = "".join(f", {name}_[i]" for name in lane_parameters)
    lines += [f"                g = gradient(w, t, u, z{arguments}) + into_[i] * w"]
    lines += ["                w = w - before_[i] * w"]
    after = "".join(f"{result(name)}, " for name in rule.inner)
    given = ", ".join(at(name) for name in (*rule.inner, "rate", *rule.defaults))
    lines += [f"                w, {after}= step(w, g, {given})", "                w_[i] = w - after_[i] * w"]
    lines += [f"                {name}_[i] = {name}" for name in rule.inner if name not in shared]
    lines += [f"            {name} = {result(name)}" for name in rule.clock if name in shared]
    lines += ["        for i in range(n):"]
    lines += [f"            cells[{row}, low + i] = {at(name)}" for name, row in cells.items()]
    return "\n".join(lines) + "\n"


@cache
def kernel(
    rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...], uniform: bool
) -> Callable[..., None]:
    """The compiled loop for a rule and a gradient; lanes choose among `couplings` by position.

    uniform: all lanes have the same hyperparameters (lr, strength and the gradient's parameters may still differ).

    kernel(first, last, multipliers, cells, table, codes, streams, keys, start, stop, block) advances lanes
    start <= i < stop from step `first` to step `last` in place; multipliers (last - first,), cells (1 + state and
    clock, lanes), table (lr, strength, hyperparameters, gradient parameters; lanes), codes, streams, keys (lanes,).
    """
    scope: dict[str, Any] = {
        "empty": np.empty,
        "uint64": np.uint64,
        "nan": math.nan,
        "min": min,
        "step": _compiled(bind(rule.step, WORDS)),
        "gradient": _compiled(bind(gradient, WORDS)),
        "doors": _doors(couplings),
        "uniforms": _UNIFORMS,
    }
    exec(_source(rule, parameters(gradient), uniform), scope)  # built from the parameter names of our own functions
    return _compiled(scope["kernel"])
