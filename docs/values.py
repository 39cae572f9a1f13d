"""Numbers as they are printed, and those that stand within a sentence."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from docs.fill import read
from evidence.claim import Estimate, Verdict
from figures.paper_table import in_brief, powers


@cache
def claims() -> dict[str, dict[str, Any]]:
    """The stored findings by id."""
    return {claim["id"]: claim for claim in read("docs/findings.json")["claims"]}


@cache
def noted(part: str) -> dict[str, Any]:
    """The "values" or "tables" of all runs in noted.json, by name."""
    return {name: found for run in read("docs/noted.json")["runs"] for name, found in run[part].items()}


def finding(claim: dict[str, Any]) -> tuple[Verdict, Estimate]:
    """Verdict and estimate of a stored finding."""
    value, low, high = (math.nan if claim[name] is None else float(claim[name]) for name in ("value", "low", "high"))
    return claim["verdict"], Estimate(value, low, high, claim["n"], claim["unit"], claim["interval"])


def estimate(claim: dict[str, Any]) -> str:
    """Value, unit, interval and n, as Markdown; a star where the interval is from the smallest sample to the largest."""
    return in_brief(finding(claim)[1]).replace("*", "\\*")


def percent(shares: list[float]) -> str:
    """Mean of shares over seeds with the smallest and the largest, in percent."""
    values = [100 * x for x in shares]
    low, high = min(values), max(values)
    mean = f"{sum(values) / len(values):.1f}%"
    return mean if low == high else f"{mean} [{low:.1f}, {high:.1f}]"


def value(name: str) -> str:
    """What stands for a name; KeyError for an unknown one.

    `claim ID`: its estimate and verdict; `brief ID`: value, interval and n alone. `noted NAME`: see noted.json. `count WHAT`: of
    claims, rules, couplings, seeds. `cnn WHAT`: of its runs; `watched WHAT`: of those watched.
    `interventions WHAT`: of the trial's (docs/interventions.py).
    `left RECIPE`, `reliability WHAT`, `probed WHAT`: see docs/runs.py, docs/reliability.py, docs/probed.py.
    `steps RULE COUPLING`: how many a weight
    without a gradient lasts.
    """
    kind, _, rest = name.partition(" ")
    if kind == "claim":
        return f"{estimate(claims()[rest])}: {claims()[rest]['verdict']}"
    if kind == "brief":
        return estimate(claims()[rest]).split(";")[0]
    if kind == "noted":
        return str(noted("values")[rest])
    if kind == "count":
        return str(_counts()[rest])
    if kind == "cnn":
        return _cnn()[rest]
    if kind == "watched":
        from docs import watched

        return watched.values()[rest]
    if kind == "forecast":
        from docs import forecast

        return forecast.values()[rest]
    if kind == "interventions":
        from docs import interventions

        return interventions.values()[rest]
    if kind == "reliability":
        from docs import reliability

        return reliability.value(rest)
    if kind == "probed":
        from docs import probed

        return probed.value(rest)
    if kind == "left":
        from docs import runs

        return runs.left(rest)
    if kind == "steps":
        return _steps(*rest.split())
    raise KeyError(name)


def _counts() -> dict[str, int]:
    every = list(claims().values())
    import undertow.experiments  # noqa: F401  # which names all worlds
    from dynamics.couplings import COUPLINGS
    from dynamics.rules import RULES
    from evidence.registry import worlds
    from fullscale import digits_long, lr_grid

    found = {verdict: sum(c["verdict"] == verdict for c in every) for verdict in ("holds", "fails", "undecided")}
    found |= {"rules": len(RULES), "couplings": sum(name != "none" for name in COUPLINGS)}
    found["seeds of the grid"] = len(lr_grid.STUDY.axes["seed"])
    found["seeds of the long runs"] = len(digits_long.STUDY.axes["seed"])
    return found | {"claims": len(every), "CNN": sum(c["experiment"] not in worlds() for c in every)}


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
