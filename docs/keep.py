"""The rows of studies that come with the package: `python -m docs.keep NAME --out FOLDER` takes them from the store in which
`undertow study NAME --out FOLDER` has put them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from docs.fill import ROOT
from dynamics.errors import InputError
from evidence.store import Record, Store, key_of
from fullscale import digits_long, lr_grid
from fullscale.paper import kept as paper
from fullscale.paper.kept import stages
from fullscale.studies import Study, find_study, images
from fullscale.studies.standing import standing
from fullscale.sweep import KIND
from fullscale.watched import claims as watched

KEPT = {
    study.name: (study, ROOT / path)
    for study, path in (
        (lr_grid.STUDY, lr_grid.KEPT),
        (digits_long.STUDY, digits_long.KEPT),
        (watched.STUDY, watched.KEPT),
    )
}


def keep(study: Study, out: Path, kept: Path) -> int:
    """Write the rows of the study in `out`, of their summaries the numbers and what thresholds do, of their curves the filters of
    watched runs; how many.

    Raises InputError where the study is incomplete.
    """
    with Store(out / "results.sqlite", reading=True) as store:
        stands = standing(study, store)
        if not stands.complete:
            raise InputError(f"study {study.name} in {out}: {stands.in_words()}; a complete one is accepted")
        keys = {key_of(KIND, spec.as_dict()) for spec in stands.specs}
        return write_records(kept, [_bare(record) for record in _of(store, keys, [study])])


def keep_paper(out: Path, kept: Path) -> int:
    """Write the rows of all stages of the study paper that are stored in `out`, with curves and all but two lists; how many.

    Of a stage that is incomplete, too: it is said to be so wherever it is looked at.
    """
    with Store(out / "results.sqlite", reading=True) as store:
        begun = [study for study in stages() if images.kept(store, study.name)]
        keys = {key_of(KIND, spec.as_dict()) for study in begun for spec in standing(study, store).specs}
        return write_records(kept, [_without_lists(record) for record in _of(store, keys, begun)])


def kept_records(store: Store, names: Sequence[str]) -> list[Record]:
    """The rows of studies, as `keep` keeps them, of each that was begun those that are stored.

    Raises InputError where none was begun.
    """
    found: list[Record] = []
    begun = [name for name in names if images.kept(store, name)]
    if not begun:
        raise InputError(f"none of {', '.join(names)} was begun in this store: one with their runs is accepted")
    for name in begun:
        study = find_study(name)
        keys = {key_of(KIND, spec.as_dict()) for spec in standing(study, store).specs}
        found += [_bare(record) for record in _of(store, keys, [study])]
    return found


def _of(store: Store, keys: set[str], studies: list[Study]) -> list[Record]:
    return [r for r in store.records() if r.key in keys or any(_is_image(r, study) for study in studies)]


def write_records(kept: Path, records: list[Record]) -> int:
    """Write rows into a new store in the place of the file; how many."""
    kept.unlink(missing_ok=True)
    with Store(kept) as store:
        return store.write(records)


def _is_image(record: Record, study: Study) -> bool:
    return record.kind == images.KIND and json.loads(record.spec)["study"] == study.name


def _bare(record: Record) -> Record:
    if record.kind == images.KIND:
        return record
    summary = json.loads(record.summary).items()
    few = {name: value for name, value in summary if isinstance(value, int | float) or name == "thresholds"}
    filters = {name: value for name, value in json.loads(record.curves).items() if name == "filters"}
    return record._replace(summary=json.dumps(few), curves=json.dumps(filters, separators=(",", ":")))


def _without_lists(record: Record) -> Record:
    if record.kind == images.KIND:
        return record
    whole = json.loads(record.summary).items()
    return record._replace(summary=json.dumps({n: value for n, value in whole if n not in ("sweep", "channels")}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Keep the rows of a study in the package.")
    parser.add_argument("study", choices=[*KEPT, paper.NAME])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the store that holds them")
    arguments = parser.parse_args()
    if arguments.study == paper.NAME:
        file = ROOT / paper.KEPT
        count = keep_paper(arguments.out, file)
    else:
        asked, file = KEPT[arguments.study]
        count = keep(asked, arguments.out, file)
    print(f"{count} rows: {file.relative_to(ROOT)}")
