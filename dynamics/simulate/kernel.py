"""The fused kernel: rule, coupling, gradient and random numbers in one compiled loop over a block of lanes.

numba compiles the very functions of `dynamics.rules`, `dynamics.couplings`, `gradients` and `random`; the loop around them
is filled in from loop.template. Three choices decide the speed: `error_model="numpy"` (no branch before a division, so the
loop vectorizes), time outside and a block of lanes inside (the block stays in the first-level cache), and one local array
a field (no aliasing checks). Where all lanes share their hyperparameters, these and the clock are scalars, and what
depends on them alone leaves the inner loop. No fastmath: results equal NumPy's to the last bit.

`source` is the loop that is compiled; `python -m dynamics.simulate.kernel adam l2` prints that of a gradient that arrives
at random (`dynamics.simulate.gradients.selective`).
"""

from __future__ import annotations

import argparse
import dis
import inspect
import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import takewhile
from operator import methodcaller
from pathlib import Path
from typing import Any, cast

import numpy as np

from dynamics.couplings import COUPLINGS, DOORS, Coupling, composed, find_coupling
from dynamics.errors import InputError
from dynamics.given import flag, function, shown
from dynamics.rule import Rule
from dynamics.rules import find_rule
from dynamics.simulate import random
from dynamics.simulate.gradients import selective, silent
from dynamics.words import bind, newton_schulz

# Nothing here is called from C.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}
_BARE: dict[str, Any] = _OPTIONS | {"no_cpython_wrapper": True}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for numba to compile at its first call, with the options of the kernel; kept on disk."""
    from dynamics.simulate import cached  # only here: numba takes long to come, and most importers compile nothing

    return cached.compiled(function, _OPTIONS, keep=True)


def _part(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for what compiled code alone calls, without the entries for Python, which take a fifth of the time."""
    from dynamics.simulate import cached

    return cached.compiled(function, _BARE, keep=False)


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


@cache
def _words(compiler: Callable[..., Any], round_down: Any) -> dict[str, Any]:
    flat = {
        "largest": compiler(_larger),
        "norm": compiler(_size),
        "times": compiler(_times),
        "transpose": compiler(_same),
    }
    # A lane is a tensor of its own.
    return {
        "sqrt": math.sqrt,
        "sign": compiler(_sign),
        "maximum": flat["largest"],
        "power": math.pow,
        "where": compiler(_choose),
        "round_down": round_down,
        "norm": flat["norm"],
        "orthogonal": compiler(bind(newton_schulz, {**flat, "range": range})),
        "shape_factor": compiler(_one),
    }


@cache
def _numbers(compiler: Callable[..., Any]) -> dict[str, Any]:
    """The random numbers of `dynamics.simulate.random`, each function compiled."""
    names = ("word", "signed", "PARITY", "STAR", "EVEN", "ODD", "LEFT", "BURST")
    found: dict[str, Any] = {name: getattr(random, name) for name in names}
    for name in ("turned", "four_rounds", "threefry", "star", "unit"):
        found[name] = compiler(bind(getattr(random, name), found))
    return found


def parameters(gradient: Callable[..., Any]) -> list[str]:
    """The lane parameters of a gradient: what it takes after (w, t, u, z)."""
    try:
        taken = list(inspect.signature(function("gradient", gradient)).parameters)
    except (TypeError, ValueError):  # of a built-in
        taken = []
    if len(taken) < 4 or not inspect.isfunction(gradient):
        raise InputError(f"gradient {shown(gradient)}: a function of (w, t, u, z, ...) is accepted")
    return taken[4:]


def draws(gradient: Callable[..., Any]) -> bool:
    """Whether a gradient reads its random numbers, u or z."""
    read = {i.argval for i in dis.get_instructions(gradient) if i.opname.startswith("LOAD_FAST")}
    return not read.isdisjoint(("u", "z"))


def open_doors(couplings: Sequence[Coupling]) -> tuple[str, ...]:
    """The doors that any of the couplings opens, in the order in which a step passes them."""
    return tuple(name for name in DOORS if any(name in c.doors for c in couplings))


def served(used: Sequence[Coupling]) -> tuple[Coupling, ...]:
    """The couplings that one kernel serves: those used and all registered ones, but not, unless they are used, the two
    whose doors cost time at every step. Always in one order, so that kernels are made once."""
    costly = {"sign", "cautious"}
    registered = [c for c in COUPLINGS.values() if c in used or not costly & c.doors.keys()]
    return tuple(dict.fromkeys((*registered, *used)))


def _fill(lines: Sequence[str], slots: dict[str, Any]) -> list[str]:
    """Lines of the template with its marks obeyed and its slots filled."""
    filled: list[str] = []
    rest = list(lines)
    while rest:
        code, _, mark = rest.pop(0).partition("  #: ")
        if not mark:
            filled.append(code.format_map(slots).rstrip())
            continue
        deeper = " " * (len(code) - len(code.lstrip()) + 1)
        below = [*takewhile(methodcaller("startswith", deeper), rest)]
        del rest[: len(below)]
        names, _, repeated = mark.removeprefix("for ").partition(" in ")
        for values in slots[repeated] if repeated else [()] if slots[mark.removeprefix("if ")] else []:
            filled += _fill([code, *below], slots | dict(zip(names.split(", "), values, strict=bool(values))))
    return filled


@cache
def _template(name: str) -> list[str]:
    pieces = Path(__file__).with_name("loop.template").read_text(encoding="utf-8").split("\n\n\n")
    return next(piece for piece in pieces if f"def {name}(" in piece).splitlines()


