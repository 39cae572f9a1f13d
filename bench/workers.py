"""One process a contestant, so that none sees another's threads, memory pools or flags.

A process may use as many cores as its contestant: all one-thread contestants are bound to the same core, the last, so
that whatever else the machine does meets them alike, and a library that starts threads unasked gains nothing (XLA sizes
its pool by the cores that its process may use). Where a system cannot bind, the libraries' own settings remain.
"""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter

from bench.contestants import FUSED, OTHERS, Run
from bench.work import Case, Weights


class WorkerError(Exception):
    """A contestant's process ended before its run did."""


class Worker:
    """The process of one contestant; it waits, idle, between runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        context = get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, name), daemon=True)
        self._process.start()
        far.close()

    def run(self, case: Case) -> tuple[float, Weights]:
        """Seconds of wall clock for one run, and the end weights; the first run of a case compiles."""
        try:
            self._pipe.send(case)
            seconds, weights = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise WorkerError(f"{self.name}: its process ended with status {self._process.exitcode}") from error
        return seconds, weights

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, name: str) -> None:
    contestant = next(c for c in (FUSED, *OTHERS) if c.name == name)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-contestant.cores :])
    runs: dict[Case, Run] = {}
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        if case not in runs:
            runs[case] = contestant.prepare(case)
        begin = perf_counter()
        weights = runs[case]()
        pipe.send((perf_counter() - begin, weights))
