"""Numbers as they are printed, and those that stand within a sentence."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

from docs.fill import read

# Whose data are a CNN's; every other experiment is a toy world.
CNN = ("pocket", "grid", "long", "thresholds", "compare", "watched", "paper-6-pruning")


@cache
def claims() -> dict[str, dict[str, Any]]:
    """The stored findings by id."""
    return {claim["id"]: claim for claim in read("docs/findings.json")["claims"]}


@cache
def noted(part: str) -> dict[str, Any]:
    """The "values" or "tables" of all runs in noted.json, by name."""
    return {name: found for run in read("docs/noted.json")["runs"] for name, found in run[part].items()}


def estimate(claim: dict[str, Any], scale: float = 1, unit: str | None = None) -> str:
    """Value, unit, interval, n and, of the cells of a grid, the worst; a star where the interval is from the smallest sample to
    the largest."""
    unit = claim["unit"] if unit is None else unit
    if claim["value"] is None:
        return f"no estimate ({claim['interval']})"
    value, low, high = (scale * claim[name] for name in ("value", "low", "high"))
    shown = [number(x, high - low) for x in (value, low, high)]
    over = re.search(r"over ([a-z]+)", claim["interval"])
    star = "" if over else "\\*"
    samples = f" {over[1]}" if over else ""
    unit = f" {unit}" if unit and not unit.startswith("%") else unit
    cells = re.search(r"for all (\d+) cells at once(, \d+ left out)?, the worst: (.*)", claim["interval"])
    worst = f"; worst of {cells[1]}{cells[2] or ''}: {cells[3]}" if cells else ""
    return f"{shown[0]}{unit} [{shown[1]}, {shown[2]}]{star}, n = {claim['n']}{samples}{worst}"


def number(x: float, width: float) -> str:
    """x to two digits of the width of its interval; to four where there is none; tiny ones as powers of ten."""
    if width == 0 or not math.isfinite(width):
        return f"{x:.4g}"
    if max(abs(x), width) < 1e-3:
        return powers(x)
    digits = max(0, 1 - math.floor(math.log10(width)))
    return f"{round(x, digits) + 0.0:,.{digits}f}"  # + 0.0: no -0


def powers(x: float) -> str:
    """Two digits, 1e-6 rather than 1e-06."""
    return re.sub(r"e([-+])0", r"e\1", f"{x:.2g}")


def percent(shares: list[float]) -> str:
    """Mean of shares over seeds with the smallest and the largest, in percent."""
    values = [100 * x for x in shares]
    low, high = min(values), max(values)
    mean = f"{sum(values) / len(values):.1f}%"
    return mean if low == high else f"{mean} [{low:.1f}, {high:.1f}]"


def value(name: str) -> str:
    """What stands for a name; KeyError for an unknown one.

    `claim ID`: its estimate and verdict. `noted NAME`: see noted.json. `count WHAT`: of claims, rules, couplings, seeds. `cnn
    WHAT`: of its runs; `watched WHAT`: of those watched. `steps RULE COUPLING`: how many a weight without a gradient lasts.
    """
    kind, _, rest = name.partition(" ")
    if kind == "claim":
        return f"{estimate(claims()[rest])}: {claims()[rest]['verdict']}"
    if kind == "noted":
        return str(noted("values")[rest])
    if kind == "count":
        return str(_counts()[rest])
    if kind == "cnn":
        return _cnn()[rest]
    if kind == "watched":
        from docs import watched

        return watched.values()[rest]
    if kind == "steps":
        return _steps(*rest.split())
    raise KeyError(name)


def _counts() -> dict[str, int]:
    every = list(claims().values())
    from dynamics.couplings import COUPLINGS
    from dynamics.rules import RULES
    from fullscale import digits_long, lr_grid

    found = {verdict: sum(c["verdict"] == verdict for c in every) for verdict in ("holds", "fails", "undecided")}
    found |= {"rules": len(RULES), "couplings": sum(name != "none" for name in COUPLINGS)}
    found["seeds of the grid"] = len(lr_grid.STUDY.axes["seed"])
    found["seeds of the long runs"] = len(digits_long.STUDY.axes["seed"])
    return found | {"claims": len(every), "CNN": sum(c["experiment"] in CNN for c in every)}


def _cnn() -> dict[str, str]:
    content = read("docs/findings.json")
    flat = content["facts"]["flat"]
    ends = [[x for run in content["cnn"] for x in run[name]] for name in ("difference", "noise_difference")]
    test, noise = (max(x for x in end if x is not None and math.isfinite(x)) for end in ends)
    between = [(f"{min(x):g}" if min(x) == max(x) else f"{min(x):g} to {max(x):g}") for x in flat]
    made = content["made"]
    return {
        "filters": str(content["facts"]["filters"]),
        "test images": str(content["facts"]["test_images"]),
        "one image": f"{100 / content['facts']['test_images']:.2g} points",
        "flat activation": f"{between[0]} decades",
        "flat scale": f"{between[1]} decades",
        "difference": powers(test),
        "noise difference": powers(noise),
        "made": ", ".join(f"{name} {' and '.join(found)}" for name, found in made.items()),
    }


def _steps(rule: str, coupling: str) -> str:
    """From 1 to 1/1000 at strength 1e-4 and lr 1e-3 (Adagrad 1e-2)."""
    from dynamics.answers.table import steps_from_1

    steps = steps_from_1((rule,), (coupling,), (1e-4,))[rule, coupling][0].steps
    return "never" if steps is None else f"{steps:,}"
