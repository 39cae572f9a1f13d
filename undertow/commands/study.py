"""`undertow study`: run what a study asks for and is not stored yet. Stopped at any moment, it goes on where it was; a run
that fails is stored with its reason, and the others go on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from undertow.commands.arguments import Parser, add_out, add_rules, say, whole
from undertow.commands.results import STORE, add_study, studies_of

if TYPE_CHECKING:
    from fullscale.studies.standing import Standing

# Reasons of failed runs that are printed; all are in the store.
FIRST = 3
# Workers: more are a slip of the hand.
MOST = 4096


def add(parser: Parser) -> None:
    """Add its flags."""
    add_study(parser)
    add_out(parser, STORE)
    parser.add_argument(
        "--dry-run", action="store_true", help="say how many runs there are, are stored and are left; write nothing"
    )
    parser.add_argument("--retry", choices=["failed"], help="run again what has failed")
    parser.add_argument(
        "--executor", default="local", metavar="NAME", help="local, slurm, ray or a Ray cluster's HOST:PORT (local)"
    )
    parser.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of SLURM jobs as submitit names it, e.g. timeout_min=600; may be given again",
    )
    parser.add_argument("--workers", type=whole, metavar="N", help="processes or SLURM jobs (one a core, 64 jobs)")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (cpu)")
    add_rules(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print how the study stands; exit status 1 if a run failed."""
    from fullscale.studies import asked

    studies = studies_of(arguments)
    runs = [asked(study) for study in studies]  # a slip of the hand is told before anything is loaded
    if arguments.workers is not None and not 1 <= arguments.workers <= MOST:
        raise InputError(f"--workers {arguments.workers}: a whole number from 1 to {MOST:,} is accepted")
    from undertow.extras import needs

    needs("fullscale", "torch", "safetensors", "PIL", "sklearn")
    from evidence.files import check_folder, usable, writing
    from fullscale.data import check_source
    from fullscale.studies import images

    for source in dict.fromkeys(images.place(run.source, arguments.data) for each in runs for run in each):
        check_source(source)
    (usable if arguments.dry_run else check_folder)(arguments.out)
    from evidence.executors.choice import check_executor, executor
    from evidence.progress import Live
    from evidence.store import Store
    from fullscale.studies.conduct import conduct, planned

    parameters = _parameters(arguments.slurm)
    check_executor(arguments.executor, parameters)
    local = arguments.executor == "local"
    workers, devices = _workers(arguments.workers, arguments.device, local)
    path = arguments.out / STORE
    plans = planned(*studies, data=arguments.data, runs=runs)
    if arguments.dry_run:
        if path.exists():
            with Store(path, reading=True) as store:
                plans = [plan.in_store(store) for plan in plans]
        say("\n".join(_left(plan, workers) for plan in plans))
        return 0
    with writing(arguments.out), Store(path) as store, Live() as live:
        how = {"data": arguments.data, "device": arguments.device}
        retry = [arguments.retry] if arguments.retry else []
        given = workers if local else arguments.workers
        ended = []
        with executor(arguments.executor, arguments.out, workers=given, devices=devices, parameters=parameters) as pool:
            for plan in plans:
                live.line(_left(plan.in_store(store), workers))
                task = live.task(plan.study.name, len(plan.runs))
                ended.append(conduct(plan, store, pool, task, retry=retry, **how))
    names = [arguments.study] if len(studies) == 1 else [study.name for study in studies]
    return max(_ended(stands, path, name) for stands, name in zip(ended, names, strict=True))


def _parameters(given: list[str]) -> dict[str, Any]:
    """Parameters of SLURM jobs: whole numbers as numbers, all else as words."""
    found: dict[str, Any] = {}
    for setting in given:
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise InputError(f"--slurm {setting}: NAME=VALUE is accepted, e.g. timeout_min=600")
        found[name] = int(text) if text.isdecimal() else text
    return found


def _workers(count: int | None, device: str | None, local: bool) -> tuple[int, int]:
    """How many processes work, and on how many CUDA devices: one each, or one a core of the CPU, unless told otherwise.

    Elsewhere the devices are not those of this machine: a run gets one if it is for CUDA.
    """
    if not local:
        return count or 1, int(device is not None and device.startswith("cuda"))
    from fullscale.execution import Execution

    if device is None or Execution.best(device).device == "cpu":
        return count or len(os.sched_getaffinity(0)), 0
    import torch

    devices = torch.cuda.device_count() if device == "cuda" else 0
    return count or devices or 1, devices


def _left(stands: Standing, workers: int) -> str:
    """How many runs there are, how many of them are stored, and how long the rest takes."""
    from fullscale.studies.estimate import in_words, seconds_left

    counts = stands.counts
    said = ", ".join(f"{counts[status]} {status}" for status in ("done", "diverged", "failed") if counts[status])
    lines = f"{stands.study.name}: {len(stands.runs)} runs, {stands.stored} stored" + (f" ({said})" if said else "")
    if stands.complete:
        return f"{lines}; nothing is left"
    seconds = seconds_left(stands)
    if seconds is None:
        return f"{lines}; the time left is not known until a run is stored"
    return f"{lines}; about {in_words(seconds / workers)} left with {workers} workers, from the speed of those stored"


def _ended(stands: Standing, path: Path, name: str) -> int:
    """Say how the study stands; the exit status."""
    say(f"{stands.study.name}: {stands.in_words()}")
    failed = [(run, row) for run, row in zip(stands.runs, stands.rows, strict=True) if row and row.status == "failed"]
    for run, row in failed[:FIRST]:
        assert row is not None
        varied = ", ".join(f"{name} {run.cell[name]}" for name in stands.varied())
        say(f"failed ({varied}): {row.error}")
    if failed:
        say("again: the same command with --retry failed")
    say(f"store: {path.resolve()}; undertow results {name} shows it")
    return 0 if stands.complete else 1
