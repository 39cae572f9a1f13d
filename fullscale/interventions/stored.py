"""The trial's rows in a store: what is missing is run, and what is there is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from evidence.store import Store
from fullscale.interventions.arms import ARMS, TRIALS, Trial, key
from fullscale.studies.file import find_study
from fullscale.studies.images import read
from fullscale.studies.runs import asked

KIND = "intervention"
KEPT = "fullscale/studies/interventions.sqlite"
# Of an arm of one network: arm, seed, moment, epochs, test_error, and what `fullscale.interventions.run.Result.filters` has.
Record = Mapping[str, Any]


def conduct(trial: Trial, stage: int, store: Store, data: str | None, say: Callable[[str], None]) -> int:
    """Run what of a stage of a trial is not stored yet, and say how many arms of networks that were.

    Args:
        trial: one of TRIALS.
        stage: of its arms, from 0.
        store: where the rows go; each stands there as soon as its group of arms has ended.
        data: where the images are; None: where the study says.
        say: takes a line for each group.

    Raises:
        InputError: for data that cannot be read.
    """
    from fullscale.data import load, prepared  # with torch, which reading rows does not need
    from fullscale.interventions.run import begun

    groups = list(trial.groups(stage))
    if not groups:
        return 0
    source = next(iter(asked(find_study(trial.study)))).source
    found = read([source], data)[source]
    images = prepared(load(data or source.data), source.classes, source.size, source.label_noise)
    count = 0
    for seed, arms in groups:
        spec = trial.spec(found, seed)
        left = [arm for arm in arms if store.get(KIND, key(trial, spec, arm)) is None]
        if not left:
            continue
        results = begun(spec, images).under([ARMS[arm].treatment for arm in left])
        for arm, result in zip(left, results, strict=True):
            # What all arms have in common stands in one of them.
            curves = (
                result.filters if arm == trial.arms[0] else {n: x for n, x in result.filters.items() if n != "start"}
            )
            store.put(KIND, key(trial, spec, arm), summary=result.summary, curves=curves, status=result.status)
        count += len(left)
        say(f"{trial.name}, seed {seed}: {', '.join(left)}")
    return count


def records(store: Store, trial: Trial) -> list[Record]:
    """The stored arms of a trial that did not diverge, in its order."""
    rows = {
        (row.spec["run"]["seed"], str(row.spec["treatment"])): row
        for row in store.rows(KIND)
        if row.spec["trial"] == trial.name
    }
    found: list[Record] = []
    for seed in trial.seeds:
        for arm in trial.arms:
            treatment = ARMS[arm].treatment
            row = rows.get((seed, str({} if treatment is None else treatment.as_dict())))
            if row is not None and row.status == "done":
                told = {"arm": arm, "seed": seed, "moment": row.summary["start"]}
                found.append(told | {name: row.summary[name] for name in ("epochs", "test_error")} | row.curves)
    return found


@cache
def kept() -> dict[str, list[Record]]:
    """Of each trial the arms that come with the package; a trial of which there are none is left out."""
    with (
        resources.as_file(resources.files("fullscale.studies").joinpath("interventions.sqlite")) as path,
        Store(path, reading=True) as store,
    ):
        found = {name: records(store, trial) for name, trial in TRIALS.items()}
    return {name: rows for name, rows in found.items() if rows}
