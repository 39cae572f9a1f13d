"""Worker processes, which know the rules of the user's own files, and the one rule for signals: Ctrl-C ends a worker without
a word, the driver says what is kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from dynamics.rules import load_rules, own_files


@contextmanager
def processes(
    prepare: Sequence[Callable[[], object]] = (), preload: Sequence[str] = (), workers: int | None = None
) -> Iterator[Executor]:
    """Worker processes of this machine, one a core unless told otherwise.

    prepare: called in each worker, once, before its first task; picklable. preload: modules that a server imports once for
    all workers, while it still has no threads. On an interrupt, what has not begun is not begun any more.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    count = workers or len(os.sched_getaffinity(0))
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(own_files(), tuple(prepare)))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(rules: Sequence[Path], prepare: Sequence[Callable[[], object]]) -> None:
    # Ctrl-C reaches the whole group of processes, workers included.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for file in rules:
        load_rules(file)
    for call in prepare:
        call()
