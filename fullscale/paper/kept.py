"""The rows of the study paper: those that come with the package, or those of a user's own store where a stage is complete there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from evidence.store import Store
from fullscale.paper.cells import Cells, MissingRunError
from fullscale.paper.contrasts import Looked, looked, primary
from fullscale.studies import Study, find_studies, images
from fullscale.studies.standing import Standing, standing
from fullscale.studies.table import cells

KEPT = "fullscale/studies/paper.sqlite"
NAME = "paper"
# The stage that is the paper's table: optimizers by kind and strength of the regularizer.
TABLE = "paper-2-table"


def stages() -> list[Study]:
    """The studies that it consists of, in their order."""
    return find_studies(NAME)


@cache
def kept() -> dict[str, Standing]:
    """How each stage stands in the rows that come with the package; one of which there is none is left out."""
    with (
        resources.as_file(resources.files("fullscale.studies").joinpath("paper.sqlite")) as path,
        Store(path, reading=True) as store,
    ):
        return _known(store)


def _known(store: Store) -> dict[str, Standing]:
    return {study.name: standing(study, store, curves=True) for study in stages() if images.known(store, study)}


def bearing(store: Store) -> tuple[dict[str, Any], str]:
    """What the claims look at, and, where runs of it are missing still, which.

    Args:
        store: the user's own, whose stages count where they are complete.

    Returns:
        `looked`, `primary` and the cells of the paper's `table` (`fullscale.studies.table.cells`), or nothing with a line that
        says what is missing.
    """
    found = kept() | {name: stands for name, stands in _known(store).items() if stands.complete}
    asked = [study.name for study in stages()]
    done = [name for name in asked if name in found and found[name].complete]
    if done != asked:
        return {}, f"study {NAME}: {len(done)} of {len(asked)} stages are complete"
    try:
        seen = _looked(found)
        contrasts = primary(seen)
    except MissingRunError as error:  # such as runs of twice the length, where a user's own runs move and ours did not
        return {}, f"study {NAME}: {error}"
    return {"looked": seen, "primary": contrasts, "table": cells(found[TABLE])}, ""


def bearing_kept() -> Looked:
    """What came with the package. MissingRunError where that is incomplete."""
    return _looked(kept())


def _looked(found: Mapping[str, Standing]) -> Looked:
    rows = [row for stands in found.values() for row in stands.rows if row is not None]
    watched = {
        row.spec["seed"]: row.curves["filters"] for row in rows if row.spec.get("watch") and row.status == "done"
    }
    return looked(Cells(row for row in rows if not row.spec.get("watch")), watched)
