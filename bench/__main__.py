"""python -m bench [--quick] [--json FILE] [--figure FOLDER]: the fused kernel and the torch face beside their peers.

Under six minutes on two cores. Exit status: 0 measured, whatever the ratios; 1 a contestant computed something else or
failed; 2 bad usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bench import report, scaling, torch_face
from bench.contestants import FUSED, OTHERS, Contestant, available_cores
from bench.measure import DisagreementError, Row, measure
from bench.phase import Phase
from bench.phase_peers import OURS, PEERS
from bench.work import Work, cases
from bench.workers import WorkerError, started
from dynamics.errors import InputError

_Work = TypeVar("_Work", bound=Work)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"bench: {message}\n")


def _progress(text: str) -> None:
    """One line that rewrites itself; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    _progress("")
    print(f"\n{text}", flush=True)


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="bench", description="The fused kernel beside NumPy, torch and optax, on the same work.")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs; no fair timing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store every repetition in FILE")
    parser.add_argument("--figure", type=Path, metavar="FOLDER", help="draw how speed scales into FOLDER")
    arguments = parser.parse_args(words)
    if arguments.json and (arguments.json.is_dir() or not arguments.json.parent.is_dir()):
        parser.error(f"--json {arguments.json}: a file in a folder that exists is accepted")
    if arguments.figure and not arguments.figure.is_dir():
        parser.error(f"--figure {arguments.figure}: a folder that exists is accepted")
    return arguments


def main(words: list[str]) -> int:
    """Measure and print; the exit status."""
    arguments = _arguments(words)
    try:
        content = _measured(arguments.quick)
        if arguments.json:
            report.write(arguments.json, content)
        if arguments.figure:
            _draw(content, arguments.figure)
    except (DisagreementError, WorkerError, InputError, OSError) as error:
        _progress("")
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _measured(quick: bool) -> dict[str, Any]:
    """Every part, printed as it comes, for JSON."""
    repetitions = 2 if quick else 7
    print(report.heading(repetitions), flush=True)
    lanes, updates = ((1024,), 1 << 15) if quick else ((4096, 262_144), 1 << 25)
    results, missing = _beside(cases(lanes, updates), FUSED, OTHERS, repetitions)
    content = report.as_json(repetitions, results, missing)

    phase = Phase(1024, 512) if quick else Phase(65_536, 1024)
    rows, missing = _beside([phase], OURS, PEERS, repetitions)
    content["phase"] = report.phase_as_json(phase, rows.get(phase, []), missing)

    content["scaling"] = scaling.measure(quick, 2 if quick else 5, _progress)
    _say(scaling.table(content["scaling"]))

    steps: list[torch_face.Row] = []
    if find_spec("torch"):
        shapes = torch_face.resnet50()[: 8 if quick else None]
        steps = torch_face.measure(shapes, sorted({1, available_cores()}), 2 if quick else 9, _progress)
        _say(torch_face.table(steps, sum(map(prod, shapes))))
    _say(f"load at the end {report.load()}")
    return content | {"torch_face": torch_face.as_json(steps)}


def _beside(
    works: Sequence[_Work], base: Contestant, others: Sequence[Contestant], repetitions: int
) -> tuple[dict[_Work, list[Row]], dict[Contestant, list[str]]]:
    """Rows for each work, and why those that cannot run cannot; no rows where base cannot."""
    missing = {c: why for c in (base, *others) if (why := c.missing())}
    results: dict[_Work, list[Row]] = {}
    if base in missing:
        _say(f"{works[0].name}: {base.name} {', '.join(missing[base])}")
        return results, missing
    with started(c for c in (base, *others) if c not in missing) as workers:
        for work in works:
            results[work] = measure(work, base, workers, repetitions, _progress)
            _say(report.table(work, results[work], missing))
    return results, missing


def _draw(content: Mapping[str, Any], folder: Path) -> None:
    # Only here: matplotlib takes long to come.
    from figures import scaling as figure
    from figures.style import save

    machine = content["machine"]
    save(figure.draw(scaling.speeds_by_axis(content["scaling"], machine["processor"], machine["cores"])), folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
