"""Many training runs: what a worker does with a spec, and how runs and outcomes are said in a few words."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from evidence.store import Row
from fullscale.spec import RunSpec, together_key

if TYPE_CHECKING:
    from evidence.study import Run
    from fullscale.data import Images
    from fullscale.execution import Execution
    from fullscale.outcome import Outcome

KIND = "train"
# Runs that advance as one program at most.
TOGETHER = 8
# Multiply-adds for an image up to which that pays. On a CPU (bench/side_by_side.json) it is nearly four times as fast at 0.2
# million, nothing is gained at 11 million, and less than nothing at 171 million. On a CUDA device it is not measured yet: up
# to BasicNet at half width; at full width (171 million) a run alone is stored eight times as soon as eight together.
PAYS = {"cpu": 1e7, "cuda": 1e8}


def runs_of(
    specs: Sequence[RunSpec], places: Sequence[str], costs: Sequence[float], device: str | None = None
) -> list[Run]:
    """What a study asks an executor for.

    Args:
        specs: the runs.
        places: where the images of each lie, as `fullscale.data.load` takes it; read by the worker, on whatever machine.
        costs: multiply-adds of each network for one image.
        device: as in `Execution.best`; None: the CPU.

    Returns:
        One Run a spec.
    """
    from evidence.study import Run  # brings xarray, which whoever only reads results need not wait for

    limit = PAYS["cuda" if device is not None and device.startswith("cuda") else "cpu"]
    groups = together(specs, places, [cost <= limit for cost in costs])
    return [
        Run(KIND, spec.as_dict(), title(spec), partial(work, spec, place, device), group, work_together)
        for spec, place, group in zip(specs, places, groups, strict=True)
    ]


def together(specs: Sequence[RunSpec], places: Sequence[str], pays: Sequence[bool]) -> list[str]:
    """The group that each run goes in, "" for one that goes alone: runs of one shape, at most TOGETHER of them, where it pays.

    It follows from what is asked for alone, not from what is stored, so that a run comes out the same at every try. Runs of
    one shape are cut into pieces of like size, an even number of them, so that two workers, or more, have as much to do.
    """
    shapes: dict[tuple[str, str], list[int]] = {}
    for k, (spec, place) in enumerate(zip(specs, places, strict=True)):
        if pays[k] and (key := together_key(spec)):
            shapes.setdefault((key, place), []).append(k)
    groups = [""] * len(specs)
    for found in shapes.values():
        pieces = 2 * -(-len(found) // (2 * TOGETHER))
        for place_in, k in enumerate(found):
            piece = place_in * pieces // len(found)
            groups[k] = f"{found[0]}: {piece}"
    counts = Counter(groups)
    return [group if counts[group] > 1 else "" for group in groups]


def work(spec: RunSpec, place: str, device: str | None = None) -> dict[str, Any]:
    """In a worker: one run, as plain data. Raises InputError for images that are not those of the spec."""
    from fullscale.train import train

    _as_worker()
    images = _prepared(place, spec.classes, spec.size, spec.label_noise)
    return as_row(train(spec, images, execution=_execution(device)))


def work_together(works: Sequence[Any]) -> list[dict[str, Any]]:
    """In a worker: the runs of a group as one program. works: of each run, as `runs_of` makes it."""
    from fullscale.train import train_together

    _as_worker()
    (first, place, device), specs = works[0].args, [one.args[0] for one in works]
    images = _prepared(place, first.classes, first.size, first.label_noise)
    return [as_row(outcome) for outcome in train_together(specs, images, execution=_execution(device))]


def _as_worker() -> None:
    """One thread, since workers share the processor, and no semaphore, which a worker that is killed would leave behind."""
    from torch.hub import tqdm  # type: ignore[attr-defined]

    from fullscale.train import one_thread

    one_thread()
    if hasattr(tqdm, "set_lock"):  # torch has a stand-in where tqdm is not installed
        tqdm.set_lock(threading.RLock())


def _execution(device: str | None) -> Execution | None:
    from fullscale.execution import Execution

    return None if device is None else Execution.best(device)


@lru_cache(maxsize=4)
def _prepared(place: str, classes: tuple[str, ...], size: int, label_noise: float) -> Images:
    from fullscale.data import prepared

    return prepared(_loaded(place), classes, size, label_noise)


@lru_cache(maxsize=1)
def _loaded(place: str) -> Images:
    from fullscale.data import load

    return load(place)


def as_row(outcome: Outcome) -> dict[str, Any]:
    """A run's outcome as the store takes it."""
    return {"status": outcome.status, "error": outcome.error, "summary": outcome.summary, "curves": outcome.curves}


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
