"""`undertow results`: print what came out of a study, a line a cell, or write its runs to a file; nothing is run."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dynamics.errors import InputError
from dynamics.lines import width
from undertow.commands.arguments import Parser, add_json, add_rules, path, say, whole

if TYPE_CHECKING:
    from evidence.store import Store
    from fullscale.studies import Study
    from fullscale.studies.standing import Standing

STORE = "results.sqlite"


def add(parser: Parser) -> None:
    """Add its flags."""
    add_study(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--out", type=path, default=Path("out"), metavar="FOLDER", help=f"folder that holds {STORE} (out)"
    )
    where.add_argument("--store", type=path, metavar="FILE", help="the store itself")
    for name, what in (
        ("csv", "a row a run: axes, status, error, all numbers"),
        ("parquet", "the same as Parquet"),
        ("netcdf", "labelled arrays over the axes, with curves, for xarray"),
    ):
        parser.add_argument(f"--{name}", type=path, metavar="FILE", help=f"write {what}")
    add_json(parser)
    add_rules(parser)


def add_study(parser: Parser) -> None:
    """The argument that says which study, and the flag of its images."""
    parser.add_argument(
        "study",
        metavar="NAME|FILE",
        help="digits, digits-lr, paper (all of paper-1-rates, ...), table, vgg16-cifar10, or a file that ends in .toml or .py",
    )
    parser.add_argument(
        "--data", metavar="DATA", help="images in the place of the study's: digits, a folder or an archive"
    )
    parser.add_argument("--size", type=whole, metavar="N", help="pixels a side in the place of the study's")
    parser.add_argument("--width", type=float, metavar="W", help="width of the network in the place of the study's")


def studies_of(arguments: argparse.Namespace) -> list[Study]:
    """The studies that are asked for."""
    from fullscale.studies import find_studies

    given = {name: getattr(arguments, name) for name in ("size", "width")}
    return find_studies(arguments.study, **{name: value for name, value in given.items() if value is not None})


def run(arguments: argparse.Namespace) -> int:
    """Print the table of each study, or the paths that were written."""
    from evidence.files import write_together
    from evidence.store import Store
    from fullscale.studies import table

    studies = studies_of(arguments)
    path = arguments.store or arguments.out / STORE
    files = {arguments.csv: table.as_csv, arguments.parquet: table.as_parquet, arguments.netcdf: table.as_netcdf}
    given = [file for file in (arguments.csv, arguments.parquet, arguments.netcdf) if file is not None]
    _apart([path, Path(arguments.study)], given)
    if given and len(studies) > 1:
        raise InputError(f"{given[0]} for {len(studies)} studies: one is accepted, e.g. {studies[0].name}")
    with Store(path, reading=True) as store:
        each = [_standing(study, store, arguments) for study in studies]
        seen = [stands for stands in each if stands is not None and any(stands.rows)]
        if not seen:
            raise InputError(f"store {path} holds no run of study {arguments.study}: {_holds(store)}")
    made = {file: make(stands) for file, make in files.items() if file is not None for stands in seen}
    write_together(made)
    if arguments.json:
        found = [_as_data(stands) for stands in seen]
        print(json.dumps(found if len(studies) > 1 else found[0], indent=1))
        return 0
    for stands in seen:
        if len(studies) > 1:
            say(f"\n{stands.study.title}")
        if not made:
            say(table.table(stands, width()))
        say(f"{stands.study.name}: {stands.in_words()}")
    if not all(stands.complete for stands in seen):
        say("cells of which a run is missing have no mean and no interval: undertow study goes on with it")
    for file in made:
        say(f"written: {file.resolve()}")
    return 0


def _standing(study: Study, store: Store, arguments: argparse.Namespace) -> Standing | None:
    """How a study stands; None for one of several of which the store knows no images."""
    from fullscale.studies import images
    from fullscale.studies.standing import standing

    if arguments.data is None and study.name != arguments.study and not images.known(store, study):
        return None
    return standing(study, store, arguments.data, curves=arguments.netcdf is not None)


def _apart(read: list[Path], files: list[Path]) -> None:
    """InputError where a file would take the place of one that is read, or of another."""
    taken = [os.path.realpath(file) for file in read]  # which takes any path
    for file in files:
        if os.path.realpath(file) in taken:
            raise InputError(f"{file} is the store or the study, or is named twice: another file for each is accepted")
        taken.append(os.path.realpath(file))


def _as_data(stands: Standing) -> dict[str, object]:
    from fullscale.studies import table

    head = {"study": stands.study.name, "complete": stands.complete, "runs": len(stands.runs)} | stands.counts
    return head | {"cells": table.cells(stands)}


def _holds(store: Store) -> str:
    """What a store holds, in words."""
    from fullscale.studies import images
    from fullscale.sweep import KIND

    studies = sorted({row.spec["study"] for row in store.rows(images.KIND, check=images.check_row)})
    return f"it holds {len(store.rows(KIND, curves=False))} runs, of the studies {', '.join(studies) or '(none)'}"
