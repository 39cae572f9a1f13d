"""What studies cost, from measured speeds: bench/side_by_side.json, and bench/gpu.json once a CUDA device was visited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from docs.fill import ROOT, read

RUNS = 10_000
# Workers of a machine, cores or devices, at which the costs are told.
WORKERS = (1, 8, 64)


class Task(NamedTuple):
    """A run: images of a side, BasicNet of a width, and how many images it trains on in all."""

    name: str
    size: int
    width: float
    images: int


TASKS = (
    Task("digits, 2,000 steps", 8, 0.125, 80_000),
    Task("CIFAR-10 at 16 x 16, 10 epochs", 16, 0.125, 500_000),
    Task("CIFAR-10 at 16 x 16, 10 epochs", 16, 0.25, 500_000),
    Task("CIFAR-10, 60 epochs", 32, 0.25, 3_000_000),
    Task("CIFAR-10, 60 epochs", 32, 1.0, 3_000_000),
)


def speeds() -> Iterator[tuple[str, dict[tuple[int, float], float]]]:
    """What was measured: a worker in words, and by side and width its images a second, runs side by side."""
    yield "core", _by_cell(read("bench/side_by_side.json"))
    visit = ROOT / "bench" / "gpu.json"
    if visit.exists():
        found = json.loads(visit.read_text(encoding="utf-8"))
        for step in found["steps"]:
            if step["step"] == "replicas" and step.get("result"):
                yield found["device"], _by_cell(step["result"])


def _by_cell(found: dict[str, list[dict[str, dict[str, float | list[float]]]]]) -> dict[tuple[int, float], float]:
    cells = ((row["cell"], row["speeds"]) for row in found["rows"])
    return {(int(at["size"]), float(at["width"])): median(took["together"]) for at, took in cells}  # type: ignore[arg-type]


def rows() -> tuple[list[str], list[list[str]]]:
    """The columns and rows of the table: images a second of a worker, and how long RUNS runs take."""
    columns = ["a run", "width of BasicNet"]
    lines = [[task.name, f"{task.width:g}"] for task in TASKS]
    for worker, measured in speeds():
        columns += [f"images/s a {worker}", *(f"{n} {worker}{'s' if n > 1 else ''}" for n in WORKERS)]
        for k, task in enumerate(TASKS):
            speed = measured.get((task.size, task.width))
            if speed is None:
                lines[k] += ["not measured"] * (1 + len(WORKERS))
            else:
                lines[k] += [f"{speed:,.0f}", *(duration(RUNS * task.images / speed / n) for n in WORKERS)]
    return columns, lines


def duration(seconds: float) -> str:
    """A time in the unit that it is best told in."""
    for unit, size in (("years", 365 * 86_400), ("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
