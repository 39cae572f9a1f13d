"""Many training runs: what a worker does with a spec, and how runs and outcomes are said in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from evidence import study
from evidence.executors.local import processes
from evidence.store import Row, Store
from evidence.study import Notify, Run
from fullscale.data import Images
from fullscale.spec import RunSpec

if TYPE_CHECKING:
    from fullscale.outcome import Outcome

KIND = "train"
_images: dict[str, Images] = {}


def _begin(images: Images) -> None:
    """In each worker, once: the data, and one thread, since the workers share the processor."""
    from fullscale.train import one_thread

    one_thread()
    _images[images.digest] = images


def _work(spec: RunSpec) -> dict[str, Any]:
    """In a worker: one run, as plain data."""
    from fullscale.train import train

    return as_row(train(spec, _images[spec.digest]))


def as_row(outcome: Outcome) -> dict[str, Any]:
    """A run's outcome as the store takes it."""
    return {"status": outcome.status, "error": outcome.error, "summary": outcome.summary, "curves": outcome.curves}


def local_executor(images: Images, workers: int | None = None) -> AbstractContextManager[Executor]:
    """Processes of this machine, one a core unless told otherwise, each holding the images."""
    return processes([partial(_begin, images)], workers=workers)


def run_all(
    specs: Sequence[RunSpec], store: Store, executor: Executor, notify: Notify, fresh: bool = False
) -> list[Row]:
    """The stored rows of all specs, in their order: `evidence.study.run_all`."""
    runs = [Run(KIND, spec.as_dict(), title(spec), partial(_work, spec)) for spec in specs]
    return study.run_all(runs, store, executor, notify, outcome, fresh, strict=True)


def title(spec: RunSpec) -> str:
    """A run in a few words."""
    pull = "no regularizer" if spec.strength == 0 else f"{spec.coupling} {spec.strength:g}"
    return f"{spec.optimizer}, {pull}, lr {spec.lr:g}, seed {spec.seed}"


def outcome(row: Row) -> str:
    """A stored run's outcome in a few words."""
    if row.status != "done":
        return f"{row.status}, {row.error}"
    s = row.summary
    return (
        f"{s['inactive_by_activation']:.1%} of filters inactive, test error {s['test_error']:.1%}, {s['seconds']:.0f} s"
    )
