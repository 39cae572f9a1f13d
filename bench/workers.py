"""One process a contestant, so that none sees another's threads, memory pools or flags.

A process may use as many cores as its contestant: all one-thread contestants are bound to the same core, the last, so
that whatever else the machine does meets them alike, and a library that starts threads unasked gains nothing (XLA sizes
its pool by the cores that its process may use). Where a system cannot bind, the libraries' own settings remain.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter

from bench.agreement import Weights
from bench.contestants import Contestant, Run
from bench.work import Work


class WorkerError(Exception):
    """A contestant's process ended before its run did."""


class Worker:
    """The process of one contestant; it waits, idle, between runs."""

    def __init__(self, contestant: Contestant) -> None:
        self.name = contestant.name
        context = get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, contestant), daemon=True)
        self._process.start()
        far.close()

    def run(self, case: Work) -> tuple[float, Weights]:
        """Seconds of wall clock for one run, and its outcome; the first run of a case compiles."""
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


@contextmanager
def started(contestants: Iterable[Contestant]) -> Iterator[Mapping[Contestant, Worker]]:
    """A worker for each; all end with the block."""
    workers = {c: Worker(c) for c in contestants}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.stop()


def _serve(pipe: Connection, contestant: Contestant) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-contestant.cores :])
    runs: dict[Work, Run] = {}
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
