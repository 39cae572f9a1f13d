"""The rows of the learning-rate grid that come with the package: `python -m docs.keep --out FOLDER` takes them from the store
in which `undertow study digits-lr --out FOLDER` has put them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from docs.fill import ROOT
from dynamics.errors import InputError
from evidence.store import Record, Store, key_of
from fullscale import lr_grid
from fullscale.studies import images
from fullscale.studies.standing import standing
from fullscale.sweep import KIND


def keep(out: Path, kept: Path = ROOT / lr_grid.KEPT) -> int:
    """Write the rows of the study in `out`, without their curves and of their summaries the numbers alone; how many.

    Raises InputError where the study is incomplete.
    """
    with Store(out / "results.sqlite", reading=True) as store:
        stands = standing(lr_grid.STUDY, store)
        if not stands.complete:
            raise InputError(f"study {lr_grid.STUDY.name} in {out}: {stands.in_words()}; a complete one is accepted")
        keys = {key_of(KIND, spec.as_dict()) for spec in stands.specs}
        records = [_bare(record) for record in store.records() if record.key in keys or _is_image(record)]
    kept.unlink(missing_ok=True)
    with Store(kept) as store:
        return store.write(records)


def _is_image(record: Record) -> bool:
    return record.kind == images.KIND and json.loads(record.spec)["study"] == lr_grid.STUDY.name


def _bare(record: Record) -> Record:
    if record.kind == images.KIND:
        return record
    numbers = {name: value for name, value in json.loads(record.summary).items() if isinstance(value, int | float)}
    return record._replace(summary=json.dumps(numbers), curves="{}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Keep the rows of the study digits-lr in the package.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the store that holds them")
    print(f"{keep(parser.parse_args().out)} rows: {lr_grid.KEPT}")
