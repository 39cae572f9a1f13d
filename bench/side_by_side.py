"""python -m bench.side_by_side [--device cuda] [--json FILE]: images a second of small networks, alone and side by side.

BasicNet at batch 40 with Adam and L2, three ways that take turns, so that a neighbour's load meets them alike:

- plain: an eager loop with torch.optim.Adam; its images lie in memory, normalized before, in plain order of dimensions;
- alone: one run as `fullscale.train.train` takes its steps (`epoch_by_epoch`, its feed included);
- together: several runs as `fullscale.train.train_together` takes them, each with its own learning rate; their images are
  counted together.

On a CPU each has one thread, as in the worker processes of a study. Then, at one of several sizes, the whole machine: a worker
process a core with plain loops, with runs alone, with runs together, beside one run after another on all of torch's threads.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from evidence.files import write_whole
from evidence.store import environment
from fullscale.cost import multiply_adds
from fullscale.data import Images, Split
from fullscale.execution import Execution
from fullscale.feed import Resident
from fullscale.models import Architecture, build
from fullscale.replicas import Replicas
from fullscale.replicas.optimizers import Optimizers
from fullscale.spec import RunSpec
from fullscale.train import drawn, epoch_by_epoch, one_thread

SIZES = (8, 16, 32)
WIDTHS = (0.125, 0.25, 1.0)
BATCH = 40
REPLICAS = 8
KINDS = ("plain", "alone", "together")
# Multiply-adds of one turn of one run: a quarter of a second and more on a core; at least one step.
TURN = 2.5e9
# Steps of a turn at most, since a small step takes as long as its launches; on a CUDA device, where all do, as many.
STEPS = 200
LR = 1e-3


@dataclass(frozen=True)
class Cell:
    """BasicNet of a width on square images of `size` pixels a side; `runs` of them together; `steps` in a turn."""

    size: int
    width: float
    runs: int
    steps: int
    device: str = "cpu"

    @property
    def channels(self) -> int:
        """Of the images: digits are grey."""
        return 1 if self.size == SIZES[0] else 3

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return Architecture("basicnet", self.width, self.channels, 10)


@dataclass
class Row:
    """A cell and the images a second of each turn, by kind."""

    cell: Cell
    speeds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})


def cell(size: int, width: float, runs: int, device: str = "cpu") -> Cell:
    """With as many steps as a turn takes; wide networks, which gain nothing from company on a processor, go in pairs there."""
    if device.startswith("cuda"):
        return Cell(size, width, runs, STEPS, device)
    first = Cell(size, width, min(runs, 2) if width >= 1 else runs, 1, device)
    cost = multiply_adds(build(first.architecture), torch.empty(1, first.channels, size, size)) * 3 * BATCH
    return Cell(size, width, first.runs, min(max(1, round(TURN / cost)), STEPS), device)


def images(at: Cell) -> Images:
    """Noise, as many as a turn's steps take: the speed does not depend on what is seen."""
    draws, count = np.random.default_rng(0), at.steps * BATCH
    pixels = draws.integers(0, 256, (count, at.channels, at.size, at.size), dtype=np.uint8)
    part = Split(pixels, np.arange(count, dtype=np.int64) % 10)
    return Images("noise", tuple("0123456789"), part, part)