def _source(
    name: str, rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...], uniform: bool, watch: bool
) -> str:
    """The text of the loop `name` of the template."""
    cells, wanted, opened = ("w", *rule.inner), parameters(gradient), open_doors(couplings)
    table = ("lr", "strength", *rule.defaults, *wanted)
    shared = {*rule.defaults, *rule.clock} if uniform else set()
    at = "{}_[i]" if name == "on_cpu" else "{}_"

    def listed(names: Sequence[str], shared_as: str = "{}_now") -> str:
        found = [(shared_as if name in shared else at).format(name) for name in names]
        return ", ".join(found) + ("," if len(found) == 1 else "")

    rows = {
        f"{owner}_{what}": [(name, row) for row, name in enumerate(names) if (name in shared) == (owner == "shared")]
        for what, names in (("cells", cells), ("table", table))
        for owner in ("own", "shared")
    }
    drawn, by_epoch = draws(gradient), "epoch" in wanted
    slots = {
        **rows,
        "arrays": [(name,) for name in (*cells, *table, "rate", *opened) if name not in shared],
        "words": [(name,) for name in ("stream", "key", "a", "b", "u", "z")],
        "drawn": drawn,
        "silent": not drawn,
        "by_epoch": drawn and by_epoch,
        "by_step": drawn and not by_epoch,
        "watch": watch,
        "opened": listed(opened),
        "parameters": listed(wanted),
        "inner": listed(rule.inner),
        "hyper": listed(tuple(rule.defaults)),
        "after": listed(cells, "{}_next"),
        "shares": ", ".join(at.format(door) if door in opened else "None" for door in DOORS),
    }
    return "\n".join(_fill(_template(name), slots)) + "\n"


# Once for all kernels that call them: compiling these parts anew was up to a third of the time for each kernel.
@cache
def _bound(function: Callable[..., Any], compiler: Callable[..., Any], round_down: Any) -> Callable[..., Any]:
    return cast(Callable[..., Any], compiler(bind(function, _words(compiler, round_down))))


@cache
def _update(rule: Rule, compiler: Callable[..., Any], round_down: Any) -> Callable[..., Any]:
    return composed(rule, _words(compiler, round_down), compiler)


@cache
def _doors(couplings: tuple[Coupling, ...], compiler: Callable[..., Any], round_down: Any) -> Callable[..., Any]:
    """The shares of all doors that any of the couplings opens, by the position of a lane's coupling."""
    opened = open_doors(couplings)
    shares: dict[str, Any] = {}
    slots: dict[str, Any] = {"served": [], "closed": "0.0, " * len(opened)}
    for code, coupling in enumerate(couplings):
        shares |= {f"{door}_{code}": _bound(share, compiler, round_down) for door, share in coupling.doors.items()}
        taken = (f"{d}_{code}(strength, lr, multiplier) + 0.0, " if d in coupling.doors else "0.0, " for d in opened)
        slots["served"].append((code, "".join(taken)))
    # Built from the names in our own functions.
    exec("\n".join(_fill(_template("doors"), slots)), shares)
    return cast(Callable[..., Any], compiler(shares["doors"]))


def loop(
    name: str,
    rule: Rule,
    gradient: Callable[..., Any],
    couplings: tuple[Coupling, ...],
    compiler: Callable[..., Any],
    scope: dict[str, Any],
    *,
    uniform: bool,
    watch: bool,
) -> Callable[..., None]:
    """The loop `name` of the template as a plain function, over compiled functions.

    compiler: makes a function one that the loop may call. scope: what else it reads, of it "round_down", which rounds down.
    """
    down = scope["round_down"]
    found = {
        "uint32": np.uint32,
        "nan": math.nan,
        "inf": math.inf,
        "min": min,
        "update": _update(rule, compiler, down),
        "gradient": _bound(gradient, compiler, down),
        "doors": _doors(couplings, compiler, down),
        **_numbers(compiler),
        **scope,
    }
    exec(_source(name, rule, gradient, couplings, uniform, watch), found)
    return cast(Callable[..., None], found[name])


@cache
def kernel(
    rule: Rule, gradient: Callable[..., Any], couplings: tuple[Coupling, ...], uniform: bool, watch: bool
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
    scope = {"empty": np.empty, "round_down": np.floor}
    return compiled(loop("on_cpu", rule, gradient, couplings, _part, scope, uniform=uniform, watch=watch))


def source(
    rule: str | Rule,
    coupling: str | Coupling,
    gradient: Callable[..., Any] = silent,
    *,
    uniform: bool = True,
    watch: bool = False,
    device: bool = False,
) -> str:
    """The text of the loop that `dynamics.simulate.lanes.simulate` compiles, or `device.on_device` where device is
    true.

    In it `update` is `dynamics.couplings.composed`, and doors gives the shares of a lane's coupling.

    Args:
        rule: a name or an object, as `dynamics.rules` has them.
        coupling: a name or an object, as `dynamics.couplings` has them.
        gradient: of `dynamics.simulate.gradients`, or such a function of one's own.
        uniform: for lanes that share their hyperparameters.
        watch: with a floor that is watched.
        device: the loop of a CUDA device.

    Returns:
        Python source.

    Raises:
        InputError: for an unknown rule or coupling.

    Example:
        >>> print(source("sgd", "l2").splitlines()[0])
        def on_cpu(first, last, multipliers, cells, table, codes, ...
    """
    for name, value in (("uniform", uniform), ("watch", watch), ("device", device)):
        flag(name, value)
    parameters(gradient)
    couplings = served([find_coupling(coupling)])
    return _source(
        "on_cuda" if device else "on_cpu", find_rule(rule), gradient, couplings, uniform and not device, watch
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m dynamics.simulate.kernel", description="Print the compiled loop.")
    parser.add_argument("rule")
    parser.add_argument("coupling")
    asked = parser.parse_args()
    try:
        print(source(asked.rule, asked.coupling, selective), end="")
    except InputError as error:
        parser.error(str(error))
