"""Many training runs: what a worker does with a spec, and how runs and outcomes are said in a few words."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.given import shown
from evidence.forms import ABOVE, check_form
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
# On a CPU batches of whole vectors alone: with them a run comes out the same to the last bit in any company, so that stores
# of several machines, or of studies that overlap, hold one result for one run.
VECTOR = 8
# What is read of a run's summary; of rows that come with the package, most of it is left out for its size.
SUMMARY = {
    "seconds?": float, "steps?": int, "inactive_by_activation?": float, "inactive_by_scale?": float, "test_error?": float,
    "layers_by_activation?": [float], "layers_by_scale?": [float], "layers_selectivity?": [(None, float)], "channels?": [int],
    "held_out_error?": float, "thresholds?": {}, "removal?": {"share": float},
    "certificate?": {
        "held_out_images?": int, "held_out_difference?": float, "random_difference?": float, "error_before?": float,
        "error_after?": float, "parameters_before?": ABOVE, "parameters_after?": float, "multiply_adds_before": ABOVE,
        "multiply_adds_after?": float,
    },
}  # fmt: skip
SPEC = {
    "digest": str, "width": float, "optimizer": str, "coupling": str, "lr": float, "strength": float, "batch": int,
    "epochs": int, "seed": int,
}  # fmt: skip


def check_row(row: Row) -> None:
    """ValueError for the row of a run that is not as `as_row` gives it."""
    check_form("spec", row.spec, SPEC)
    check_form("summary", row.summary, SUMMARY if row.status == "done" else {})
    curves = {name: curve for name, curve in row.curves.items() if name != "filters"}
    for name, curve in curves.items():
        check_form(f"curve {shown(name)}", curve, [float])
    if len({len(curve) for curve in curves.values()}) > 1:
        raise ValueError("curves of different lengths")


@checked
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
        One Run a spec. Raises InputError for specs, places and costs of different number.
    """
    from evidence.study import Run  # brings xarray, which whoever only reads results need not wait for

    if not len(specs) == len(places) == len(costs):
        raise InputError(f"{len(specs)} specs, {len(places)} places, {len(costs)} costs: as many of each are accepted")
    cuda = device is not None and device.startswith("cuda")
    limit = PAYS["cuda" if cuda else "cpu"]
    joint = [
        cost <= limit
        and (cuda or (spec.batch % VECTOR == 0 and spec.precision == "float32"))
        and together_key(spec) != ""
        for spec, cost in zip(specs, costs, strict=True)
    ]
    groups = together(specs, places, joint)
    return [
        Run(KIND, spec.as_dict(), title(spec), partial(work, spec, place, device, one), group, work_together, check_row)
        for spec, place, group, one in zip(specs, places, groups, joint, strict=True)
    ]


def together(specs: Sequence[RunSpec], places: Sequence[str], joint: Sequence[bool]) -> list[str]:
    """The group that each run goes in, "" for one that goes alone: runs of one shape, at most TOGETHER of them.

    joint: of each run, whether it can go with others and gains by it. Groups follow from what is asked for alone, not from what
    is stored. Runs of one shape are cut into pieces of like size, an even number of them, so that two workers, or more, have
    as much to do.
    """
    shapes: dict[tuple[str, str], list[int]] = {}
    for k, (spec, place) in enumerate(zip(specs, places, strict=True)):
        if joint[k]:
            shapes.setdefault((together_key(spec), place), []).append(k)
    groups = [""] * len(specs)
    for found in shapes.values():
        pieces = 2 * -(-len(found) // (2 * TOGETHER))
        for place_in, k in enumerate(found):
            piece = place_in * pieces // len(found)
            groups[k] = f"{found[0]}: {piece}"
    counts = Counter(groups)
    return [group if counts[group] > 1 else "" for group in groups]


def work(spec: RunSpec, place: str, device: str | None = None, joint: bool = False) -> dict[str, Any]:
    """In a worker: one run, as plain data; joint: as if it had company. InputError for images that are not the spec's."""
    (row,) = _worked([spec], place, device, joint)
    return row


def work_together(works: Sequence[Any]) -> list[dict[str, Any]]:
    """In a worker: the runs of a group as one program. works: of each run, as `runs_of` makes it."""
    _, place, device, _ = works[0].args
    return _worked([one.args[0] for one in works], place, device, joint=True)


def _worked(specs: Sequence[RunSpec], place: str, device: str | None, joint: bool) -> list[dict[str, Any]]:
    from fullscale.train import train, train_together

    as_worker()
    first = specs[0]
    images, execution = images_at(place, first.classes, first.size, first.label_noise), _execution(device)
    if joint:
        return [as_row(outcome) for outcome in train_together(specs, images, execution=execution)]
    return [as_row(train(first, images, execution=execution))]


def as_worker() -> None:
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
def images_at(place: str, classes: tuple[str, ...], size: int, label_noise: float) -> Images:
    """In a worker: the images of a place as a run takes them, read once."""
    from fullscale.data import prepared

    return prepared(_loaded(place), classes, size, label_noise)


@lru_cache(maxsize=1)
def _loaded(place: str) -> Images:
    from fullscale.data import load

    return load(place)


def as_row(outcome: Outcome) -> dict[str, Any]:
    """A run's outcome as the store takes it; the filters of a watched run stand beside the curves, which few readers read."""
    curves = outcome.curves | ({"filters": outcome.filters} if outcome.filters else {})
    return {"status": outcome.status, "error": outcome.error, "summary": outcome.summary, "curves": curves}


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
