"""Datasets through the store, and what follows from them for the claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Any

import xarray as xr

from dynamics.errors import InputError
from evidence.claim import Claim, Finding, judge
from evidence.progress import Live
from evidence.store import Row, Store, environment
from fullscale import pocket
from fullscale.claims import CLAIMS as CNN_CLAIMS
from synthetic import worlds
from synthetic.claims import CLAIMS as TOY_CLAIMS


def claims_like(names: Sequence[str]) -> list[Claim]:
    """The claims of these ids, or whose id begins with one of them and a space; all if none is given. InputError for a
    name that is neither."""
    every = [*TOY_CLAIMS, *CNN_CLAIMS]
    for name in names:
        if not any(_is_like(claim, name) for claim in every):
            raise InputError(f"claim {name!r} is unknown: accepted are {', '.join(claim.id for claim in every)}")
    return [claim for claim in every if not names or any(_is_like(claim, name) for name in names)]


def _is_like(claim: Claim, name: str) -> bool:
    return claim.id == name or claim.id.startswith(f"{name} ")


def toy_data(
    names: Iterable[str], store: Store, live: Live, pool: Executor, fresh: bool = False
) -> dict[str, xr.Dataset]:
    """The datasets of these worlds: stored ones, and those that are missing (all if fresh) run and stored."""
    wanted = {name: worlds.find_world(name) for name in names}
    rows = {name: None if fresh else store.get(name, asdict(world)) for name, world in wanted.items()}  # type: ignore[call-overload]
    missing = {name: wanted[name] for name, row in rows.items() if row is None}
    if missing:
        task = live.task("toy worlds", len(missing))
        for name, found in worlds.run(missing, task, pool).items():
            rows[name] = store.put(name, asdict(missing[name]), summary={}, curves=found)  # type: ignore[call-overload]
    else:
        live.line("toy worlds: all stored already")
    stored = {name: row for name, row in rows.items() if row is not None}
    tell_versions(stored.values(), live)
    try:
        return {name: xr.Dataset.from_dict(row.curves) for name, row in stored.items()}
    except (KeyError, ValueError) as error:
        raise InputError(f"store {store.path} holds a damaged dataset ({error}): run again with --fresh") from error


def cnn_data(rows: Sequence[Row], path: Any) -> dict[str, Any]:
    """What the CNN claims look at: the runs and the learning-rate grid."""
    try:
        return {
            "pocket": pocket.curves_and_ends(list(rows)),
            "grid": pocket.tuned(),
            "thresholds": pocket.swept(list(rows)),
        }
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"store {path} holds a damaged run ({error!r}): run again with --fresh") from error


def judged(claims: Iterable[Claim], data: Mapping[str, Any]) -> list[Finding]:
    """The findings of those claims whose experiment is there."""
    return [judge(claim, data[claim.experiment]) for claim in claims if claim.experiment in data]


def tell_versions(rows: Iterable[Row], live: Live) -> None:
    """Say which stored results other versions made: they are used all the same, --fresh makes them anew."""
    kept = list(rows)
    for name, here in environment().items():
        then = sorted({row.environment.get(name, "none") for row in kept} - {here})
        if then:
            live.line(
                f"some stored results were made with {name} {', '.join(then)}; here is {here}: --fresh runs them again"
            )
