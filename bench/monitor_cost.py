"""python -m bench.monitor_cost [--json FILE]: what a Monitor costs where steps are shortest.

BasicNet of width 1/8 on scikit-learn's digits at batch 16, one thread, trained twice over: without a monitor, and with one at its
default interval. Both take turns of as many steps, and which goes first alternates, so that a neighbour's load meets them
alike; a ratio is formed within a pair of turns. Time on the clock and the processor's own both count: the first is what a user
waits for, the second is what other work on the machine leaves alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.given import whole
from evidence.files import write_whole
from evidence.store import environment
from fullscale.data import load
from fullscale.feed import Resident
from fullscale.models import Architecture, build
from fullscale.monitor import Monitor
from fullscale.monitor.core import INTERVAL

BATCH, WIDTH = 16, 0.125
STEPS = 2 * INTERVAL
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam + L2": lambda params: torch.optim.Adam(params, lr=1e-3, weight_decay=1e-4),
    "momentum + L2": lambda params: torch.optim.SGD(params, lr=1e-2, momentum=0.9, weight_decay=1e-4),
    "AdamW": lambda params: torch.optim.AdamW(params, lr=1e-3, weight_decay=1e-2),
}


@dataclass
class Row:
    """Seconds a step of each turn, by the clock and of the processor."""

    optimizer: str
    plain: list[tuple[float, float]] = field(default_factory=list)
    watched: list[tuple[float, float]] = field(default_factory=list)

    def ratios(self, which: int) -> list[float]:
        """With over without, of each pair: 0 by the clock, 1 of the processor."""
        return [b[which] / a[which] for a, b in zip(self.plain, self.watched, strict=True)]


def turns(optimizer: str, watch: bool) -> Iterator[tuple[float, float]]:
    """Seconds a step, by the clock and of the processor, of one turn after another of one training; the first warms up."""
    torch.manual_seed(0)
    parts = zip(*Resident(load("digits")).training(1024), strict=True)
    pixels, labels = (torch.cat(part) for part in parts)
    net = build(Architecture("basicnet", WIDTH, pixels.shape[1], 10))
    own = OPTIMIZERS[optimizer](net.parameters())
    if watch:
        Monitor(net, own)
    draws = torch.Generator().manual_seed(0)
    while True:
        chosen = torch.randint(len(pixels), (STEPS, BATCH), generator=draws)
        clock, processor = time.perf_counter(), time.process_time()
        for rows in chosen:
            own.zero_grad()
            cross_entropy(net(pixels[rows]), labels[rows]).backward()
            own.step()
        yield (time.perf_counter() - clock) / STEPS, (time.process_time() - processor) / STEPS


def measure(optimizer: str, pairs: int) -> Row:
    """So many pairs of turns."""
    row = Row(optimizer)
    sides = [(turns(optimizer, False), row.plain), (turns(optimizer, True), row.watched)]
    for side, _ in sides:
        next(side)
    for pair in range(pairs):
        print(f"{optimizer}: pair {pair + 1} of {pairs}", file=sys.stderr, flush=True)
        for side, seconds in sides if pair % 2 == 0 else sides[::-1]:
            seconds.append(next(side))
    return row


def median(samples: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the order statistics that hold that of all pairs in 95% of cases: each pair lies below it or above, as a
    coin falls. From 6 pairs on."""
    n, ordered = len(samples), sorted(samples)
    outside, choices, k = 0.0, 1.0, 0
    while outside + choices / 2**n <= 0.025:
        outside += choices / 2**n
        choices = choices * (n - k) / (k + 1)
        k += 1
    return statistics.median(ordered), ordered[k - 1], ordered[n - k]


def table(rows: Sequence[Row]) -> str:
    """The rows as a markdown table."""
    lines = ["| optimizer | a step without, ms | cost by the clock | of the processor |", "|---|---|---|---|"]
    for row in rows:
        step = 1e3 * statistics.median(seconds for seconds, _ in row.plain)
        costs = ([100 * (x - 1) for x in median(row.ratios(which))] for which in (0, 1))
        cells = " | ".join(f"{value:.1f}% [{low:.1f}, {high:.1f}]" for value, low, high in costs)
        lines.append(f"| {row.optimizer} | {step:.2f} | {cells} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: measured; 2: bad usage."""
    parser = argparse.ArgumentParser("bench.monitor_cost", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15, help="of turns with and without (15)")
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    try:
        whole("pairs", asked.pairs, 6)
        if asked.json:
            write_whole(asked.json, b"{}\n")  # measuring takes long: it shall not be for nothing
        torch.set_num_threads(1)
        rows = [measure(name, asked.pairs) for name in asked.optimizers]
        if asked.json:
            found = {"environment": environment(), "rows": [asdict(row) for row in rows]}
            write_whole(asked.json, (json.dumps(found, indent=1) + "\n").encode())
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(f"torch {torch.__version__}, {asked.pairs} pairs of {STEPS} steps, median [95%]\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
