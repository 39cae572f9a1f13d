"""python -m bench [--quick] [--json FILE]: the fused kernel and the torch face beside their peers, in under four minutes.

Exit status: 0 measured, whatever the ratios; 1 a contestant computed something else or failed; 2 bad usage.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import NoReturn

from bench import report, torch_face
from bench.contestants import FUSED, OTHERS, available_cores
from bench.measure import DisagreementError, Row, measure
from bench.work import Case, cases
from bench.workers import Worker, WorkerError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"bench: {message}\n")


def _progress(text: str) -> None:
    """One line that rewrites itself; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="bench", description="The fused kernel beside NumPy, torch and optax, on the same work.")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs; no fair timing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store every repetition in FILE")
    arguments = parser.parse_args(words)
    if arguments.json and (arguments.json.is_dir() or not arguments.json.parent.is_dir()):
        parser.error(f"--json {arguments.json}: a file in a folder that exists is accepted")
    return arguments


def main(words: list[str]) -> int:
    """Measure and print; the exit status."""
    arguments = _arguments(words)
    lanes, updates, repetitions = ((256, 1024), 1 << 15, 2) if arguments.quick else ((4096, 262_144), 1 << 26, 7)
    missing = {c: why for c in OTHERS if (why := c.missing())}
    print(report.heading(repetitions), flush=True)
    workers = {c: Worker(c.name) for c in (FUSED, *OTHERS) if c not in missing}
    results: dict[Case, list[Row]] = {}
    try:
        for case in cases(lanes, updates):
            results[case] = measure(case, workers, repetitions, _progress)
            _progress("")
            print("\n" + report.table(case, results[case], missing), flush=True)
        for worker in workers.values():
            worker.stop()
        steps: list[torch_face.Row] = []
        if find_spec("torch"):
            shapes = torch_face.resnet50()[: 8 if arguments.quick else None]
            threads = sorted({1, available_cores()})
            steps = torch_face.measure(shapes, threads, 2 if arguments.quick else 9, _progress)
            _progress("")
            print("\n" + torch_face.table(steps, sum(map(prod, shapes))), flush=True)
        print(f"\nload at the end {report.load()}")
        if arguments.json:
            content = report.as_json(repetitions, results, missing) | {"torch_face": torch_face.as_json(steps)}
            report.write(arguments.json, content)
    except (DisagreementError, WorkerError, OSError) as error:
        _progress("")
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        for worker in workers.values():
            worker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
