"""A study: many runs that are asked for. The store decides which still have to run, an executor runs them, and the driver
alone writes, each run as it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import Any

import xarray as xr

from dynamics.errors import InputError
from evidence.progress import Live
from evidence.registry import World, find_world
from evidence.store import Row, Store, environment

# Called as a study goes on: runs done, runs in all, and a line on what just happened.
Notify = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Run:
    """One run that is asked for.

    Args:
        kind: name of the experiment, under which the store keeps it.
        spec: plain data that say what is run, under which the store keeps it.
        title: in a few words.
        work: what a worker calls, picklable; it gives what `Store.put` takes beside kind and spec.
        group: runs of one group go to one worker, one after another, before all others.

    Example:
        >>> run = Run("coin", {"flips": 100}, "a coin", lambda: {"summary": {"heads": 52}, "curves": {}})
        >>> run.work()["summary"]
        {'heads': 52}
    """

    kind: str
    spec: Mapping[str, Any]
    title: str
    work: Callable[[], Mapping[str, Any]]
    group: str = ""


def run_all(
    runs: Sequence[Run],
    store: Store,
    executor: Executor,
    notify: Notify,
    in_words: Callable[[Row], str] = lambda row: row.status,
    fresh: bool = False,
) -> list[Row]:
    """The stored rows of all runs; those not stored (or all, if fresh) are run and stored first.

    Each run is stored when it ends, so an interrupted study goes on where it was. A run that raises is stored with
    status failed and raised again once all others are stored.

    Args:
        runs: what is asked for.
        store: decides what still has to run, and keeps it.
        executor: runs the work.
        notify: called as notify(done, count, line): runs done, runs in all, what just happened.
        in_words: a row as `notify` is to tell of it.
        fresh: also what is stored runs again.

    Returns:
        One Row a run, in their order.

    Raises:
        InputError: where the store cannot be used; else what the first failed run raised.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from pathlib import Path
        >>> run = Run("coin", {"flips": 100}, "a coin", lambda: {"summary": {"heads": 52}, "curves": {}})
        >>> with Store(Path("runs.sqlite")) as store, ThreadPoolExecutor(1) as pool:
        ...     rows = run_all([run], store, pool, lambda done, count, line: print(f"{done}/{count} {line}"))
        0/1 running, in this order: a coin
        1/1 a coin: done
        >>> rows[0].summary
        {'heads': 52}
    """
    found = {k: row for k, run in enumerate(runs) if not fresh and (row := store.get(run.kind, run.spec)) is not None}
    done = len(found)
    if done:
        notify(done, len(runs), f"{done} of {len(runs)} runs are stored already")
    tasks = _tasks({k: run for k, run in enumerate(runs) if k not in found})
    pending = {executor.submit(_work_through, [runs[k].work for k in task]): task for task in tasks}
    if pending:
        titles = "; ".join(runs[k].title for task in tasks for k in task)
        notify(done, len(runs), f"running, in this order: {titles}")
    failures: list[BaseException] = []
    for future in as_completed(pending):
        failure = future.exception()
        if failure is not None:
            failures.append(failure)
        for place, k in enumerate(pending[future]):
            run, done = runs[k], done + 1
            if isinstance(
                failure, BrokenExecutor
            ):  # a worker was killed: no fault of this run, or of those still waiting
                continue
            if failure is not None:
                store.put(run.kind, run.spec, summary={}, curves={}, status="failed", error=repr(failure))
                notify(done, len(runs), f"{run.title}: failed, {failure}")
                continue
            found[k] = store.put(run.kind, run.spec, **future.result()[place])
            notify(done, len(runs), f"{run.title}: {in_words(found[k])}")
    if failures:
        raise failures[0]
    return [found[k] for k in range(len(runs))]


def _tasks(runs: Mapping[int, Run]) -> list[list[int]]:
    """What goes to a worker in one piece: groups, then the runs that are in none."""
    groups: dict[str, list[int]] = {}
    for k, run in runs.items():
        groups.setdefault(run.group, []).append(k)
    alone = groups.pop("", [])
    return [*groups.values(), *([k] for k in alone)]


def _work_through(works: Sequence[Callable[[], Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    return [work() for work in works]


def other_versions(rows: Iterable[Row]) -> list[str]:
    """A line for each package of which another version than the one here made some of these rows."""
    kept, lines = list(rows), []
    for name, here in environment().items():
        then = sorted({row.environment.get(name, "none") for row in kept} - {here})
        if then:
            made = f"some stored results were made with {name} {', '.join(then)}; here is {here}"
            lines.append(f"{made}: --fresh runs them again")
    return lines


def world_data(
    names: Iterable[str], store: Store, executor: Executor, live: Live, fresh: bool = False
) -> dict[str, xr.Dataset]:
    """The datasets of these worlds: stored ones, and those that are missing (all if fresh) run and stored.

    Raises InputError for an unknown name, and for a dataset that cannot be read from the store.
    """
    runs = []
    for name in names:
        found = find_world(name)
        assert found.world is not None
        # Of a user's own world the file counts too: it may change while the constants stay.
        # Only what says more than the constants joins them, so that results stored without it still answer.
        more = {"file": found.file} if found.file else {"meaning": found.meaning} if found.meaning > 1 else {}
        spec = dict(found.constants()) | more
        runs.append(Run(name, spec, name, partial(_world_row, found.world), found.group))
    rows = run_all(runs, store, executor, live.task("toy worlds", len(runs)), fresh=fresh)
    for line in other_versions(rows):
        live.line(line)
    try:
        return {row.kind: xr.Dataset.from_dict(row.curves) for row in rows}
    except (KeyError, ValueError) as error:
        raise InputError(f"store {store.path} holds a damaged dataset ({error}): run again with --fresh") from error


def _world_row(world: World) -> dict[str, Any]:
    return {"summary": {}, "curves": world.run().to_dict()}
