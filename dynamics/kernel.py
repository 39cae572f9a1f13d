"""The fused kernel: rule, coupling, gradient and random numbers in one compiled loop over a block of lanes.

numba compiles the very functions of `dynamics.rules`, `dynamics.couplings`, `dynamics.gradients` and `dynamics.random`;
only the glue around them is generated here. Three choices decide the speed: `error_model="numpy"` (no branch before a
division, so the loop vectorizes), time outside and a block of lanes inside (the block stays in the first-level cache),
and one local array a field (no aliasing checks). No fastmath: results equal NumPy's to the last bit.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numba
import numpy as np

from . import random
from .couplings import Coupling
from .rule import Rule
from .words import bind

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


def _source(rule: Rule, lane_parameters: list[str]) -> str:
    cells = ["w", *rule.inner]
    table = ["lr", "strength", *rule.defaults, *lane_parameters]
    work = ["rate", "into", "before", "after"]
    lines = ["def kernel(first, last, multipliers, cells, table, codes, streams, keys, start, stop, block):"]
    lines += [f"    {name}_ = empty(block)" for name in (*cells, *table, *work)]
    lines += ["    stream_ = empty(block, uint64)", "    key_ = empty(block, uint64)"]
    lines += ["    for low in range(start, stop, block):", "        n = min(block, stop - low)"]
    lines += ["        for i in range(n):"]
    lines += [f"            {name}_[i] = cells[{row}, low + i]" for row, name in enumerate(cells)]
    lines += [f"            {name}_[i] = table[{row}, low + i]" for row, name in enumerate(table)]
    lines += ["            stream_[i] = streams[low + i]", "            key_[i] = keys[low + i]"]
    lines += ["        previous = nan", "        for t in range(first, last):"]
    lines += ["            multiplier = multipliers[t - first]", "            if multiplier != previous:"]
    lines += ["                previous = multiplier", "                for i in range(n):"]
    lines += ["                    rate_[i] = lr_[i] * multiplier"]
    lines += ["                    into_[i], before_[i], after_[i] ="]
    lines[-1] += " doors(codes[low + i], strength_[i], rate_[i], multiplier)"
    lines += ["            counter = uint64(t)", "            for i in range(n):", "                w = w_[i]"]
    lines += ["                u, z = uniforms(counter, stream_[i], key_[i])"]
    arguments = "".join(f", {name}_[i]" for name in lane_parameters)
    lines += [f"                g = gradient(w, t, u, z{arguments}) + into_[i] * w"]
    lines += ["                w = w - before_[i] * w"]
    inner = "".join(f"{name}, " for name in rule.inner)
    given = "".join(f"{name}_[i], " for name in (*rule.inner, "rate", *rule.defaults))
    lines += [f"                w, {inner}= step(w, g, {given})"]
    lines += ["                w_[i] = w - after_[i] * w"]
    lines += [f"                {name}_[i] = {name}" for name in rule.inner]
    lines += ["        for i in range(n):"]
    lines += [f"            cells[{row}, low + i] = {name}_[i]" for row, name in enumerate(cells)]
    return "\n".join(lines) + "\n"


@cache
def kernel(rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...]) -> Callable[..., None]:
    """The compiled loop for a rule and a gradient; lanes choose among `couplings` by position.

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
    exec(_source(rule, parameters(gradient)), scope)  # built from the parameter names of our own functions
    return _compiled(scope["kernel"])
