"""A study from the file to the last row: its images read, what is missing run by an executor, every run stored as it ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal

from evidence.store import Store
from evidence.study import run_all
from fullscale.studies import images
from fullscale.studies.estimate import cost
from fullscale.studies.file import Study
from fullscale.studies.runs import Asked, Found, Source, asked
from fullscale.studies.standing import Standing, of_images
from fullscale.sweep import outcome, runs_of


def planned(*studies: Study, data: str | None = None, runs: Sequence[list[Asked]] | None = None) -> list[Standing]:
    """All runs of studies on their images, each of which is read once; no store is looked at.

    Args:
        *studies: one or several.
        data: where the images lie, if not where the study says.
        runs: what `asked` gives of each study, where that is known; None: it is asked here.

    Returns:
        The Standing of each, without a row.

    Raises:
        InputError: for whatever in a study cannot be run, before images are read where they do not matter.
    """
    runs = [asked(study) for study in studies] if runs is None else runs
    found = images.read([run.source for each in runs for run in each], data)
    return [of_images(study, each, _of(each, found), None) for study, each in zip(studies, runs, strict=True)]


def _of(runs: list[Asked], found: Mapping[Source, Found]) -> dict[Source, Found]:
    return {run.source: found[run.source] for run in runs}


def conduct(
    plan: Standing,
    store: Store,
    executor: Executor,
    notify: Callable[[int, int, str], None],
    *,
    data: str | None = None,
    device: str | None = None,
    retry: Collection[Literal["failed", "diverged"]] = (),
    fresh: bool = False,
    strict: bool = False,
    curves: bool = False,
) -> Standing:
    """Run what is not stored of a study.

    Args:
        plan: of the study, from `planned`.
        store: decides what still has to run, and keeps it.
        executor: runs the work; a worker reads the images by itself.
        notify: called as notify(done, count, line).
        data: as for `planned`.
        device: as in `Execution.best`; None: the CPU.
        retry: the status of those stored runs that run again.
        fresh: also what is stored runs again.
        strict: what a failing run raises is raised at the end.
        curves: also the rows' curves in what is handed back.

    Returns:
        How the study stands at the end.

    Raises:
        InputError: where the store cannot be used; if strict also what a run raised.
    """
    images.keep(store, plan.study.name, plan.found)
    # Whole paths: a worker may start in another folder.
    places = [_whole(images.place(run.source, data)) for run in plan.runs]
    costs: dict[Any, float] = {}
    each = []
    for run, spec in zip(plan.runs, plan.specs, strict=True):
        found = plan.found[run.source]
        shape = (spec.model, spec.width, spec.head, found.shape, len(found.counts))
        if shape not in costs:
            costs[shape] = cost(spec, found)
        each.append(costs[shape])
    wanted = runs_of(plan.specs, places, each, device)
    run_all(wanted, store, executor, notify, outcome, fresh=fresh, retry=retry, strict=strict, curves=False)
    return plan.in_store(store, curves)


def _whole(place: str) -> str:
    return place if place == "digits" else str(Path(place).absolute())