def _plain(at: Cell) -> Iterator[None]:
    pixels, labels = (torch.cat(parts) for parts in zip(*Resident(images(at), at.device).training(1024), strict=True))
    net = build(at.architecture).to(at.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, weight_decay=1e-4)
    while True:
        net.train()
        loss = torch.zeros(())
        for chosen in torch.randperm(len(pixels)).to(at.device).split(BATCH):
            with torch.autocast(torch.device(at.device).type, torch.bfloat16, enabled=at.device != "cpu"):  # as ours
                outputs = net(pixels[chosen])
            loss = cross_entropy(outputs.float(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device
        yield


def _ours(at: Cell, together: bool) -> Iterator[list[float]]:
    execution = Execution.best(at.device)
    feed = Resident(images(at), at.device)
    runs = at.runs if together else 1
    specs = [
        RunSpec(feed.digest, at.width, "adam", "l2", lr=LR * (1 + k), strength=1e-4, batch=BATCH, epochs=1, seed=k)
        for k in range(runs)
    ]
    layout: Any = torch.contiguous_format if together else torch.channels_last
    nets = [net.to(at.device, memory_format=layout) for net in drawn(at.architecture, range(runs))]  # type: ignore[call-overload]
    orders = [torch.Generator().manual_seed(k) for k in range(runs)]
    net: torch.nn.Module = nets[0]
    optimizer: Optimizer | Optimizers
    if together:
        net = replicas = Replicas(nets)
        optimizer = Optimizers(replicas, specs, execution.graphs)
    else:
        lr = torch.tensor(LR, dtype=torch.float64, device=at.device) if execution.graphs else LR
        numbers: dict[str, Any] = {"lr": lr, "weight_decay": 1e-4, "capturable": execution.graphs}
        optimizer = Optimizer(net.parameters(), "adam", "l2", **numbers)
    precision: Any = "bf16" if at.device.startswith("cuda") else "float32"
    return epoch_by_epoch(
        net, optimizer, [feed] * runs, orders, lambda taken: np.full(len(taken), LR), 10_000 * at.steps, BATCH,
        execution=execution, precision=precision,
    )  # fmt: skip


@cache
def contestant(at: Cell, kind: str) -> Iterator[Any]:
    """What takes a turn's steps whenever it is asked for the next; kept from turn to turn."""
    return _plain(at) if kind == "plain" else _ours(at, kind == "together")


def turn(at: Cell, kind: str) -> tuple[float, float, int]:
    """When it began and ended, and how many images it took."""
    run = contestant(at, kind)
    with nullcontext() if kind == "plain" else Execution.best(at.device).applied():
        started = time.time()
        next(run)
    return started, time.time(), at.steps * BATCH * (at.runs if kind == "together" else 1)


def speed(turns: Sequence[tuple[float, float, int]]) -> float:
    """Images a second of turns that were taken at the same time."""
    return sum(t[2] for t in turns) / (max(t[1] for t in turns) - min(t[0] for t in turns))


def measure(cells: Sequence[Cell], repeats: int) -> Iterator[Row]:
    """All rows, the kinds taking turns; the first turn of each, which compiles, does not count."""
    for at in cells:
        print(f"{at.size}x{at.size}, width {at.width:g}", file=sys.stderr, flush=True)
        row = Row(at)
        for repeat in range(repeats + 1):
            for kind in KINDS:
                took = speed([turn(at, kind)])
                if repeat:
                    row.speeds[kind].append(took)
        contestant.cache_clear()
        torch.compiler.reset()
        yield row


def machine(at: Cell, repeats: int, threads: int) -> dict[str, list[float]]:
    """Images a second of the whole machine, by what keeps it busy."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, get_context("spawn"), one_thread) as workers:
        ways: dict[str, Callable[[], float]] = {
            f"{cores} processes, {kind}": _spread(workers, cores, at, kind) for kind in KINDS
        }
        ways |= {f"one process of {threads} threads, {kind}": _threaded(at, kind, threads) for kind in KINDS[:2]}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for repeat in range(repeats + 1):
            for name, way in ways.items():
                took = way()
                if repeat:
                    found[name].append(took)
    return found


def _spread(workers: Executor, cores: int, at: Cell, kind: str) -> Callable[[], float]:
    return lambda: speed([job.result() for job in [workers.submit(turn, at, kind) for _ in range(cores)]])


def _threaded(at: Cell, kind: str, threads: int) -> Callable[[], float]:
    def way() -> float:
        torch.set_num_threads(threads)
        try:
            return speed([turn(at, kind)])
        finally:
            torch.set_num_threads(1)

    return way


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """Median [smallest, largest] of the ratios of turns that followed each other."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def table(rows: Sequence[Row], whole: dict[str, list[float]]) -> str:
    """Markdown: medians, and ratios to the plain loop and to one run alone."""
    lines = [
        "| images, width | plain loop | one run alone | over plain | together | over plain | over alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        plain, alone, together = (row.speeds[kind] for kind in KINDS)
        one, two, many = (f"{statistics.median(s):,.0f}" for s in (plain, alone, together))
        lines.append(
            f"| {row.cell.size}x{row.cell.size}, {row.cell.width:g} | {one} | {two} | {ratio(alone, plain)} | "
            f"{row.cell.runs}: {many} | {ratio(together, plain)} | {ratio(together, alone)} |"
        )
    lines += ["", "| the whole machine | images/s |", "|---|---|"] if whole else []
    return "\n".join([*lines, *(f"| {name} | {statistics.median(s):,.0f} |" for name, s in whole.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: measured; 2: bad usage."""
    parser = argparse.ArgumentParser("bench.side_by_side", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="sides of the images (8 16 32)")
    parser.add_argument("--widths", nargs="+", type=float, default=WIDTHS, help="of BasicNet (0.125 0.25 1)")
    parser.add_argument("--runs", type=int, default=REPLICAS, help="runs together (8; 2 from width 1 on)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each that count (3)")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    try:
        for name in ("repeats", "runs"):
            if getattr(asked, name) < 1:
                raise InputError(f"{name} {getattr(asked, name)}: a positive whole number is accepted")
        Execution.best(asked.device)
        if asked.json:
            write_whole(asked.json, b"{}\n")  # measuring takes long: it shall not be for nothing
        cells = [cell(size, width, asked.runs, asked.device) for size in asked.sizes for width in asked.widths]
        name = torch.cuda.get_device_name(asked.device) if asked.device.startswith("cuda") else "cpu"
        whole: dict[str, list[float]] = {}
        if asked.device == "cpu":
            one_thread()
        if asked.device == "cpu" and len(cells) > 1:
            middle = min(cells, key=lambda at: (abs(math.log(at.size / 16)), at.width))
            whole = machine(middle, asked.repeats, threads)
        rows: list[Row] = []
        for row in measure(cells, asked.repeats):
            rows.append(row)
            if asked.json:  # at once: what is stopped later has measured these
                found: dict[str, Any] = {
                    "device": name, "environment": environment(), "batch": BATCH, "rows": [asdict(r) for r in rows],
                    "machine": whole,
                }  # fmt: skip
                write_whole(asked.json, (json.dumps(found, indent=1) + "\n").encode())
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    finally:
        torch.set_num_threads(threads)
    print(f"{name}, torch {torch.__version__}, batch {BATCH}, images a second\n\n{table(rows, whole)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
