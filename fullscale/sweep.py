"""Many training runs: the store decides what still has to run, an executor runs it, the driver alone writes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.rules import load_rules, own_files
from evidence.store import Row, Store
from fullscale.data import Images
from fullscale.spec import RunSpec

if TYPE_CHECKING:
    from fullscale.train import Outcome

KIND = "train"
# Called as a sweep goes on: runs done, runs in all, and a line on what just happened.
Notify = Callable[[int, int, str], None]

_images: dict[str, Images] = {}


def _begin(images: Images, rules: Sequence[Path]) -> None:
    """In each worker, once: the data, the rules of the user's own files, and one thread, since the workers share the
    processor."""
    from fullscale.train import one_thread

    # Ctrl-C reaches the whole group: a worker just ends, and the driver says what is kept.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    one_thread()
    _images[images.digest] = images
    for file in rules:
        load_rules(file)


def _work(spec: RunSpec) -> dict[str, Any]:
    """In a worker: one run, as plain data."""
    from fullscale.train import train

    return as_row(train(spec, _images[spec.digest]))


def as_row(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A run's outcomes as the store takes them. Status is diverged if any seed's is; the error says which."""
    errors = [f"seed {o.seed}: {o.error}" for o in outcomes if o.status != "done"]
    return {
        "status": "diverged" if errors else "done",
        "error": "; ".join(errors),
        "summary": {"seeds": [{"seed": o.seed, "status": o.status} | o.summary for o in outcomes]},
        "curves": {"seeds": [o.curves for o in outcomes]},
    }


@contextmanager
def local_executor(images: Images, workers: int | None = None) -> Iterator[Executor]:
    """Processes of this machine, one a core unless told otherwise, each holding the images."""
    count = workers or len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(images, own_files()))
    try:
        yield pool
    finally:
        # On an interrupt, what has not begun is not begun any more.
        pool.shutdown(wait=True, cancel_futures=True)


def run_all(
    specs: Sequence[RunSpec], store: Store, executor: Executor, notify: Notify, fresh: bool = False
) -> list[Row]:
    """The stored rows of all specs, in their order; those not stored (or all, if fresh) are run and stored first.

    Each run is stored when it ends, so an interrupted sweep goes on where it was. A run that raises is stored with
    status failed and raised again once all others are stored.
    """
    found = {spec: None if fresh else store.get(KIND, spec.as_dict()) for spec in specs}
    missing = [spec for spec, row in found.items() if row is None]
    done = len(specs) - len(missing)
    if done:
        notify(done, len(specs), f"{done} of {len(specs)} runs are stored already")
    pending: dict[Future[dict[str, Any]], RunSpec] = {executor.submit(_work, spec): spec for spec in missing}
    if missing:
        notify(done, len(specs), f"running, in this order: {'; '.join(title(spec) for spec in missing)}")
    failures: list[BaseException] = []
    for future in as_completed(pending):
        spec = pending[future]
        done += 1
        failure = future.exception()
        if failure is not None:
            failures.append(failure)
        if isinstance(failure, BrokenExecutor):  # a worker was killed: no fault of this run, or of those still waiting
            continue
        if failure is not None:
            found[spec] = store.put(KIND, spec.as_dict(), summary={}, curves={}, status="failed", error=repr(failure))
            notify(done, len(specs), f"{title(spec)}: failed, {failure}")
            continue
        row = found[spec] = store.put(KIND, spec.as_dict(), **future.result())
        notify(done, len(specs), f"{title(spec)}: {told(row)}")
    if failures:
        raise failures[0]
    rows = [found[spec] for spec in specs]
    return [row for row in rows if row is not None]


def title(spec: RunSpec) -> str:
    """A run in a few words."""
    pull = "no regularizer" if spec.strength == 0 else f"{spec.coupling} {spec.strength:g}"
    return f"{spec.optimizer}, {pull}, lr {spec.lr:g}"


def told(row: Row) -> str:
    """A stored run's outcome in a few words."""
    if row.status != "done":
        return f"{row.status}, {row.error}"
    seeds = row.summary["seeds"]
    inactive, error = ([s[name] for s in seeds] for name in ("inactive_by_activation", "test_error"))
    return (
        f"{100 * min(inactive):.1f} to {100 * max(inactive):.1f}% of filters inactive, "
        f"test error {100 * sum(error) / len(error):.1f}%, {len(seeds)} seeds, {sum(s['seconds'] for s in seeds):.0f} s"
    )
