"""A study from the file to the last row: its images read, what is missing run by an executor, every run stored as it ends."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Executor
from typing import Literal

from evidence.store import Store
from evidence.study import run_all
from fullscale.studies import images
from fullscale.studies.file import Study
from fullscale.studies.runs import Asked
from fullscale.studies.standing import Standing, of_images
from fullscale.sweep import outcome, runs_of


def conduct(
    study: Study,
    runs: Collection[Asked],
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
        study: which.
        runs: of the study, as `asked` gives them.
        store: decides what still has to run, and keeps it.
        executor: runs the work; a worker reads the images by itself.
        notify: called as notify(done, count, line).
        data: where the images lie, if not where the study says.
        device: as in `Execution.best`; None: the CPU.
        retry: as in `evidence.study.run_all`, also `fresh` and `strict`.
        fresh: also what is stored runs again.
        strict: what a failing run raises is raised at the end.
        curves: also the rows' curves in what is handed back.

    Returns:
        How the study stands at the end.

    Raises:
        InputError: where images or store cannot be used; if strict also what a run raised.
    """
    found = images.read([run.source for run in runs], data)
    stands = of_images(study, list(runs), found, None)
    images.keep(store, study.name, found)
    places = [images.place(run.source, data) for run in stands.runs]
    wanted = runs_of(stands.specs, places, device)
    run_all(wanted, store, executor, notify, outcome, fresh=fresh, retry=retry, strict=strict, curves=False)
    return of_images(study, list(runs), found, store, curves)
