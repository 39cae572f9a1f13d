"""`undertow merge`: join the stores of several machines into one, without two different results for one run. Runs of equal
result are kept once; how long they took, where and when may differ. A failed run gives way to a result. Where a run has two
different results, or a file is no store, nothing is written."""

from __future__ import annotations

import argparse
from pathlib import Path

from undertow.commands.arguments import Parser, path, say


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument("stores", nargs="+", type=path, metavar="FILE", help="a store, e.g. out/results.sqlite")
    parser.add_argument(
        "--into",
        type=path,
        default=Path("out/results.sqlite"),
        metavar="FILE",
        help="the store that takes their runs beside those it holds; made if need be (out/results.sqlite)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Say how many rows were new, which are runs and what is known of a study's images, and where they are."""
    from evidence.merge import merge

    merged = merge(arguments.stores, arguments.into)
    say(f"{merged.new} rows were new, {merged.known} known; all are in {arguments.into}")
    return 0
