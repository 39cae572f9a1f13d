"""`undertow results`: print what came out of a study, a line a cell, or write its runs to a file; nothing is run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from dynamics.errors import InputError
from undertow.commands.arguments import Parser, add_json, add_rules

if TYPE_CHECKING:
    from evidence.store import Store
    from fullscale.studies.standing import Standing

STORE = "results.sqlite"


def add(parser: Parser) -> None:
    """Add its flags."""
    add_study(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--out", type=Path, default=Path("out"), metavar="FOLDER", help=f"folder that holds {STORE} (out)"
    )
    where.add_argument("--store", type=Path, metavar="FILE", help="the store itself")
    for name, what in (
        ("csv", "a row a run: axes, status, error, all numbers"),
        ("parquet", "the same as Parquet"),
        ("netcdf", "labelled arrays over the axes, with curves, for xarray"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {what}")
    add_json(parser)
    add_rules(parser)


def add_study(parser: Parser) -> None:
    """The argument that says which study, and the flag of its images."""
    parser.add_argument(
        "study",
        metavar="NAME|FILE",
        help="digits, digits-lr, table, vgg16-cifar10, or a file that ends in .toml or .py",
    )
    parser.add_argument(
        "--data", metavar="DATA", help="images in the place of the study's: digits, a folder or an archive"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the path that was written."""
    from evidence.files import write_together
    from evidence.store import Store
    from fullscale.studies import find_study, table
    from fullscale.studies.standing import standing

    study = find_study(arguments.study)
    path = arguments.store or arguments.out / STORE
    files = {arguments.csv: table.as_csv, arguments.parquet: table.as_parquet, arguments.netcdf: table.as_netcdf}
    _apart(
        [path, Path(arguments.study)],
        [file for file in (arguments.csv, arguments.parquet, arguments.netcdf) if file is not None],
    )
    with Store(path, reading=True) as store:
        stands = standing(study, store, arguments.data, curves=arguments.netcdf is not None)
        if not any(stands.rows):
            raise InputError(f"store {path} holds no run of study {study.name}: {_holds(store)}")
    made = {file: make(stands) for file, make in files.items() if file is not None}
    write_together(made)
    if arguments.json:
        print(json.dumps(_as_data(stands), indent=1))
        return 0
    if not made:
        print(table.table(stands))
    print(f"{study.name}: {stands.in_words()}")
    if not stands.complete:
        print("cells of which a run is missing have no mean and no interval: undertow study goes on with it")
    for file in made:
        print(f"written: {file.resolve()}")
    return 0


def _apart(read: list[Path], files: list[Path]) -> None:
    """InputError where a file would take the place of one that is read, or of another."""
    taken = [file.resolve() for file in read]
    for file in files:
        if file.resolve() in taken:
            raise InputError(f"{file} is the store or the study, or is named twice: another file for each is accepted")
        taken.append(file.resolve())


def _as_data(stands: Standing) -> dict[str, object]:
    from fullscale.studies import table

    head = {"study": stands.study.name, "complete": stands.complete, "runs": len(stands.runs)} | stands.counts
    return head | {"cells": table.cells(stands)}


def _holds(store: Store) -> str:
    """What a store holds, in words."""
    from fullscale.studies import images
    from fullscale.sweep import KIND

    studies = sorted({row.spec["study"] for row in store.rows(images.KIND)})
    return f"it holds {len(store.rows(KIND, curves=False))} runs, of the studies {', '.join(studies) or '(none)'}"
