"""The rows of studies that come with the package: `python -m docs.keep --out FOLDER` takes them from the store in which `undertow
study NAME --out FOLDER` has put them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from docs.fill import ROOT
from dynamics.errors import InputError
from evidence.store import Record, Store, key_of
from fullscale import lr_grid
from fullscale.studies import Study, images
from fullscale.studies.standing import standing
from fullscale.sweep import KIND
from fullscale.watched import claims as watched

STUDIES = ((lr_grid.STUDY, ROOT / lr_grid.KEPT), (watched.STUDY, ROOT / watched.KEPT))


def keep(study: Study, out: Path, kept: Path) -> int:
    """Write the rows of the study in `out`: of their summaries the numbers alone, of their curves the filters of watched runs;
    how many.

    Raises InputError where the study is incomplete.
    """
    with Store(out / "results.sqlite", reading=True) as store:
        stands = standing(study, store)
        if not stands.complete:
            raise InputError(f"study {study.name} in {out}: {stands.in_words()}; a complete one is accepted")
        keys = {key_of(KIND, spec.as_dict()) for spec in stands.specs}
        records = [_bare(record) for record in store.records() if record.key in keys or _is_image(record, study)]
    kept.unlink(missing_ok=True)
    with Store(kept) as store:
        return store.write(records)


def _is_image(record: Record, study: Study) -> bool:
    return record.kind == images.KIND and json.loads(record.spec)["study"] == study.name


def _bare(record: Record) -> Record:
    if record.kind == images.KIND:
        return record
    numbers = {name: value for name, value in json.loads(record.summary).items() if isinstance(value, int | float)}
    filters = {name: value for name, value in json.loads(record.curves).items() if name == "filters"}
    return record._replace(summary=json.dumps(numbers), curves=json.dumps(filters, separators=(",", ":")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Keep the rows of the studies that come with the package.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the store that holds them")
    for study, kept in STUDIES:
        print(f"{keep(study, parser.parse_args().out, kept)} rows: {kept.relative_to(ROOT)}")
