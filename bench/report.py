"""The result in words for a reader, and as JSON for a program."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from bench.contestants import Contestant, available_cores
from bench.measure import Row
from bench.phase import Phase
from bench.work import Case, Work
from evidence.files import write_whole

Missing = Mapping[Contestant, Sequence[str]]


def machine() -> dict[str, Any]:
    """Processor, cores and versions."""
    versions = {"python": platform.python_version()}
    for name in ("numpy", "numba", "torch", "jax", "optax"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {"processor": _processor(), "cores": available_cores(), "versions": versions}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def heading(repetitions: int) -> str:
    """What is measured and on what."""
    here = machine()
    versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items())
    return (
        "Adam + L2, float64. Million weight-steps a second, and ratios: min, median, max of "
        f"{repetitions} interleaved repetitions.\n"
        "Compilation is excluded for all: each runs once before it is timed. One thread unless it says two, but the phase\n"
        "diagram, where all have two cores; each contestant has a process of its own, and those with one thread are all\n"
        "bound to the same core.\n"
        f"{here['processor']}, {here['cores']} cores, load {load()}; {versions}"
    )


def load() -> str:
    """The system's mean load over 1, 5 and 15 minutes."""
    return " ".join(f"{x:.1f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def _triple(values: Sequence[float], form: str) -> str:
    return " ".join(format(x, form) for x in (min(values), median(values), max(values)))


def table(case: Work, rows: Sequence[Row], missing: Missing) -> str:
    """One case: a line a contestant, those that could not run with the reason."""
    lines = [f"{case.name}; outcomes agree", f"{'':30}{'M weight-steps/s':>18}{'ratio':>22}   expected"]
    for row in rows:
        line = f"{row.contestant.name:30}{_triple([s / 1e6 for s in row.speeds], '5.0f'):>18}"
        if row.contestant is not row.base:
            line += f"{_triple(row.ratios, '6.2f'):>22}   {_verdict(row)}"
        lines.append(line.rstrip())
    lines += [f"{contestant.name:30}{', '.join(why)}" for contestant, why in missing.items()]
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    over = "it over one thread" if row.more_threads else "fused over it"
    expected = row.contestant.expected
    if expected is None:
        return over
    return f"{over} at least {expected}: {'yes' if median(row.ratios) >= expected else 'no'}"


def as_json(repetitions: int, results: Mapping[Case, Sequence[Row]], missing: Missing) -> dict[str, Any]:
    """Everything measured, repetition by repetition."""
    return {
        "machine": machine(),
        "load": load(),
        "repetitions": repetitions,
        "missing": reasons(missing),
        "cases": [
            {
                "weights": case.lanes,
                "steps": case.steps,
                "gradient": "random" if case.random else "silent",
                "contestants": contestants(rows),
            }
            for case, rows in results.items()
        ],
    }


def phase_as_json(case: Phase, rows: Sequence[Row], missing: Missing) -> dict[str, Any]:
    """The phase diagram's rows, none where it could not run, repetition by repetition."""
    return {
        "weights": case.lanes,
        "steps": case.steps,
        "threads": case.threads,
        "missing": reasons(missing),
        "contestants": contestants(rows),
    }


def reasons(missing: Missing) -> dict[str, list[str]]:
    """Why each contestant that could not run could not."""
    return {contestant.name: list(why) for contestant, why in missing.items()}


def contestants(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One case's rows."""
    return [
        {
            "name": row.contestant.name,
            "threads": row.contestant.cores,
            "weight_steps_per_second": row.speeds,
            "ratios": [] if row.contestant is row.base else row.ratios,
            "ratio_expected": row.contestant.expected,
        }
        for row in rows
    ]


def write(path: Path, content: Mapping[str, Any]) -> None:
    """As JSON, whole or not at all."""
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
