"""One run of the fuzz: what is needed is made, cases are given and judged, and what came out is counted."""

from __future__ import annotations

import importlib
import json
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dynamics.errors import InputError
from fuzz import commands, formats, functions, valid
from fuzz.cage import MEMORY, SECONDS, Case, Left, run_all
from fuzz.odd import copy
from undertow.__main__ import main

# Of all cases: so many of each part.
SHARES = {"commands": 0.45, "formats": 0.35, "functions": 0.2}
OUTCOMES = ("refused", "right", "same answer", "another answer")
# What most commands import, so that it is there before the first one is tried.
COMMON = (
    *("undertow.experiments", "dynamics.answers.convert", "dynamics.answers.explain", "evidence.merge", "figures.phase"),
    *("fullscale.measure", "fullscale.own", "fullscale.prune", "fullscale.studies.conduct", "fullscale.train", "torch._dynamo"),
)  # fmt: skip


def session(count: int, seed: int, only: str, processes: int, keep: str | None) -> int:
    """Run, print, keep; the exit status: 1 if anything is wrong."""
    began = time.monotonic()
    with TemporaryDirectory(prefix="fuzz-valid-") as folder:
        valid.make(Path(folder))
        said, wrong = baseline(Path(folder), processes)
        print(f"{time.monotonic() - began:.0f} s: valid files are made, valid commands have run", flush=True)
        asked = [case for case in all_cases(seed, count, Path(folder), said) if case.id.startswith(only)]
        counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        slowest = Counter[str]()
        for k, (case, left) in enumerate(run_all(asked, processes), 1):
            outcome = case.judge(left)
            slowest[case.id] = int(1000 * left.seconds)
            counts[case.part][case.name][outcome if outcome in OUTCOMES else "fault"] += 1
            if outcome not in OUTCOMES:
                again = f"PYTHONPATH=tests python -m fuzz --count {count} --seed {seed} --only {case.id!r}"
                wrong.append(f"{case.id}\n    {outcome}\n    {again}")
                print(f"fault {len(wrong)}: {wrong[-1]}", flush=True)
            if k % 100 == 0:
                print(f"{time.monotonic() - began:.0f} s: {k} of {len(asked)}, {len(wrong)} faults", flush=True)
    print(in_words(counts))
    print("slowest: " + ", ".join(f"{ms / 1000:.1f} s {name}" for name, ms in slowest.most_common(3)))
    if keep is not None:
        Path(keep).write_text(as_text(counts, seed=seed, seconds=round(time.monotonic() - began)))
    print(f"{len(wrong)} faults" if wrong else "no fault")
    return bool(wrong)


def all_cases(seed: int, count: int, folder: Path, said: dict[tuple[str, ...], str]) -> Iterator[Case]:
    """Cases of all parts."""
    each = {part: round(share * count) for part, share in SHARES.items()}
    return chain(
        commands.cases(seed, each["commands"], folder, said),
        formats.cases(seed, each["formats"], folder, said),
        functions_cases(seed, each["functions"]),
    )


def functions_cases(seed: int, count: int) -> Iterator[Case]:
    """Cases of public functions."""
    for case in functions.cases(seed, count):
        name, _, what = case.name.partition(": ")
        yield Case("functions", name, what, partial(_called, case), _judged)


def _called(case: functions.Case) -> None:
    seen = "right"

    def call() -> None:
        nonlocal seen
        try:
            case.run()
        except InputError:
            seen = "refused"
            raise

    fault = functions.judge(functions.Case(case.name, call))
    print(f"outcome: {fault.removeprefix(case.name + ': ') or seen}")


def _judged(left: Left) -> str:
    if left.late:
        return "longer than its time"
    said = [line.removeprefix("outcome: ") for line in left.out.splitlines() if line.startswith("outcome: ")]
    if left.status or len(said) != 1:
        return f"exit status {left.status}: {left.err[-200:]!r}"
    return said[0] if not left.made else f"left behind: {', '.join(left.made)}"


def baseline(folder: Path, processes: int) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """What valid commands say, and what is wrong with that. What they import is imported here, once for all cases."""
    import torch

    torch.set_num_threads(1)
    for name in COMMON:
        importlib.import_module(name)
    asked = {
        (name, invocation.words): invocation.needs for name, found in valid.INVOCATIONS.items() for invocation in found
    }
    asked |= {(f.words.split()[0], tuple(f.words.split())): f.needs for f in formats.FORMATS.values()}
    reads = {tuple(f.words.split()): f.read for f in formats.FORMATS.values()}
    status = {i.words: i.status for found in valid.INVOCATIONS.values() for i in found}
    cases, modules = [], folder / "modules"
    modules.mkdir()
    for k, ((name, words), needs) in enumerate(asked.items()):

        def run(words: tuple[str, ...] = words, k: int = k) -> int:
            status = reads.get(words, main)(list(words))
            (modules / str(k)).write_text("\n".join(sys.modules))
            return status

        def prepare(place: Path, needs: Mapping[str, str] = needs) -> None:
            for target, source in needs.items():
                copy(folder / source, place / target)

        cases.append(Case("commands", name, " ".join(words), run, partial(_valid, status.get(words, 0)), prepare))
    said, wrong = {}, []
    for case, left in run_all(cases, processes):
        said[tuple(case.what.split(" "))] = left.out
        if (outcome := case.judge(left)) != "right":
            wrong.append(f"a valid command: undertow {case.what}\n    {outcome}")
            print(wrong[-1], flush=True)
    for name in sorted({n for file in modules.iterdir() for n in file.read_text().split("\n")}):
        if name not in sys.modules and not name.startswith(("networks", "__", "fuzz")):
            try:
                importlib.import_module(name)
            except ImportError:
                continue
    # Arrow's allocator has a thread, which knows of forks.
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    if len([name for name in threads if not name.startswith("jemalloc")]) > 1:
        raise RuntimeError("this process has threads: it cannot be forked safely")
    return said, wrong


def _valid(status: int, left: Left) -> str:
    fault = commands.fault_of(left)
    return fault or ("right" if left.status == status else f"exit status {left.status}: {left.err}")


def in_words(counts: Mapping[str, Mapping[str, Counter[str]]]) -> str:
    """The counts, a line each."""
    return "\n".join(
        f"{part} {name}: " + ", ".join(f"{n} {outcome}" for outcome, n in found.items())
        for part, each in counts.items()
        for name, found in each.items()
    )


def as_text(counts: Mapping[str, Mapping[str, Counter[str]]], **more: Any) -> str:
    """The counts as JSON, with what they were found with."""
    made = {"date": date.today().isoformat(), "python": platform.python_version()}
    made |= {name: version(name) for name in ("torch", "numpy", "hypothesis")}
    content = {"made": made, "limits": {"seconds": SECONDS, "memory": MEMORY}, **more, "counts": counts}
    return json.dumps(content, indent=1) + "\n"
