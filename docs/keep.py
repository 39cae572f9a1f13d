"""The rows of studies that come with the package: `python -m docs.keep NAME --out FOLDER` takes them from the store in which
`undertow study NAME --out FOLDER` has put them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from docs.fill import ROOT
from dynamics.errors import InputError
from evidence.store import Record, Store, key_of
from fullscale import digits_long, lr_grid
from fullscale.studies import Study, images
from fullscale.studies.standing import standing
from fullscale.sweep import KIND

KEPT = {
    study.name: (study, ROOT / path)
    for study, path in (
        (lr_grid.STUDY, lr_grid.KEPT),
        (digits_long.STUDY, digits_long.KEPT),
    )
}


def keep(study: Study, out: Path, kept: Path) -> int:
    """Write the rows of the study in `out`, without their curves and of their summaries the numbers and what thresholds do; how
    many.

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
    summary = json.loads(record.summary).items()
    few = {name: value for name, value in summary if isinstance(value, int | float) or name == "thresholds"}
    return record._replace(summary=json.dumps(few), curves="{}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Keep the rows of a study in the package.")
    parser.add_argument("study", choices=KEPT)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the store that holds them")
    arguments = parser.parse_args()
    asked, file = KEPT[arguments.study]
    print(f"{keep(asked, arguments.out, file)} rows: {file.relative_to(ROOT)}")
