"""A study: many runs that are asked for. The store decides which still have to run, an executor runs them, and the driver
alone writes, each run as it ends.

Whatever ends a study, the same study goes on from what is stored. A run that raises, or whose worker dies again and again,
is a row that says so, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from dynamics.door import check_fields, checked
from dynamics.errors import InputError
from dynamics.given import kind, shown
from evidence.driver import Driver, Task, Together, Work, one_after_another
from evidence.progress import Live
from evidence.registry import World, find_world
from evidence.store import Check, Row, Store, environment, key_of

if TYPE_CHECKING:
    import xarray as xr

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
        group: runs of one group are one task: one worker runs them, and all of them are stored, or none. They come first.
        together: how a group is run, picklable and the same for all of it: called with the works of its runs, it gives their
            outcomes in the same order. If it raises, each run of the group is tried alone.
        check: raises ValueError for a stored row that is not as the work gives it; the store is then damaged.

    Example:
        >>> run = Run("coin", {"flips": 100}, "a coin", lambda: {"summary": {"heads": 52}, "curves": {}})
        >>> run.work()["summary"]
        {'heads': 52}
    """

    kind: str
    spec: Mapping[str, Any]
    title: str
    work: Work
    group: str = ""
    together: Together = one_after_another
    check: Check | None = None

    def look(self, row: Row) -> None:
        """Raise ValueError for a row that is not this run's."""
        if self.check is not None:
            self.check(row)

    def __post_init__(self) -> None:
        check_fields(self)


@checked
def run_all(
    runs: Sequence[Run],
    store: Store,
    executor: Executor,
    notify: Notify,
    in_words: Callable[[Row], str] = lambda row: row.status,
    fresh: bool = False,
    retry: Collection[Literal["failed", "diverged"]] = (),
    strict: bool = False,
    curves: bool = True,
) -> list[Row]:
    """The stored rows of all runs; those not stored (or all, if fresh) are run and stored first.

    Each run is stored when it ends, so an interrupted study goes on where it was. A run that raises is stored with status
    failed and its reason; so is one whose worker died three times.

    Args:
        runs: what is asked for; two of equal kind and spec are one.
        store: decides what still has to run, and keeps it.
        executor: runs the work.
        notify: called as notify(done, count, line): runs done, runs in all, what just happened.
        in_words: a row as `notify` is to tell of it.
        fresh: also what is stored runs again.
        retry: the status of those stored runs that run again.
        strict: every run is needed: one that failed runs again, and what a failing one raises is raised when all others are
            stored.
        curves: False for rows without their curves, which of thousands of runs may be more than the memory holds.

    Returns:
        One Row a run, in their order.

    Raises:
        InputError: where the store cannot be used or a disk is full; BrokenExecutor: where the executor can run no more.

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
    again = {*retry, *(("failed",) if strict else ())}
    keys = [key_of(run.kind, run.spec) for run in runs]
    asked = dict(zip(keys, runs, strict=True))
    store.news()  # what is stored from here on is new
    stored = {} if fresh else store.find(list(asked), curves, lambda row: asked[row.key].look(row))
    rows = {key: row for key, row in stored.items() if row.status not in again}
    if rows:
        notify(len(rows), len(asked), f"{len(rows)} of {len(asked)} runs are stored already")
    driver = Driver(asked, rows, store, executor, notify, in_words, curves, shared=not (fresh or again))
    driver.go_through(_tasks({key: run for key, run in asked.items() if key not in rows}))
    if strict and driver.failures:
        raise driver.failures[0]
    return [rows[key] for key in keys]


def _tasks(runs: Mapping[str, Run]) -> list[Task]:
    """What goes to a worker in one piece: groups, then the runs that are in none."""
    groups: dict[str, dict[str, Run]] = {}
    for key, run in runs.items():
        groups.setdefault(run.group, {})[key] = run
    alone = groups.pop("", {})
    return [*map(Task, groups.values()), *(Task({key: run}) for key, run in alone.items())]


def other_versions(rows: Iterable[Row]) -> list[str]:
    """A line for each package of which another version than the one here made some of these rows."""
    kept, lines = list(rows), []
    for name, here in environment().items():
        then = sorted({row.environment.get(name, "none") for row in kept} - {here})
        if then:
            made = f"some stored results were made with {name} {', '.join(then)}; here is {here}"
            lines.append(f"{made}: --fresh runs them again")
    return lines


@checked
def world_data(
    names: Iterable[str], store: Store, executor: Executor, live: Live, fresh: bool = False
) -> dict[str, xr.Dataset]:
    """The datasets of these worlds: stored ones, and those that are missing (all if fresh) run and stored.

    Raises InputError for an unknown name, and for a dataset that cannot be read from the store.
    """
    import xarray as xr

    runs = []
    for name in names:
        found = find_world(name)
        assert found.world is not None
        # Of a user's own world the file counts too: it may change while the constants stay.
        # Only what says more than the constants joins them, so that results stored without it still answer.
        more = {"file": found.file} if found.file else {"meaning": found.meaning} if found.meaning > 1 else {}
        spec = dict(found.constants()) | more
        runs.append(Run(name, spec, name, partial(_world_row, found.world), found.group))
    rows = run_all(runs, store, executor, live.task("toy worlds", len(runs)), fresh=fresh, strict=True)
    for line in other_versions(rows):
        live.line(line)
    try:
        return {row.kind: xr.Dataset.from_dict(row.curves) for row in rows}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(
            f"store {store.path} holds a damaged dataset ({shown(str(error))}): run again with --fresh"
        ) from error


def dataset_of(world: World, **how: Any) -> xr.Dataset:
    """What a world gives when it runs; InputError where that is no Dataset, as it may be of anybody's world."""
    import xarray as xr

    return kind(f"run() of {type(world).__name__} gave", world.run(**how), xr.Dataset, "a Dataset of xarray")


def _world_row(world: World) -> dict[str, Any]:
    return {"summary": {}, "curves": dataset_of(world).to_dict()}
